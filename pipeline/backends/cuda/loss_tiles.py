"""The tiles of a step range whose loss is taken: the GPU gives their scores, and the CPU computes the loss of these."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from pipeline.backends.backend import LOSS_TILES, TILE
from pipeline.backends.cuda.buffers import Shape
from pipeline.backends.cuda.device_rows import DeviceRows
from pipeline.batches.rows import Rows

_MOST_SCORES = 1 << 24
"""Most scores that wait for their loss; it limits how many steps are trained without waiting."""


@dataclasses.dataclass(frozen=True)
class LossTiles:
    """The tiles of consecutive steps whose loss is taken; tile i is the rows begin[i]:end[i]."""

    rows: Rows
    step: np.ndarray
    number: np.ndarray
    """which of the step's tiles that are taken"""
    begin: np.ndarray
    end: np.ndarray
    sizes: np.ndarray
    """scores of each"""

    @classmethod
    def of(cls, rows: Rows | DeviceRows, bounds: np.ndarray, shape: Shape) -> LossTiles:
        """One of `LOSS_TILES` tiles of each step.

        Args:
          bounds: int64 [S + 1]: rows before each step.
        """
        tiles = -(-np.diff(bounds) // (TILE * LOSS_TILES))
        step = np.repeat(np.arange(len(tiles)), tiles)
        number = np.arange(len(step)) - np.repeat(np.cumsum(tiles) - tiles, tiles)
        begin = bounds[step] + number * (TILE * LOSS_TILES)
        end = np.minimum(begin + TILE, bounds[step + 1])
        if isinstance(rows, DeviceRows):
            rows, begin, end = rows.sampled(begin, end, number)
        terms = end - begin if shape.cbow else rows.offset[end] - rows.offset[begin]
        return cls(rows, step, number, begin, end, terms.astype(np.int64) * shape.outputs)

    def scores(self, first: int, last: int) -> int:
        """Scores of the steps first..last-1."""
        low, high = np.searchsorted(self.step, [first, last])
        return int(self.sizes[low:high].sum())

    def groups(self, steps: int) -> Iterator[tuple[int, int]]:
        """Groups of steps whose scores may wait together: (first, last + 1) each."""
        waiting = np.bincount(self.step, self.sizes, steps)
        first, total = 0, 0.0
        for step in range(steps):
            if step > first and total + waiting[step] > _MOST_SCORES:
                yield first, step
                first, total = step, 0.0
            total += waiting[step]
        if first < steps:
            yield first, steps
