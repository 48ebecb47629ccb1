"""Training steps that the CUDA kernels have to compute as the CPU does, bit for bit."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from pipeline.backends.backend import Backend, StepLoss
from pipeline.backends.cpu import CpuBackend
from pipeline.backends.cuda.backend import CudaBackend
from pipeline.batches.rows import Rows
from tests.helpers.training_rows import RATES, quarters, random_rows, random_weights, run

MODELS = ("skipgram", "cbow")


@dataclasses.dataclass(frozen=True)
class Case:
    """Four steps: one without rows, and the last short."""

    vocabulary: int = 300
    dims: int = 40
    rows: int = 500
    negatives: int = 5
    window: int = 5
    fewest: int = 1
    """contexts of a row at least"""
    tau: float = 64.0
    zero_hits: bool = True
    rate: float = 1.0
    """factor of the learning rates"""
    scale: float = 0.5
    """of the weights"""
    grows: bool = False
    """calls of train with ever larger steps, and then with several of them"""

    def batch(self) -> Rows:
        return random_rows(self.vocabulary, self.rows, self.negatives, self.window, self.rows, self.fewest)

    def weights(self) -> list[np.ndarray]:
        return random_weights(self.vocabulary, self.dims, 3, self.scale)

    def settings(self, model: str) -> dict[str, Any]:
        return {"model": model, "tau": self.tau, "zero_hits": self.zero_hits}


CASES = {
    "dims that are no multiple of 16": Case(dims=100, rows=700),
    "hits count under both labels": Case(vocabulary=40, zero_hits=False),
    "distinct rows and in-place updates": Case(vocabulary=5000, dims=16, tau=1e9),
    "rows without context": Case(vocabulary=60, window=2, fewest=0),
    "no row has a context": Case(rows=40, window=0, fewest=0),
    "full windows": Case(vocabulary=900, fewest=10),
    "wide windows": Case(rows=150, negatives=3, window=60, dims=20),
    "damped rows": Case(tau=2.0),
    "rows that would move too far": Case(tau=0.5, rate=1000),
    "some rows would move too far": Case(tau=20.0, rate=40),
    "one word": Case(vocabulary=1, rows=90, negatives=3),
    "one word, hits kept": Case(vocabulary=1, rows=90, negatives=3, zero_hits=False),
    "two words": Case(vocabulary=2, rows=300, dims=16),
    "one row": Case(rows=1),
    "seventeen rows": Case(rows=17),
    "denormal weights and rates": Case(scale=1e-38, rate=10),
    "denormal updates": Case(rate=1e-37),
    "two outputs": Case(negatives=1, dims=17),
    "eight outputs": Case(negatives=7),
    "nine outputs": Case(negatives=8, dims=33),
    "sixteen outputs": Case(vocabulary=3000, negatives=15),
    "seventeen outputs": Case(negatives=16, rows=300),
    "many outputs": Case(negatives=40, dims=8, rows=200),
    "long vectors": Case(dims=304, rows=200),
    "large vocabulary": Case(vocabulary=200_000, dims=16, rows=300),
    "growing steps": Case(rows=600, dims=16, grows=True),
    "about a warp's entries a word": Case(vocabulary=110, rows=1600, negatives=1, window=1, dims=16),
    "several sampled tiles": Case(rows=5000, dims=16, vocabulary=2000),
}


@functools.cache
def on_the_cpu(case: Case, model: str) -> tuple[list[bytes], StepLoss]:
    return train(CpuBackend(*case.weights(), **case.settings(model)), case)


def on_the_device(case: Case, model: str, block: int = 256, made_by: Any = CudaBackend) -> tuple[list[bytes], StepLoss]:
    """On whatever CuPy is."""
    backend = made_by(*case.weights(), **case.settings(model), block=block, graphs=block % 64 == 0)
    return train(backend, case)


def train(backend: Backend, case: Case) -> tuple[list[bytes], StepLoss]:
    batch, rates = case.batch(), [rate * case.rate for rate in RATES]
    if not case.grows:
        return run(backend, batch, quarters(case.rows), rates)
    parts = [case.rows * percent // 100 for percent in (0, 1, 10, 40, 48, 56, 64, 72, 80, 88, 96, 100)]
    calls = [parts[0:2], parts[1:3], parts[2:4], parts[3:]]
    falling = [[rate - rate * i / 20 for i in range(len(bounds) - 1)] for bounds, rate in zip(calls, rates)]
    done = [run(backend, batch, bounds, some) for bounds, some in zip(calls, falling)]
    total, pairs = (np.concatenate([getattr(loss, name) for _, loss in done]) for name in ("total", "pairs"))
    return done[-1][0], StepLoss(total, pairs)


def assert_equal(case: Case, model: str, block: int = 256, made_by: Any = CudaBackend) -> None:
    wanted, wanted_loss = on_the_cpu(case, model)
    found, loss = on_the_device(case, model, block, made_by)
    assert found == wanted
    np.testing.assert_array_equal(loss.pairs, wanted_loss.pairs)
    np.testing.assert_array_equal(loss.total, wanted_loss.total)
