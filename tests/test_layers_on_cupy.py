"""Code that is generic over NumPy and CuPy, run on a stand-in that is as strict as CuPy.

The stand-in keeps its numbers in NumPy but refuses what CuPy refuses: silent copies to
the CPU, arithmetic between a device array and a host array, lists as masks, `add.at`.
"""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from pipeline.backends.oracles.reference import ReferenceBackend
from pipeline.batches.rows import Rows
from pipeline.layers import NegativeSamplingLoss, UnigramSampler, add_rows, array_module, to_host
from pipeline.model import neighbors


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array as CuPy's: numbers that are reached only through the module `cupy`."""

    __module__ = "cupy"

    def __init__(self, host: np.ndarray):
        self._host = host

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __array_function__(self, function, *args):
        raise TypeError(f"numpy.{function.__name__} on a device array")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__":
            raise TypeError(f"{ufunc.__name__}.{method} is not supported")
        return on_device(ufunc)(*inputs, **kwargs)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)  # else NumPy would find __array_interface__
        found = getattr(self._host, name)
        return on_device(found) if callable(found) else to_device(found)

    def __getitem__(self, key):
        return to_device(self._host[from_device(key)])

    def __setitem__(self, key, value):
        self._host[from_device(key)] = from_device(value)

    def __len__(self):
        return len(self._host)

    def __float__(self):
        return float(self._host)

    def __int__(self):
        return int(self._host)

    def get(self):
        return self._host.copy()


def to_device(value):
    if isinstance(value, tuple):
        return tuple(to_device(item) for item in value)
    return DeviceArray(np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value


def from_device(value):
    if isinstance(value, (tuple, list)):
        return type(value)(from_device(item) for item in value)
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("a host array where a device array is wanted")
    return value._host if isinstance(value, DeviceArray) else value


def on_device(function):
    def call(*args, **kwargs):
        results = function(*from_device(args), **{k: from_device(v) for k, v in kwargs.items()})
        return results if isinstance(results, np.dtype) else to_device(results)

    return call


class DeviceRandom:
    def __init__(self, seed):
        self._random = np.random.default_rng(seed)

    def __getattr__(self, name):
        return on_device(getattr(self._random, name))


FUNCTIONS = """
    abs arange argpartition argsort bincount broadcast_to concatenate count_nonzero cumsum exp flatnonzero
    log1p maximum nonzero ones partition repeat result_type searchsorted sqrt take_along_axis where zeros
"""


@pytest.fixture
def cupy(monkeypatch):
    module = types.ModuleType("cupy")
    for name in FUNCTIONS.split():
        setattr(module, name, on_device(getattr(np, name)))
    for name in ("bool_", "float32", "float64", "int64", "inf"):
        setattr(module, name, getattr(np, name))
    module.asarray = lambda a, dtype=None: DeviceArray(np.asarray(getattr(a, "_host", a), dtype))
    module.array = lambda a, dtype=None: DeviceArray(np.array(getattr(a, "_host", a), dtype))
    module.random = types.SimpleNamespace(default_rng=DeviceRandom)
    cupyx = types.ModuleType("cupyx")
    cupyx.scatter_add = lambda table, index, rows: np.add.at(*from_device((table, index, rows)))
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setitem(sys.modules, "cupyx", cupyx)
    return module


def test_arrays_of_numpy_stay_with_numpy():
    array = np.arange(3)
    assert array_module(array, [1]) is np
    assert to_host(array) is array
    table = np.zeros((2, 1))
    add_rows(table, [1, 1], [[2], [3]])
    assert table.tolist() == [[0], [5]]


def test_the_stand_in_is_strict(cupy):
    array = cupy.asarray([1.0, 2.0])
    assert array_module(array) is cupy
    for refused in (np.asarray, np.cumsum, lambda a: a + np.ones(2), lambda a: np.add.at(a, [0], 1)):
        with pytest.raises(TypeError):
            refused(array)


def make_case(rows: int, words: int, dims: int) -> tuple[Rows, np.ndarray]:
    """Rows of two contexts and three negatives; both matrices."""
    random = np.random.default_rng(1)
    target, context, negatives = (random.integers(0, words, shape) for shape in (rows, 2 * rows, (rows, 3)))
    batch = Rows(target, np.arange(0, 2 * rows + 1, 2), context, negatives)
    return batch, random.normal(size=(2, words, dims)).astype(np.float32)


@pytest.mark.parametrize("zero_hits", [False, True])
@pytest.mark.parametrize("model", ["skipgram", "cbow"])
def test_reference_backend_runs_on_cupy_unchanged(cupy, model, zero_hits):
    batch, weights = make_case(rows=20, words=9, dims=4)
    rates, bounds = np.array([0.1, 0.2], np.float32), np.array([0, 13, 20])
    results = []
    for xp in (np, cupy):
        backend = ReferenceBackend(*weights, model=model, tau=5.0, zero_hits=zero_hits, xp=xp)
        loss = backend.train(batch, bounds, rates)
        results.append([loss.total, loss.pairs, *backend.weights()])
    for on_host, on_gpu in zip(*results):
        assert on_gpu.dtype == on_host.dtype
        assert on_gpu.tolist() == on_host.tolist()


@pytest.mark.parametrize("law", ["distinct", "any"])
def test_sampler_and_loss_run_on_cupy_unchanged(cupy, law):
    corpus, target = np.array([0, 1, 2, 3, 4, 1, 2, 3, 1, 1, 2]), np.array([1, 4, 0])
    W, h = np.random.default_rng(1).normal(size=(5, 3)), np.random.default_rng(2).normal(size=(3, 3))
    draws = [
        UnigramSampler(xp.asarray(corpus), 0.75, 3, law, seed=7).get_negative_sample(xp.asarray(target))
        for xp in (np, cupy)
    ]
    assert draws[1].get().tolist() == draws[0].tolist()
    on_host = NegativeSamplingLoss(W, corpus, 0.75, 3, law, seed=7)
    on_gpu = NegativeSamplingLoss(cupy.asarray(W), cupy.asarray(corpus), 0.75, 3, law, seed=7)
    assert on_gpu.forward(cupy.asarray(h), cupy.asarray(target)) == on_host.forward(h, target)
    assert on_gpu.backward().get().tolist() == on_host.backward().tolist()
    assert on_gpu.grads[0].get().tolist() == on_host.grads[0].tolist()


def test_neighbors_run_on_cupy_unchanged(cupy):
    vectors = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    wanted = neighbors.nearest(vectors, [3, 7], 5)
    for on_gpu, on_host in zip(neighbors.nearest(cupy.asarray(vectors), [3, 7], 5), wanted):
        assert isinstance(on_gpu, np.ndarray)
        assert on_gpu.tolist() == on_host.tolist()


@pytest.mark.gpu
@pytest.mark.parametrize("model", ["skipgram", "cbow"])
def test_reference_backend_on_a_device(model):
    cupy = pytest.importorskip("cupy")
    batch, weights = make_case(rows=200, words=90, dims=20)
    backends = [ReferenceBackend(*weights, model=model, tau=50.0, zero_hits=True, xp=xp) for xp in (np, cupy)]
    losses = [backend.train(batch, np.array([0, 200]), np.full(1, 0.05, np.float32)) for backend in backends]
    np.testing.assert_allclose(losses[1].total, losses[0].total, rtol=1e-5)
    for on_host, on_gpu in zip(*(backend.weights() for backend in backends)):
        np.testing.assert_allclose(on_gpu, on_host, atol=1e-6)
    found, _ = neighbors.nearest(cupy.asarray(weights[0]), [3, 7], 5)
    wanted, _ = neighbors.nearest(weights[0], [3, 7], 5)
    assert found.tolist() == wanted.tolist()
