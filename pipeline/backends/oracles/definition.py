"""The definition of a training step as a backend: slow, single-threaded, the oracle of the others."""

from __future__ import annotations

import numpy as np

from pipeline.backends.backend import StepLoss, padded, step_rules
from pipeline.batches.rows import Rows
from pipeline.kernels import definition
from pipeline.kernels.block import Weights


class PlainBackend:
    """See `Backend`; `model` is skipgram or cbow, `tau` the damping in pairs, `zero_hits` as in `StepRules`."""

    def __init__(self, w_in: np.ndarray, w_out: np.ndarray, *, model: str, tau: float, zero_hits: bool):
        self._dims = w_in.shape[1]
        self._in, self._out = padded(w_in), padded(w_out)
        self._rules = step_rules(model, tau, zero_hits)

    def train(self, rows: Rows, bounds: np.ndarray, learning_rates: np.ndarray) -> StepLoss:
        losses = [
            definition.step(
                Rows(
                    rows.target[begin:end],
                    rows.offset[begin : end + 1],
                    rows.context,
                    rows.negatives[begin:end],
                ),
                Weights(self._in.reshape(-1), self._out.reshape(-1), self._in.shape[1]),
                np.float32(lr),
                self._rules,
            )
            for begin, end, lr in zip(bounds[:-1], bounds[1:], learning_rates)
        ]
        return StepLoss(np.array([loss for loss, _ in losses], float), np.array([pairs for _, pairs in losses], int))

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        return self._in[:, : self._dims].copy(), self._out[:, : self._dims].copy()
