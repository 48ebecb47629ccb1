"""The CUDA kernels, run on the CPU, give the CPU backend's weights and loss bit for bit."""

import itertools

import numpy as np
import pytest

from pipeline.backends.cpu import CpuBackend
from pipeline.backends.cuda.backend import CudaBackend
from pipeline.backends.oracles.definition import PlainBackend
from tests.backends.cuda.cases import CASES, MODELS, Case, assert_equal
from tests.helpers.training_rows import run
from tools.cuda.emulator.emulation import COMPILER
from tools.cuda.emulator.stand_in_cupy import POLICIES, Device, installed

pytestmark = pytest.mark.skipif(not COMPILER, reason="the emulator needs g++")

WAYS = [(0, "late", 256), (1, "early", 64), (2, "eager-1", 32), (3, "eager-2", 256), (2, "random", 96)]
"""schedule, policy of the streams, threads of a block"""
FAST = [
    "dims that are no multiple of 16",
    "hits count under both labels",
    "distinct rows and in-place updates",
    "rows without context",
    "wide windows",
    "some rows would move too far",
    "one word",
    "one row",
    "denormal weights and rates",
    "seventeen outputs",
    "several sampled tiles",
]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", FAST)
def test_steps_have_the_bits_of_the_cpu(model, name):
    """Each case in another way; the slow tests take every case in every way."""
    schedule, policy, block = WAYS[(FAST.index(name) + MODELS.index(model)) % len(WAYS)]
    with installed(Device(schedule=schedule, policy=policy)):
        assert_equal(CASES[name], model, block)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", CASES)
def test_no_schedule_changes_a_bit(model, name):
    ways = itertools.product(range(4), (32, 96, 256))
    for (schedule, block), policy in zip(ways, itertools.cycle(POLICIES)):
        with installed(Device(schedule=schedule, policy=policy, seed=block)):
            assert_equal(CASES[name], model, block)


@pytest.mark.parametrize("model", MODELS)
def test_no_race_and_no_access_outside_of_arrays(model):
    """Rows of all kinds at once; watching every access is slow."""
    case = Case(vocabulary=150, dims=20, rows=300, negatives=8, fewest=0, tau=30.0)
    with installed(Device(schedule=3, policy="random", watched=True)):
        assert_equal(case, model, 64)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", CASES)
def test_no_case_has_a_race(model, name):
    with installed(Device(schedule=2, policy="random", watched=True)):
        assert_equal(CASES[name], model)


def test_a_block_of_steps_is_its_steps_one_by_one():
    """Also with buffers that grow, and with as many steps in flight as a block has."""
    case = Case(rows=600, dims=16)
    batch, bounds = case.batch(), np.arange(0, 601, 50)
    rates = np.linspace(0.1, 0.05, len(bounds) - 1, dtype=np.float32)
    wanted, wanted_loss = run(CpuBackend(*case.weights(), **case.settings("skipgram")), batch, bounds, rates)
    for policy in POLICIES[2:]:
        with installed(Device(policy=policy)):
            backend = CudaBackend(*case.weights(), **case.settings("skipgram"))
            found, loss = run(backend, batch, bounds, rates)
            assert found == wanted, policy
            np.testing.assert_array_equal(loss.total, wanted_loss.total)
            backend = CudaBackend(*case.weights(), **case.settings("skipgram"))
            for i in range(len(rates)):
                found, _ = run(backend, batch, bounds[i : i + 2], rates[i : i + 1])
            assert found == wanted, policy


def test_weights_can_be_read_before_training_and_between_steps():
    case = Case(dims=20, rows=100)
    with installed(Device(policy="late")):
        backend = CudaBackend(*case.weights(), **case.settings("skipgram"))
        for given, read in zip(case.weights(), backend.weights()):
            np.testing.assert_array_equal(read, given)
            with pytest.raises(ValueError, match="read-only"):
                read[:] = 0
        batch, rate = case.batch(), np.array([0.1], np.float32)
        backend.train(batch, np.array([0, 50]), rate)
        before = [w.copy() for w in backend.weights()]
        backend.train(batch, np.array([50, 100]), rate)
        assert all((old != new).any() for old, new in zip(before, backend.weights()))


def test_batches_of_other_negatives_compile_other_kernels():
    case, other = Case(dims=16, rows=100, negatives=2), Case(dims=16, rows=200, negatives=6)
    plain = PlainBackend(*case.weights(), **case.settings("cbow"))
    with installed(Device(policy="random")):
        backend = CudaBackend(*case.weights(), **case.settings("cbow"))
        for batch in (case.batch(), other.batch(), case.batch()):
            wanted, _ = run(plain, batch, [0, batch.size], [0.1])
            assert run(backend, batch, [0, batch.size], [0.1])[0] == wanted
