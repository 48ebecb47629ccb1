"""The textbook layers on arrays of CuPy, which wants the headers of CUDA there: pytest tests/backends/cuda -m gpu."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.backends.cuda.device import NoGpuError, find_gpu
from pipeline.backends.oracles.reference import ReferenceBackend
from pipeline.batches.rows import Rows
from pipeline.layers import NegativeSamplingLoss, UnigramSampler
from pipeline.model import neighbors

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cupy():
    try:
        find_gpu()
        import cupy

        assert cupy.arange(3).sum() == 3
    except (NoGpuError, RuntimeError) as error:
        pytest.skip(f"CuPy compiles nothing here: {error}")
    return cupy


def make_case(rows: int, words: int, dims: int) -> tuple[Rows, np.ndarray]:
    """Rows of two contexts and three negatives; both matrices."""
    random = np.random.default_rng(1)
    target, context, negatives = (random.integers(0, words, shape) for shape in (rows, 2 * rows, (rows, 3)))
    batch = Rows(target, np.arange(0, 2 * rows + 1, 2), context, negatives)
    return batch, random.normal(size=(2, words, dims)).astype(np.float32)


@pytest.mark.parametrize("zero_hits", [False, True])
@pytest.mark.parametrize("model", ["skipgram", "cbow"])
def test_the_reference_backend(cupy, model, zero_hits):
    batch, weights = make_case(rows=200, words=90, dims=20)
    settings = {"model": model, "tau": 50.0, "zero_hits": zero_hits}
    backends = [ReferenceBackend(*weights, **settings, xp=xp) for xp in (np, cupy)]
    losses = [backend.train(batch, np.array([0, 200]), np.full(1, 0.05, np.float32)) for backend in backends]
    np.testing.assert_allclose(losses[1].total, losses[0].total, rtol=1e-5)
    for on_host, on_gpu in zip(*(backend.weights() for backend in backends)):
        np.testing.assert_allclose(on_gpu, on_host, atol=1e-6)


@pytest.mark.parametrize("law", ["distinct", "any"])
def test_the_sampler_and_the_loss(cupy, law):
    """CuPy's random numbers are others than NumPy's."""
    corpus, target = np.array([0, 1, 2, 3, 4, 1, 2, 3, 1, 1, 2]), np.array([1, 4, 0])
    drawn = UnigramSampler(cupy.asarray(corpus), 0.75, 3, law, seed=7).get_negative_sample(cupy.asarray(target)).get()
    assert drawn.shape == (3, 3)
    assert law == "any" or all(len({*row, word}) == 4 for row, word in zip(drawn.tolist(), target.tolist()))
    W, h = np.random.default_rng(1).normal(size=(5, 3)), np.random.default_rng(2).normal(size=(3, 3))
    loss = NegativeSamplingLoss(cupy.asarray(W), cupy.asarray(corpus), 0.75, 3, law, seed=7)
    assert float(loss.forward(cupy.asarray(h), cupy.asarray(target))) > 0
    assert loss.backward().shape == h.shape


def test_neighbors(cupy):
    vectors = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    found, _ = neighbors.nearest(cupy.asarray(vectors), [3, 7], 5)
    wanted, _ = neighbors.nearest(vectors, [3, 7], 5)
    assert found.tolist() == wanted.tolist()
