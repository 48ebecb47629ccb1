"""Random training rows and weights, for tests of backends."""

from __future__ import annotations

import numpy as np

from pipeline.batches.rows import Rows
from pipeline.batches.sampling import Tables
from pipeline.words import unigram


def random_rows(vocabulary, rows, negatives, window, seed, fewest=1):
    rng = np.random.default_rng(seed)
    p = 1 / np.arange(1, vocabulary + 1)
    p /= p.sum()
    offset = np.concatenate([[0], np.cumsum(rng.integers(fewest, 2 * window + 1, rows))]).astype(np.int32)
    draw = lambda *shape: rng.choice(vocabulary, shape, p=p).astype(np.int32)  # noqa: E731
    return Rows(draw(rows), offset, draw(offset[-1]), draw(rows, negatives))


def random_weights(vocabulary, dims, seed, scale=0.5):
    rng = np.random.default_rng(seed)
    return [((rng.random((vocabulary, dims)) - 0.5) * scale).astype(np.float32) for _ in range(2)]


def run(backend, batch, bounds, rates):
    loss = backend.train(batch, np.asarray(bounds, np.int64), np.asarray(rates, np.float32))
    return [w.tobytes() for w in backend.weights()], loss


def quarters(rows):
    """Four steps, the second without rows and the last short."""
    return [0, rows // 2, rows // 2, rows - rows // 4, rows]


RATES = [0.025, 0.02, 0.02, 0.015]


SUBSAMPLE = 1e-2


def tables_of(counts, subsample=SUBSAMPLE):
    distribution = unigram.build(np.asarray(counts), 0.75, subsample)
    return Tables.of(distribution)
