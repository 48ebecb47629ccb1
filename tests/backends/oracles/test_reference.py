"""The reference backend: against sums written out pair by pair, and against numerical gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.backends.oracles.reference import Cbow, ReferenceBackend, SkipGram
from pipeline.batches.rows import Rows

MODELS = {"skipgram": SkipGram, "cbow": Cbow}
WORDS, DIMS = 12, 5


def random_rows(rows: int, seed: int = 1) -> Rows:
    """Rows of 1 to 4 contexts and 3 negatives; low words are frequent, so that hits and repeats abound."""
    random = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return (random.integers(0, WORDS, shape) * random.random(shape)).astype(np.int32)

    offset = np.concatenate([[0], np.cumsum(random.integers(1, 5, rows))]).astype(np.int32)
    return Rows(draw(rows), offset, draw(int(offset[-1])), draw(rows, 3))


def make_weights(dtype=np.float64) -> tuple[np.ndarray, np.ndarray]:
    w_in, w_out = np.random.default_rng(2).normal(0, 0.7, (2, WORDS, DIMS)).astype(dtype)
    return w_in, w_out


def step_by_pairs(w_in, w_out, batch, begin, end, model, lr, tau, zero_hits):
    """One step by its definition, one pair at a time, in float64; updates the weights in place."""
    gradient_in, gradient_out = np.zeros_like(w_in), np.zeros_like(w_out)
    touched_in, touched_out = np.zeros(len(w_in), int), np.zeros(len(w_out), int)
    loss, pairs = 0.0, 0
    for t in range(begin, end):
        contexts = batch.context[batch.offset[t] : batch.offset[t + 1]].tolist()
        outputs = [batch.target[t], *batch.negatives[t]]
        for words in [[x] for x in contexts] if model == "skipgram" else [contexts]:
            h = w_in[words].mean(axis=0)
            for k, output in enumerate(outputs):
                touched_out[output] += 1
                for x in words:
                    touched_in[x] += 1
                if zero_hits and k > 0 and output == outputs[0]:
                    continue
                score = float(h @ w_out[output])
                g = (k == 0) - 1 / (1 + math.exp(-score))
                gradient_out[output] += g * h
                for x in words:
                    gradient_in[x] += g * w_out[output]
                if (t - begin) // 16 % 64 == 0:
                    loss += math.log1p(math.exp(-score if k == 0 else score))
                    pairs += 1
    for w, gradient, touched in ((w_in, gradient_in, touched_in), (w_out, gradient_out, touched_out)):
        for row in np.flatnonzero(touched):
            move = lr * min(1, tau / touched[row]) * gradient[row]
            length = np.linalg.norm(move)
            w[row] += move / length if touched[row] > tau and length > 1 else move
    return loss, pairs


@pytest.mark.parametrize("zero_hits", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_steps_equal_the_sums_pair_by_pair(model, zero_hits):
    batch = random_rows(1100)
    bounds = np.array([0, 30, 30, 31, 1090, 1100])  # step 1 is empty, step 3 goes past its 64th tile
    rates = np.array([0.05, 0.04, 0.5, 0.01, 0.02], np.float32)
    w_in, w_out = make_weights()
    backend = ReferenceBackend(w_in, w_out, model=model, tau=20.0, zero_hits=zero_hits)
    result = backend.train(batch, bounds, rates)
    for step in range(len(rates)):
        loss, pairs = step_by_pairs(
            w_in, w_out, batch, bounds[step], bounds[step + 1], model, float(rates[step]), 20.0, zero_hits
        )
        assert result.pairs[step] == pairs
        assert result.total[step] == pytest.approx(loss, rel=1e-9)
    found_in, found_out = backend.weights()
    np.testing.assert_allclose(found_in, w_in, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found_out, w_out, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_float32_stays_within_a_millionth(model):
    batch, bounds = random_rows(200), np.array([0, 200])
    rates = np.array([0.025], np.float32)
    w_in, w_out = make_weights(np.float32)
    backend = ReferenceBackend(w_in, w_out, model=model, tau=256.0, zero_hits=True)
    backend.train(batch, bounds, rates)
    w_in, w_out = w_in.astype(float), w_out.astype(float)
    step_by_pairs(w_in, w_out, batch, 0, 200, model, 0.025, 256.0, True)
    for found, wanted in zip(backend.weights(), (w_in, w_out)):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("zero_hits", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_gradients_equal_numerical_ones(model, zero_hits):
    """All rows have 3 contexts, so that the undivided CBOW gradient is 3 times that of the mean."""
    batch = random_rows(6)
    context, row = random_rows(18).target.astype(int), np.repeat(np.arange(6), 3)
    weights = make_weights()
    layers = MODELS[model](*weights)

    def summed_loss() -> float:
        layers.forward(context, row, batch.target, batch.negatives, zero_hits)
        return float(layers.loss.loss.losses.sum())

    summed_loss()
    layers.backward()
    found_in, found_out = layers.embedding.grads[0].copy(), layers.loss.grads[0].copy()
    if model == "cbow":
        found_in /= 3
    for w, found in zip(weights, (found_in, found_out)):
        for i in np.ndindex(w.shape):
            kept = w[i]
            w[i] = kept + 1e-5
            above = summed_loss()
            w[i] = kept - 1e-5
            below = summed_loss()
            w[i] = kept
            assert found[i] == pytest.approx((above - below) / 2e-5, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("model", MODELS)
def test_steps_on_the_same_rows_lower_the_loss(model):
    batch = random_rows(16)
    backend = ReferenceBackend(*make_weights(), model=model, tau=1e6, zero_hits=True)
    rate, bounds = np.full(1, 0.01, np.float32), np.array([0, 16])
    losses = [backend.train(batch, bounds, rate).total[0] for _ in range(20)]
    assert (np.diff(losses) < 0).all()


# The cases that are easy to get wrong, as figures.


def one_row(contexts: list[int], target: int, negatives: list[int]) -> Rows:
    return Rows(
        np.array([target], np.int32),
        np.array([0, len(contexts)], np.int32),
        np.array(contexts, np.int32),
        np.array([negatives], np.int32),
    )


def train_once(batch: Rows, model: str, tau: float, zero_hits: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weights of ones, dims 1, learning rate 1/8: returns how far each row moved, times 8."""
    ones = np.ones((4, 1))
    backend = ReferenceBackend(ones, ones, model=model, tau=tau, zero_hits=zero_hits)
    backend.train(batch, np.array([0, 1]), np.full(1, 0.125, np.float32))
    return tuple((w[:, 0] - 1) * 8 for w in backend.weights())


UP = 1 - 1 / (1 + math.exp(-1))
"""1 - sigmoid(1), the step of a target; that of a negative is -DOWN."""
DOWN = 1 / (1 + math.exp(-1))


def test_rows_within_the_damping_move_whole_and_others_by_their_mean():
    # Row 0 is touched by (1 + 2 negatives) x 2 contexts, the outputs by 2 contexts each.
    moved = {tau: train_once(one_row([0, 0], 1, [2, 3]), "skipgram", tau, False) for tau in (6, 3, 2, 1)}
    whole = 2 * (UP - 2 * DOWN)
    for tau, (moved_in, moved_out) in moved.items():
        np.testing.assert_allclose(moved_in, [whole * min(1, tau / 6), 0, 0, 0], atol=1e-12)
        share = min(1, tau / 2)
        np.testing.assert_allclose(moved_out, [0, 2 * UP * share, -2 * DOWN * share, -2 * DOWN * share])


def test_cbow_counts_one_for_an_output_and_all_outputs_for_a_context():
    moved_in, moved_out = train_once(one_row([0, 0, 3], 1, [2, 2]), "cbow", 3, False)
    whole = UP - 2 * DOWN  # each context gets it undivided
    np.testing.assert_allclose(moved_in, [2 * whole * 3 / 6, 0, 0, whole], atol=1e-12)
    np.testing.assert_allclose(moved_out, [0, UP, -2 * DOWN, 0], atol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_zeroed_hits_do_not_move_but_count(model):
    batch = one_row([0], 1, [1, 2])
    moved_in, moved_out = train_once(batch, model, 1, True)
    np.testing.assert_allclose(moved_in, [(UP - DOWN) / 3, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(moved_out, [0, UP / 2, -DOWN, 0], atol=1e-12)
    moved_in, moved_out = train_once(batch, model, 1, False)
    np.testing.assert_allclose(moved_in, [(UP - 2 * DOWN) / 3, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(moved_out, [0, (UP - DOWN) / 2, -DOWN, 0], atol=1e-12)


def test_weights_are_copies():
    w_in, w_out = make_weights()
    before = w_in.copy()
    backend = ReferenceBackend(w_in, w_out, model="skipgram", tau=1e6, zero_hits=False)
    first, _ = backend.weights()
    backend.train(random_rows(5), np.array([0, 5]), np.ones(1, np.float32))
    assert (w_in == before).all()
    assert (first == before).all()
    assert (backend.weights()[0] != before).any()
