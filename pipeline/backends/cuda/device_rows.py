"""Rows in the memory of the GPU: what generation makes, and training takes in place of `Rows`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pipeline.backends.backend import LOSS_TILES, TILE
from pipeline.backends.cuda.launcher import THREADS, Launcher
from pipeline.batches.rows import Rows

COPY_BLOCKS = 64
"""Blocks of the kernel that copies a step: a step is some hundred KB, which seldom needs more."""
STEP_NUMBERS = 7
"""Numbers of a listed step before those of its tiles (copy_step in generate.cu)."""


@dataclasses.dataclass(frozen=True)
class DeviceRows:
    """The rows of a step range in the memory of the GPU, in place of `Rows`."""

    slots: tuple[dict[str, Any], dict[str, Any]]
    """arrays of the device, int32: target, offset, context and negatives as in `Rows`; those of one slot are meant"""
    which: int
    """slot of these rows; the other one has those of the step range before or after"""
    launch: Launcher
    bounds: np.ndarray
    """int64 [S + 1]: rows before each step"""
    context_bounds: np.ndarray
    """int64 [S + 1]: contexts before each step"""
    tiles: int
    """of a step whose loss is taken, at most"""
    trained: Any
    """event, to be recorded when the steps have been started: then other rows may be made in their place"""
    sample: Rows
    """rows of these tiles, `TILE` places each, [S, tiles, TILE] in all; without contexts where there is no row"""

    @property
    def arrays(self) -> dict[str, Any]:
        return self.slots[self.which]

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

    def listed(
        self,
        bounds: np.ndarray,
        learning_rates: np.ndarray,
        tile_step: np.ndarray,
        tile_number: np.ndarray,
        at: np.ndarray,
    ) -> np.ndarray:
        """What `copy_step` wants to know of each step that has rows, int32 [steps, STEP_NUMBERS + tiles].

        Args:
          bounds: int64 [S + 1], rows before each of these steps; learning_rates: float32 [S].
          tile_step, tile_number, at: of each tile whose loss is taken: its step (of these), which of the step's tiles
            it is, and where its scores go.
        """
        begin, rows = bounds[:-1], np.diff(bounds)
        step = self.step_of(begin)
        listed = np.zeros((len(rows), STEP_NUMBERS + self.tiles), np.int32)
        listed[:, 0], listed[:, 1] = rows, self.context_bounds[np.minimum(step + 1, len(self.bounds) - 1)]
        listed[:, 1] -= self.context_bounds[step].astype(np.int32)
        listed[:, 2] = np.ascontiguousarray(learning_rates, np.float32).view(np.int32)
        listed[:, 3], listed[:, 4], listed[:, 5] = begin, self.context_bounds[step], self.which
        listed[:, 6] = -(-rows // (TILE * LOSS_TILES))
        listed[tile_step, STEP_NUMBERS + tile_number] = at
        return listed[rows > 0]

    def copy_step(self, packed: Any, steps: Any, step: int) -> None:
        """Makes a packed step of a listed one, on the device, on the current stream.

        Args:
          steps: on the device: the number of a listed step, and the listed steps; that many and `step` more are passed.
        """
        arrays = [array for slot in self.slots for array in slot.values()]
        stride, count = STEP_NUMBERS + self.tiles, self.negatives.shape[1]
        self.launch("copy_step", COPY_BLOCKS, THREADS, packed, steps, step, stride, *arrays, count)
