"""Whether the input is still what the run has read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

from pipeline.corpus.digests import COLUMN, DIGITS, RANGE_BYTES, STAGE
from pipeline.corpus.readers.parquet import column_digests
from pipeline.errors import InputError, PipelineError
from pipeline.storage.open_storage import open_storage, split_uri
from pipeline.storage.records import Records


def recorded_digests(records: Records) -> dict[str, dict[int, str]]:
    """uri -> number of the fixed range or row group -> digest, of all input that was counted or unpacked."""
    digests: dict[str, dict[int, str]] = {}
    for record in records.all(STAGE):
        for uri, text in record.numbers.items():
            text = str(text)
            if text.startswith(COLUMN):
                text = text[text.rindex(" ", 0, text.rindex(":")) + 1 :]
            first, _, ranges = text.partition(":")
            for i, digest in enumerate(ranges.split()):
                digests.setdefault(uri, {})[int(first) + i] = digest
    return digests


def changed_inputs(records: Records, sizes: Mapping[str, int]) -> Iterator[str]:
    """Reads every input again; a line for each that is not what was counted, with the first difference.

    Args:
      sizes: uri -> bytes of the inputs when the run began. What is missing within them was not read yet.
    """
    fields = _recorded_fields(records)
    for uri, digests in sorted(recorded_digests(records).items()):
        size = sizes.get(uri, 0)
        try:
            if uri in fields:
                problem = _column_change(uri, fields[uri], digests, size)
            else:
                problem = _first_change(uri, digests, size)
        except PipelineError as error:
            problem = str(error)
        if problem:
            yield problem


def _recorded_fields(records: Records) -> dict[str, str]:
    """uri of a Parquet file -> the column that was read of it."""
    entries = ((uri, str(text)) for record in records.all(STAGE) for uri, text in record.numbers.items())
    decode = json.JSONDecoder().raw_decode
    return {uri: decode(text, len(COLUMN))[0] for uri, text in entries if text.startswith(COLUMN)}


def _column_change(uri: str, field: str, digests: dict[int, str], size: int) -> str:
    root, path = split_uri(uri)
    now, info = column_digests(uri, field), open_storage(root).info(path)
    as_large = info is not None and info.size == size
    unread = now.keys() - digests if as_large else set()
    different = sorted(group for group in now | digests if now.get(group) != digests.get(group) and group not in unread)
    if different:
        return f"{uri} differs from what the run has read, in row group {different[0]}"
    return _not_read(uri) if unread else ""


def _not_read(uri: str) -> str:
    return f"{uri}: counting has not read all of it yet"


def _first_change(uri: str, digests: dict[int, str], size: int) -> str:
    root, path = split_uri(uri)
    storage = open_storage(root)
    info = storage.info(path)
    if info is None:
        raise InputError(f"{uri} is missing: the run has read it")
    unread = False
    for i in range(max(max(digests) + 1, -(-info.size // RANGE_BYTES))):
        if i not in digests and i * RANGE_BYTES < size:
            unread = True
            continue
        data = storage.read_range(path, i * RANGE_BYTES, RANGE_BYTES)
        if hashlib.sha256(data).hexdigest()[:DIGITS] != digests.get(i):
            place = f"bytes {i * RANGE_BYTES:,} to {(i + 1) * RANGE_BYTES:,}"
            return f"{uri} differs from what the run has read, within {place}"
    return _not_read(uri) if unread else ""
