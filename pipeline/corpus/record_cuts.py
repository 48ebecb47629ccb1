"""Where a file of records may be cut: a sequential pass over a large file, once."""

from __future__ import annotations

from typing import Protocol

from pipeline.corpus.files import InputFile, check_unchanged
from pipeline.corpus.unpacking import TextNumbers, unpacked_name
from pipeline.corpus.work_units import TextSource
from pipeline.storage.commits import Commits, Made


class FindsCuts(Protocol):
    """A reader, as far as it is needed here."""

    def cuts(self, file: InputFile) -> tuple[int, ...]:
        """Places where the file may be cut, in order."""


def with_cuts(
    commits: Commits, index: int, file: InputFile, source: TextSource, block_bytes: int, reader: FindsCuts
) -> TextSource:
    """The source with the places where it may be cut, if it has to be cut and may not be everywhere.

    Args:
      commits: of the stage text; what the pass finds is recorded, so that it is done once.
      index: the file's place in the corpus.
      source: with cuts=() where they have to be looked for.
    """
    if source.cuts is None or source.size <= block_bytes:
        return source

    def make() -> Made:
        cuts = reader.cuts(file)
        check_unchanged(file.uri, file.version)
        return [], TextNumbers(source.size, 0, list(cuts), [])

    return source._replace(cuts=tuple(commits.once(unpacked_name(index), make).read(TextNumbers).offsets))
