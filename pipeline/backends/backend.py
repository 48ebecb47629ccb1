"""What every backend has, and the sizes that the order of its sums rests on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np

from pipeline.batches.rows import Rows, TokenPiece
from pipeline.batches.sampling import Sampling, Tables
from pipeline.batches.steps import StepRange
from pipeline.kernels.block import StepRules

TILE = 16
"""Rows whose context gradients are summed first (the tile a GPU block would hold)."""
CHUNK = 64
"""Rows whose gradients are summed before they are added to the weights: what threads share out.
Small enough that the last chunk of a step keeps no thread waiting for long."""
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
    """What trains: consecutive steps in, weights out."""

    def train(self, rows: Rows, bounds: np.ndarray, learning_rates: np.ndarray) -> StepLoss:
        """Run S consecutive steps.

        Args:
          rows: the rows of all of them, in corpus order.
          bounds: int64 [S+1]; step s is the rows bounds[s]:bounds[s+1], perhaps none.
          learning_rates: float32 [S].
        """

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Input and output vectors as they stand, float32 [V, dims] each.

        To be read before the next `train`, which may change them: at 10M words a copy
        for each checkpoint would be gigabytes.
        """


@runtime_checkable
class GeneratingBackend(Backend, Protocol):
    """A backend that makes rows where it trains, so that only tokens have to come there."""

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
        """What `steps.step_ranges` gives for the rows of `batches.generate_rows`, its `batch` for `train` alone.

        A block holds until the next is asked for; train it before.

        Args:
          pieces: consecutive ones, from that with the first token of step `first` on.
          first, end: steps counted within the epoch. Pieces behind them are not asked for.
        """


def step_rules(model: str, tau: float, zero_hits: bool) -> StepRules:
    """The rules of a model's steps, with the types that the kernels are compiled for."""
    return StepRules(np.float32(tau), model == "cbow", bool(zero_hits), TILE, CHUNK, LOSS_TILES)


def padded(weights: np.ndarray, multiple: int = 16) -> np.ndarray:
    """A copy with zeros up to a multiple of 16 dims: the lanes of the step's arithmetic."""
    rows, dims = weights.shape
    out = np.zeros((rows, -(-dims // multiple) * multiple), np.float32)
    out[:, :dims] = weights
    return out
