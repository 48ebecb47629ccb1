"""The fast training step equals its definition in every bit, and the readable one closely."""

import resource
import threading
import time

import numpy as np
import pytest

from pipeline.backends.backend import CHUNK, LOSS_TILES, TILE
from pipeline.backends.cpu import CpuBackend
from pipeline.backends.oracles.definition import PlainBackend
from pipeline.backends.oracles.reference import ReferenceBackend
from pipeline.batches.rows import Rows
from pipeline.kernels import lanes, step, team
from pipeline.kernels.compile import kernel
from tests.helpers.training_rows import RATES, quarters, random_rows, random_weights, run

MODELS = ("skipgram", "cbow")


SHAPES = {
    "default": (300, 100, 1500, 5, 5),
    "two outputs": (50, 16, 700, 1, 3),
    "sixteen outputs": (3000, 40, 900, 15, 4),
    "seventeen outputs": (200, 48, 300, 16, 3),
    "many outputs": (100, 8, 300, 40, 2),
    "nine outputs": (500, 33, 500, 8, 5),
    "seven outputs": (500, 7, 500, 6, 2),
    "wide window": (400, 20, 200, 3, 60),
    "one word": (1, 16, 90, 3, 2),
    "one row": (300, 100, 1, 5, 5),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("zero_hits", [True, False])
def test_fast_step_is_the_definition_bit_for_bit(model, shape, zero_hits):
    vocabulary, dims, rows, negatives, window = SHAPES[shape]
    batch = random_rows(vocabulary, rows, negatives, window, rows + negatives)
    settings = {"model": model, "tau": 64.0, "zero_hits": zero_hits}
    weights = random_weights(vocabulary, dims, 3)
    wanted, wanted_loss = run(PlainBackend(*weights, **settings), batch, quarters(rows), RATES)
    assert wanted[0] != weights[0].tobytes()
    for threads in (1, 2, 4):
        found, loss = run(CpuBackend(*weights, **settings, threads=threads), batch, quarters(rows), RATES)
        assert found == wanted, threads
        np.testing.assert_array_equal(loss.pairs, wanted_loss.pairs)
        np.testing.assert_allclose(loss.total, wanted_loss.total, rtol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_one_backend_takes_more_and_fewer_negatives_in_turn(model):
    weights, settings = random_weights(300, 20, 3), {"model": model, "tau": 64.0, "zero_hits": True}
    fast, plain = CpuBackend(*weights, **settings, threads=2), PlainBackend(*weights, **settings)
    for negatives, window in ((2, 3), (9, 2), (4, 8), (17, 1)):
        batch = random_rows(300, 400, negatives, window, negatives)
        assert run(fast, batch, quarters(400), RATES)[0] == run(plain, batch, quarters(400), RATES)[0]


def test_the_step_is_compiled_once_for_rows_from_arrow_and_from_numpy():
    """It takes half a minute."""
    weights, batch = random_weights(300, 20, 3), random_rows(300, 400, 5, 3, 1)
    backend = CpuBackend(*weights, model="skipgram", tau=64.0, zero_hits=True)
    run(backend, batch, quarters(400), RATES)
    compiled = len(step.train.signatures)
    for array in (batch.target, batch.offset, batch.context, batch.negatives):
        array.flags.writeable = False
    run(backend, batch, quarters(400), RATES)
    assert len(step.train.signatures) == compiled


def test_a_thread_that_waits_for_its_team_gives_its_cpu_away():
    """Beside busy processes, threads that spin would take the CPU from those they wait for."""
    counters, slept = np.zeros(1, np.int64), []

    def times_slept() -> int:
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw

    def wait() -> None:
        team.wait_for(counters, 0, 0)  # compiled
        compiled.set()
        before = times_slept()
        team.wait_for(counters, 0, 1)
        slept.append(times_slept() - before)

    compiled, waiting = threading.Event(), threading.Thread(target=wait)
    waiting.start()
    compiled.wait()
    time.sleep(0.5)
    counters[0] = 1
    waiting.join()
    assert slept[0] > 50


@pytest.mark.parametrize("model", ["cbow", pytest.param("skipgram", marks=pytest.mark.slow)])
def test_more_pairs_than_32_bits_count_are_damped_all_the_same(model):
    """10,000 rows of 300 contexts, all one word, with 1,001 outputs: 3e9 pairs, negative in 32 bits."""
    rows, contexts, negatives = 10_000, 300, 1000
    offset = np.arange(rows + 1, dtype=np.int32) * contexts
    batch = Rows(
        np.zeros(rows, np.int32), offset, np.zeros(rows * contexts, np.int32), np.ones((rows, negatives), np.int32)
    )
    backend = CpuBackend(*random_weights(2, 4, 1), model=model, tau=128.0, zero_hits=True, threads=2)
    before = [weights.copy() for weights in backend.weights()]  # which the backend shows as they are at any time
    backend.train(batch, np.array([0, rows]), np.array([0.05], np.float32))
    for old, new in zip(before, backend.weights()):
        assert np.linalg.norm(new - old, axis=1).max() <= 1 + 1e-5


@pytest.mark.parametrize("model", MODELS)
def test_damped_rows_move_by_one_at_most(model):
    """A rate of 30 would move them much further; so would rows that only one entry of the step touches."""
    batch, (w_in, w_out) = random_rows(400, 300, 5, 5, 9), random_weights(400, 40, 9)
    settings = {"model": model, "zero_hits": True}
    moved = {}
    for tau in (0.5, 1e9):
        backends = [make(w_in, w_out, tau=tau, **settings) for make in (PlainBackend, CpuBackend, ReferenceBackend)]
        for backend in backends:
            backend.train(batch, np.array([0, 300]), np.array([30], np.float32))
        plain, fast, readable = ([new - old for new, old in zip(b.weights(), (w_in, w_out))] for b in backends)
        for i in range(2):
            assert plain[i].tobytes() == fast[i].tobytes()
            np.testing.assert_allclose(readable[i], plain[i], rtol=1e-4, atol=1e-3)
        moved[tau] = max(float(np.linalg.norm(side, axis=1).max()) for side in plain)
    assert moved[0.5] == pytest.approx(1, abs=1e-5)
    assert moved[1e9] > 100


@pytest.mark.parametrize("model", MODELS)
def test_rows_without_context_take_no_part(model):
    batch = random_rows(60, 400, 5, 2, 1, fewest=0)
    weights, settings = random_weights(60, 24, 1), {"model": model, "tau": 30.0, "zero_hits": True}
    kept = np.flatnonzero(np.diff(batch.offset))
    assert len(kept) < batch.size
    wanted, _ = run(PlainBackend(*weights, **settings), batch, [0, 400], [0.1])
    assert run(CpuBackend(*weights, **settings, threads=2), batch, [0, 400], [0.1])[0] == wanted


@pytest.mark.parametrize("model", MODELS)
def test_a_block_of_steps_is_its_steps_one_by_one(model):
    """Also with buffers that grow, and backends that are used again."""
    batch, weights = random_rows(300, 900, 5, 5, 2), random_weights(300, 50, 2)
    settings = {"model": model, "tau": 64.0, "zero_hits": True, "threads": 2}
    wanted, _ = run(CpuBackend(*weights, **settings), batch, [0, 100, 400, 900], [0.1, 0.05, 0.02])
    backend = CpuBackend(*weights, **settings)
    for begin, end, rate in ((0, 100, 0.1), (100, 400, 0.05), (400, 900, 0.02)):
        offset = batch.offset[begin : end + 1]
        step = Rows(
            batch.target[begin:end],
            offset - offset[0],
            batch.context[offset[0] : offset[-1]],
            batch.negatives[begin:end],
        )
        found, _ = run(backend, step, [0, end - begin], [rate])
    assert found == wanted


def test_tiny_rates_and_weights_keep_their_denormal_bits():
    batch, weights = random_rows(200, 600, 5, 5, 4), random_weights(200, 32, 4, scale=1e-38)
    settings = {"model": "skipgram", "tau": 64.0, "zero_hits": True}
    wanted, _ = run(PlainBackend(*weights, **settings), batch, [0, 600], [0.5])
    assert run(CpuBackend(*weights, **settings, threads=2), batch, [0, 600], [0.5])[0] == wanted


@kernel
def switch_float_mode(mode):
    return lanes.set_float_mode(mode)


def test_a_library_that_switches_denormal_numbers_off_changes_nothing():
    batch, weights = random_rows(200, 600, 5, 5, 4), random_weights(200, 32, 4, scale=1e-38)
    settings = {"model": "skipgram", "tau": 64.0, "zero_hits": True}
    wanted, _ = run(CpuBackend(*weights, **settings), batch, [0, 600], [0.5])
    flush = np.uint32(lanes.DEFAULT_FLOAT_MODE | 0x8040)  # flush to zero, denormals are zero
    before = switch_float_mode(flush)
    try:
        backend = CpuBackend(*weights, **settings)
        backend.train(batch, np.array([0, 600]), np.array([0.5], np.float32))
        assert switch_float_mode(flush) & 0xFFC0 == flush & 0xFFC0  # put back; the low bits only note what happened
    finally:
        switch_float_mode(before)
    assert [w.tobytes() for w in backend.weights()] == wanted


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("zero_hits", [True, False])
def test_one_step_is_close_to_the_readable_layers(model, zero_hits):
    batch, weights = random_rows(300, 1200, 5, 5, 7), random_weights(300, 50, 7)
    settings = {"model": model, "tau": 64.0, "zero_hits": zero_hits}
    fast, readable = CpuBackend(*weights, **settings), ReferenceBackend(*weights, **settings)
    losses = [b.train(batch, np.array([0, 1200]), np.array([0.025], np.float32)) for b in (fast, readable)]
    for ours, theirs in zip(fast.weights(), readable.weights()):
        np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=0)
    assert losses[0].pairs.tolist() == losses[1].pairs.tolist()
    np.testing.assert_allclose(losses[0].total, losses[1].total, rtol=1e-6)


def test_untrained_loss_is_log_two_a_pair():
    batch, (w_in, w_out) = random_rows(300, 1200, 5, 5, 7), random_weights(300, 50, 7)
    backend = CpuBackend(w_in, np.zeros_like(w_out), model="skipgram", tau=64.0, zero_hits=False)
    loss = backend.train(batch, np.array([0, 1200]), np.array([0.025], np.float32))
    sampled = [t for t in range(1200) if t // TILE % LOSS_TILES == 0]
    assert loss.pairs.tolist() == [6 * int(np.diff(batch.offset)[sampled].sum())]
    assert loss.total[0] / loss.pairs[0] == pytest.approx(np.log(2), abs=1e-12)


def test_extreme_scores_have_the_loss_they_should():
    """A score of 80 costs 80 where it is wrong, next to nothing where it is right."""
    one = np.full((2, 16), np.sqrt(5), np.float32)
    one[1] *= -1  # word 0 scores 80 with output 0 and -80 with output 1
    batch = Rows(*(np.array(a, np.int32) for a in ([1], [0, 1], [0], [[0]])))
    backend = CpuBackend(one, one, model="skipgram", tau=1.0, zero_hits=False)
    loss = backend.train(batch, np.array([0, 1]), np.array([0.0], np.float32))
    assert loss.total[0] == pytest.approx(160, rel=1e-6)


def test_chunks_hold_whole_tiles_and_at_most_one_sampled_one():
    assert CHUNK % TILE == 0
    assert LOSS_TILES % (CHUNK // TILE) == 0


def test_there_is_room_for_a_step_of_more_contexts_though_it_has_fewer_rows():
    backend = CpuBackend(*random_weights(10, 16, 0), model="skipgram", tau=1.0, zero_hits=True)
    for rows, window in ((50, 1), (10, 20), (60, 1)):
        batch = random_rows(10, rows, 3, window, seed=0, fewest=2 * window)
        backend._make_room(batch, np.array([0, rows]), outputs=4)
        assert len(backend._sums.inputs) >= len(batch.context) * 16
        assert len(backend._sums.outputs) >= rows * 4 * 16
        assert len(backend._plan_scratch[0].entry) >= max(len(batch.context), rows * 4)
