"""Rows in the memory of the GPU: what generation makes, and training takes in place of `Rows`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pipeline.backends.backend import TILE
from pipeline.backends.cuda.buffers import HEADER
from pipeline.backends.cuda.launcher import THREADS, Launcher
from pipeline.batches.rows import Rows

_COPY_BLOCKS = 64
"""Most blocks of the kernel that copies a step: a step is some hundred KB, which seldom needs more."""


@dataclasses.dataclass(frozen=True)
class DeviceRows:
    """The rows of a step range in the memory of the GPU, in place of `Rows`."""

    arrays: dict[str, Any]
    """of the device, int32: target, offset, context and negatives as in `Rows`"""
    launch: Launcher
    bounds: np.ndarray
    """int64 [S + 1]: rows before each step"""
    context_bounds: np.ndarray
    """int64 [S + 1]: contexts before each step"""
    tiles: int
    """of a step whose loss is taken, at most"""
    sample: Rows
    """rows of these tiles, `TILE` places each, [S, tiles, TILE] in all; without contexts where there is no row"""

    def step_of(self, row: np.ndarray | int) -> Any:
        """The step that a row is in."""
        return np.searchsorted(self.bounds, row, side="right") - 1

    @property
    def negatives(self) -> np.ndarray:
        """int32 [n, K]: those of `sample`."""
        return self.sample.negatives

    def offset_at(self, bounds: np.ndarray) -> np.ndarray:
        """Number of contexts before the rows at which steps begin."""
        return self.context_bounds[np.searchsorted(self.bounds, bounds)]

    def sampled(self, begin: np.ndarray, end: np.ndarray, number: np.ndarray) -> tuple[Rows, np.ndarray, np.ndarray]:
        """(rows, begin, end): the tiles begin:end as places in `sample`; `number` counts the tiles of a step."""
        place = (self.step_of(begin) * self.tiles + number) * TILE
        return self.sample, place, place + end - begin

    def pack_header(
        self, into: np.ndarray, begin: int, end: int, learning_rate: np.float32, scores_at: np.ndarray
    ) -> int:
        """Writes the header of a packed step (common.cu) of the rows begin..end-1; returns its length."""
        step, rows = int(self.step_of(begin)), end - begin
        contexts = int(self.context_bounds[step + 1] - self.context_bounds[step])
        target = HEADER + len(scores_at)
        offset = target + rows
        context = offset + rows + 1
        rate = np.float32(learning_rate).view(np.int32)
        into[:HEADER] = rows, contexts, rate, target, offset, context, context + contexts, HEADER
        into[HEADER:target] = scores_at
        return target

    def copy_step(self, packed: Any, begin: int) -> None:
        """Copies the rest of the packed step that begins with row `begin`, on the device, on the current stream."""
        step = int(self.step_of(begin))
        contexts, count = int(self.context_bounds[step]), self.negatives.shape[1]
        numbers = int(self.bounds[step + 1] - begin) * count + int(self.context_bounds[step + 1]) - contexts
        blocks = max(1, min(numbers // THREADS, _COPY_BLOCKS))
        self.launch("copy_step", blocks, THREADS, packed, begin, contexts, *self.arrays.values(), count)
