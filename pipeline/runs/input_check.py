"""Checks whether the input is still what the run has read."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

from pipeline.corpus.readers.reader import Reader
from pipeline.corpus.unpacking import STAGE as TEXT
from pipeline.corpus.unpacking import TextNumbers
from pipeline.errors import PipelineError
from pipeline.storage.records import Records
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.counts import CountNumbers


@dataclasses.dataclass
class RecordedFile:
    """Digests of what the run has read of an input file."""

    digests: dict[int, str]
    """number of the fixed range or row group -> digest"""
    column: str | None
    """the field that was read, of a format that is stored by columns"""


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


def changed_inputs(reader: type[Reader], files: Mapping[str, RecordedFile], sizes: Mapping[str, int]) -> Iterator[str]:
    """Reads every input file again; yields a line for each that has changed, with the first difference.

    Args:
      reader: of the format of the files.
      files: of `recorded_files`.
      sizes: uri -> bytes of the file when the run began. Ranges within it that have no digest were not read yet.
    """
    for uri, file in sorted(files.items()):
        try:
            change = reader.change(uri, file.column, file.digests, sizes.get(uri, 0))
        except PipelineError as error:
            yield str(error)
            continue
        if change.place:
            yield f"{uri} differs from what the run has read, {change.place}"
        elif change.has_unread:
            yield f"{uri}: counting has not read all of it yet"
