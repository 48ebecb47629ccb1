"""Checks whether the input is still what the run has read."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping

from pipeline.corpus.digests import DIGITS, RANGE_BYTES
from pipeline.corpus.readers.parquet import column_digests
from pipeline.corpus.unpacking import STAGE as TEXT
from pipeline.corpus.unpacking import TextNumbers
from pipeline.errors import InputError, PipelineError
from pipeline.storage.open_storage import open_storage, split_uri
from pipeline.storage.records import Records
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.counts import CountNumbers


@dataclasses.dataclass
class RecordedFile:
    """Digests of what the run has read of an input file."""

    digests: dict[int, str]
    """number of the fixed range or row group -> digest"""
    column: str | None
    """that was read, of a Parquet file"""


def recorded_files(records: Records, keys: Mapping[str, str]) -> dict[str, RecordedFile]:
    """uri -> digests of what was counted or unpacked.

    Args:
      keys: stage -> stage key.
    """
    counted = (file for record in records.all(COUNTS, keys[COUNTS]) for file in record.read(CountNumbers).files)
    unpacked = (file for record in records.all(TEXT, keys[TEXT]) for file in record.read(TextNumbers).files)
    files: dict[str, RecordedFile] = {}
    for file in itertools.chain(counted, unpacked):
        known = files.setdefault(file.uri, RecordedFile({}, file.column))
        known.digests.update(enumerate(file.digests, file.first))
    return files


def changed_inputs(files: Mapping[str, RecordedFile], sizes: Mapping[str, int]) -> Iterator[str]:
    """Reads every input file again; yields a line for each that has changed, with the first difference.

    Args:
      files: of `recorded_files`.
      sizes: uri -> bytes of the file when the run began. Ranges within it that have no digest were not read yet.
    """
    for uri, file in sorted(files.items()):
        size = sizes.get(uri, 0)
        try:
            if file.column is None:
                problem = _first_change(uri, file.digests, size)
            else:
                problem = _column_change(uri, file.column, file.digests, size)
        except PipelineError as error:
            problem = str(error)
        if problem:
            yield problem


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
