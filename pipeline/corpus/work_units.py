"""Units of work: the corpus divided into pieces of about equal size, each a list of byte ranges.

Only byte ranges travel through the graph, never text.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MAX_RANGES = 2048
"""Most byte ranges in one unit: opening a tiny file costs more than reading it."""


class TextSource(NamedTuple):
    """Plain text, in corpus order: an input file, or a piece of the work text unpacked from one."""

    uri: str
    size: int
    origin: str = ""
    """The compressed file that the text was unpacked from, "" for an input file itself."""
    origin_offset: int = 0
    """Where in that file's unpacked text the piece begins."""
    version: str = ""
    """Of an input file, as it was listed."""
    origin_version: str = ""
    """Of the compressed file, as it was listed."""
    cuts: tuple[int, ...] | None = None
    """The only places where the text may be cut, in order; None stands for everywhere."""


@dataclass(frozen=True)
class TextRange:
    """A byte range: the lines that begin in bytes start:end of a text of `size` bytes, up to their ends.

    So ranges that follow each other hold every line once, wherever they were cut.

    >>> from pipeline.corpus.dead_letters import DeadLetters
    >>> from pipeline.corpus.lines import read_blocks
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "text.txt")
    >>> size = path.write_text("a rose\\nis\\na rose\\n")
    >>> for text_range in TextRange(str(path), 0, 5, size), TextRange(str(path), 5, size, size):
    ...     print([bytes(block.data) for block in read_blocks(text_range, 100, DeadLetters())])
    [b'a rose\\n']
    [b'is\\na rose\\n']
    """

    uri: str
    start: int
    end: int
    size: int
    origin: str = ""
    origin_offset: int = 0
    version: str = ""
    origin_version: str = ""

    def name(self) -> str:
        """The file that the user gave: the compressed file of unpacked text, else the text itself."""
        return self.origin or self.uri

    @property
    def is_first(self) -> bool:
        """Whether the text begins where the user's file does, or behind a byte-order mark there."""
        return self.origin_offset <= 3

    def offset(self, position: int) -> int:
        """Where byte `position` of the text is in the file that the user gave (in its unpacked text)."""
        return self.origin_offset + position


@dataclass(frozen=True)
class WorkUnit:
    """A unit of work: consecutive byte ranges of the corpus. All units, in order of their index, are the corpus."""

    index: int
    ranges: tuple[TextRange, ...]
    of: int = 0
    """How many units there are."""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(text_range.end - text_range.start for text_range in self.ranges)

    @property
    def name(self) -> str:
        """The name of this unit's records and artefacts."""
        return f"unit-{self.index:09d}"


def plan_work_units(sources: Iterable[TextSource | Sequence], block_bytes: int) -> list[WorkUnit]:
    """Cuts big sources at multiples of `block_bytes`, and packs small ones together up to that size.

    Every byte is in exactly one byte range. Ranges and units are in corpus order. A unit has at most `block_bytes`
    bytes and MAX_RANGES ranges. (A range is larger where its source cannot be cut as finely, and is a unit then.)

    >>> units = plan_work_units([("a.txt", 250), ("b.txt", 30), ("c.txt", 20)], block_bytes=100)
    >>> [[(text_range.uri, text_range.start, text_range.end) for text_range in unit.ranges] for unit in units]
    [[('a.txt', 0, 100)], [('a.txt', 100, 200)], [('a.txt', 200, 250), ('b.txt', 0, 30), ('c.txt', 0, 20)]]

    Args:
      sources: (uri, size) or TextSource, in corpus order; empty ones are left out.
    """
    units: list[tuple[TextRange, ...]] = []
    ranges: list[TextRange] = []
    filled = 0

    def close() -> None:
        nonlocal filled
        if ranges:
            units.append(tuple(ranges))
            ranges.clear()
            filled = 0

    for source in (TextSource(*source) for source in sources):
        start = 0
        while start < source.size:
            end = _cut(source, start, start + block_bytes)
            if filled + end - start > block_bytes or len(ranges) == MAX_RANGES:
                close()
            ranges.append(TextRange(source.uri, start, end, source.size, *source[2:6]))
            filled += end - start
            start = end
    close()
    return [WorkUnit(index, unit, len(units)) for index, unit in enumerate(units)]


def _cut(source: TextSource, start: int, wanted: int) -> int:
    """Where the range from `start` on ends: at the last place up to `wanted`, else at the first one behind it."""
    if source.cuts is None or wanted >= source.size:
        return min(wanted, source.size)
    place = bisect.bisect_right(source.cuts, wanted)
    if place and source.cuts[place - 1] > start:
        return source.cuts[place - 1]
    return source.cuts[place] if place < len(source.cuts) else source.size
