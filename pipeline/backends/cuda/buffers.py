"""The arrays of a training step in the memory of the GPU, and their sizes.

Sizes are computed before anything is allocated. So a step that does not fit is refused with numbers, before a run
fails.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pipeline.backends.backend import LOSS_TILES, TILE
from pipeline.backends.cuda.launcher import THREADS
from pipeline.errors import DoesNotFitError

HEADER = 8
"""Numbers before the arrays of a packed step: rows, contexts, learning rate, five beginnings (see common.cu)."""
DIGITS = 256
SORTED_BY_A_THREAD = 8
"""Entries that each thread of the sort handles (plan.cu)."""
MOST_ENTRIES = 1 << 29
"""Most entries of a step: they are counted in 32 bits, with room for padding."""

REMEDY = "lower --batch_size, --window, --negatives, --dims or --max_vocabulary, or train with --device=cpu"

Sizes = Mapping[str, int]
"""Array -> how many numbers of four bytes it has."""


@dataclasses.dataclass(frozen=True)
class Room:
    """The largest step that fits: rows, and contexts of all of them together."""

    rows: int = 0
    contexts: int = 0

    def covers(self, other: Room) -> bool:
        return self.rows >= other.rows and self.contexts >= other.contexts

    def with_headroom(self, earlier: Room) -> Room:
        """Room for slightly larger steps, because growing stops the GPU."""
        return Room(
            max(self.rows + self.rows // 8, earlier.rows), max(self.contexts + self.contexts // 8, earlier.contexts)
        )


@dataclasses.dataclass(frozen=True)
class Shape:
    """What decides the sizes of arrays besides the rows of a step."""

    dims: int
    """of a row in memory: a multiple of 16"""
    negatives: int
    cbow: bool
    block: int = THREADS
    """threads of a block"""

    @property
    def outputs(self) -> int:
        return self.negatives + 1

    @property
    def padded_outputs(self) -> int:
        return -(-self.outputs // 4) * 4

    def entries(self, room: Room) -> int:
        """Number of (row, context) and (row, output) of a step: the plan sorts them, and each has a gradient row."""
        return room.contexts + room.rows * self.outputs

    def packed(self, room: Room) -> int:
        """Numbers of a packed step."""
        sampled = -(-room.rows // (TILE * LOSS_TILES))
        return HEADER + 2 * room.rows + 1 + room.contexts + room.rows * self.negatives + sampled

    def sort_blocks(self, entries: int) -> int:
        return max(1, -(-entries // (SORTED_BY_A_THREAD * self.block)))

    def slot(self, room: Room) -> Sizes:
        """A step and its plan. There are two slots: one is trained while the other is filled."""
        entries = self.entries(room)
        return {
            "packed": self.packed(room),
            "owner": room.contexts,
            "output": room.rows * self.padded_outputs,
            "key": entries,
            "entry": entries,
            "level": entries,
            "place": entries,
            "count": 1,
        }

    def sorting(self, room: Room) -> Sizes:
        """For the sort of a plan."""
        entries = self.entries(room)
        return {
            "unsorted": entries,
            "key_0": entries,
            "entry_0": entries,
            "key_1": entries,
            "entry_1": entries,
            "histogram": DIGITS * self.sort_blocks(entries),
            "total": DIGITS,
            "entries": 1,
        }

    def sums(self, room: Room) -> Sizes:
        """For the gradients of a step, float32."""
        gradient = self.entries(room) * self.dims
        if self.cbow:
            mean = room.rows * self.dims
            weight = room.rows * self.padded_outputs
            return {"weight": weight, "mean": mean, "mean_gradient": mean, "gradient": gradient}
        return {"weight": room.contexts * self.padded_outputs, "gradient": gradient}

    def bytes(self, room: Room) -> int:
        """Bytes of all arrays above."""
        groups = (self.slot(room), self.slot(room), self.sorting(room), self.sums(room))
        return 4 * sum(sum(map(_at_least_one, sizes.values())) for sizes in groups)

    def check(self, room: Room) -> None:
        if self.entries(room) > MOST_ENTRIES:
            raise DoesNotFitError(
                f"a training step has {self.entries(room):,} entries, a GPU takes {MOST_ENTRIES:,} at most:"
                " lower --batch_size, --window or --negatives, or train with --device=cpu"
            )


def _at_least_one(size: int) -> int:
    return max(size, 1)


def allocate(cupy: Any, sizes: Sizes, dtype: str) -> dict[str, Any]:
    """The arrays, not initialised.

    Raises:
      DoesNotFitError: memory that was free is used by others now, or is fragmented.
    """
    try:
        return {name: cupy.empty(_at_least_one(size), dtype) for name, size in sizes.items()}
    except MemoryError as error:  # CuPy's error is one
        needed = shown(4 * sum(sizes.values()))
        raise DoesNotFitError(f"the GPU has no {needed} left, though they were free: {REMEDY}") from error


def shown(size: int) -> str:
    """Bytes in words."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"
