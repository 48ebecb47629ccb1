"""Work units: the corpus cut and packed into pieces of about the same size, by byte ranges.

What travels through the graph is these ranges, never text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MAX_RANGES = 2048
"""Ranges in one unit: opening a tiny file costs more than reading it."""


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


@dataclass(frozen=True)
class TextRange:
    """Bytes start:end of a text of `size` bytes: the lines that begin there, up to their ends."""

    uri: str
    start: int
    end: int
    size: int
    origin: str = ""
    origin_offset: int = 0
    version: str = ""

    def name(self) -> str:
        """The file as its owner knows it."""
        return self.origin or self.uri

    def offset(self, position: int) -> int:
        """Where byte `position` of the text lies in the file as its owner knows it (unpacked)."""
        return self.origin_offset + position


@dataclass(frozen=True)
class WorkUnit:
    """Consecutive ranges of the corpus; units in order of their index are the corpus."""

    index: int
    ranges: tuple[TextRange, ...]
    of: int = 0
    """How many units there are."""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(part.end - part.start for part in self.ranges)

    @property
    def name(self) -> str:
        """The name of this unit's records and artefacts."""
        return f"unit-{self.index:09d}"


def plan_work_units(sources: Iterable[TextSource | Sequence], block_bytes: int) -> list[WorkUnit]:
    """Cuts big sources at multiples of `block_bytes`, and packs small ones together up to it.

    Every byte is in exactly one range, ranges and units are in corpus order, and
    a unit has at most `block_bytes` bytes and MAX_RANGES ranges.

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
            end = min(start + block_bytes, source.size)
            if filled + end - start > block_bytes or len(ranges) == MAX_RANGES:
                close()
            ranges.append(TextRange(source.uri, start, end, source.size, *source[2:]))
            filled += end - start
            start = end
    close()
    return [WorkUnit(index, unit, len(units)) for index, unit in enumerate(units)]
