"""The interface of all backends, and the sizes that fix the order of their sums."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np

from pipeline.batches.rows import Rows, TokenPiece
from pipeline.batches.sampling import Sampling, Tables
from pipeline.batches.steps import StepRange
from pipeline.kernels.block import StepRules
from pipeline.kernels.lanes import rounded_up

TILE = 16
"""Consecutive rows of a step whose context gradients are summed first: as many as a block of a GPU holds."""
CHUNK = 64
"""Consecutive rows of a step whose gradients are summed by one thread. Chunks are small enough that at the end of a
step no
thread waits long for the last one."""
LOSS_TILES = 64
"""The loss is taken from the pairs of every 64th tile of a step."""


@dataclasses.dataclass(frozen=True)
class StepLoss:
    """Cross-entropy of the sampled pairs, step by step."""

    total: np.ndarray
    """float64 [S]"""
    pairs: np.ndarray
    """int64 [S]"""


class Backend(Protocol):
    """Trains: takes consecutive steps, and changes its weights."""

    def train(self, rows: Rows, bounds: np.ndarray, learning_rates: np.ndarray) -> StepLoss:
        """Runs S consecutive steps.

        Args:
          rows: the rows of all of them, in corpus order.
          bounds: int64 [S + 1]; step s is the rows bounds[s]:bounds[s + 1], perhaps none.
          learning_rates: float32 [S].
        """

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """The current input and output vectors, float32 [V, dims] each.

        Read them before the next `train`, which may change them: copies of 10M words would be gigabytes.
        """


@runtime_checkable
class GeneratingBackend(Backend, Protocol):
    """A backend that makes rows where it trains, so that only tokens have to be sent there; and that need not wait."""

    def start(self, rows: Rows, bounds: np.ndarray, learning_rates: np.ndarray) -> Callable[[], StepLoss]:
        """Like `train`, in two halves: starts the steps; the function that it returns waits for them.

        The next steps may be started before, so that there is always something to do.
        """

    def step_ranges(
        self,
        pieces: Iterable[TokenPiece],
        tables: Tables,
        sampling: Sampling,
        epoch: int,
        batch_size: int,
        first: int,
        end: int,
    ) -> Iterator[StepRange]:
        """Like `steps.step_ranges` for the rows of `generate_rows`; the `rows` of each range are for `train` alone.

        Train or start each step range before you take the next, which makes it invalid.

        Args:
          pieces: consecutive ones, from the one with the first token of step `first` on.
          first, end: steps, counted within the epoch. Pieces behind them are not read.
        """


def step_rules(model: str, tau: float, zero_hits: bool) -> StepRules:
    """The rules of a model's steps, with the types that the kernels are compiled for."""
    return StepRules(np.float32(tau), model == "cbow", bool(zero_hits), TILE, CHUNK, LOSS_TILES)


def padded(weights: np.ndarray) -> np.ndarray:
    """A copy with zeros up to a multiple of 16 dims: the lanes of the step's arithmetic."""
    rows, dims = weights.shape
    out = np.zeros((rows, rounded_up(dims)), np.float32)
    out[:, :dims] = weights
    return out
