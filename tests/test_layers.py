"""The five layers: golden figures, numerical gradients, extreme scores, laws of the sampler."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.layers import (
    Embedding,
    EmbeddingDot,
    NegativeSamplingLoss,
    SigmoidWithLoss,
    UnigramSampler,
    add_rows,
    array_module,
    to_host,
)

CORPUS = np.array([0, 1, 2, 3, 4, 1, 2, 3, 1, 1, 2])


def numerical_gradient(function, array: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of a scalar function of `array`, which is changed in place meanwhile."""
    gradient = np.empty_like(array)
    for i in np.ndindex(array.shape):
        kept = array[i]
        array[i] = kept + step
        above = function()
        array[i] = kept - step
        below = function()
        array[i] = kept
        gradient[i] = (above - below) / (2 * step)
    return gradient


def assert_gradient(found, function, array):
    np.testing.assert_allclose(found, numerical_gradient(function, array), rtol=1e-6, atol=1e-8)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


# Golden figures.


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_embedding_dot_golden(dtype):
    W = np.repeat(np.arange(7, dtype=dtype), 3).reshape(7, 3)
    layer = EmbeddingDot(W)
    assert layer.forward(np.array([[3, 4, 5], [6, 7, 8]], dtype), np.array([1, 2])).tolist() == [12, 42]
    assert layer.backward(np.array([3, 4], dtype)).tolist() == [[3, 3, 3], [8, 8, 8]]
    gradient = np.zeros((7, 3))
    gradient[1], gradient[2] = [9, 12, 15], [24, 28, 32]
    assert layer.grads[0].tolist() == gradient.tolist()


def test_sampler_golden():
    golden = [0.11376918, 0.32178782, 0.25933764, 0.19133618, 0.11376918]
    np.testing.assert_allclose(UnigramSampler(CORPUS, 0.75, 2).word_p, golden, atol=5e-9)
    counts = [1000, 1010, 10]
    corpus = np.repeat([0, 1, 2], counts)
    np.testing.assert_allclose(UnigramSampler(corpus, 0.75, 1).word_p, [0.4904092, 0.49408269, 0.0155081], atol=5e-9)


# Repeated indices, and gradients against numerical ones.


def test_repeated_indices_add_up_and_backward_starts_afresh():
    layer = Embedding(np.zeros((4, 2)))
    for _ in range(2):
        layer.forward([1, 3, 1, 1])
        layer.backward([[1, 2], [10, 20], [3, 4], [5, 6]])
        assert layer.grads[0].tolist() == [[0, 0], [9, 12], [0, 0], [10, 20]]


def test_embedding_gradient(random):
    W, weight, index = random.normal(size=(5, 3)), random.normal(size=(2, 4, 3)), [[1, 4, 1, 0], [2, 2, 1, 4]]
    layer = Embedding(W)
    layer.forward(index)
    layer.backward(weight)
    assert_gradient(layer.grads[0], lambda: (layer.forward(index) * weight).sum(), W)


@pytest.mark.parametrize("index", [[1, 4, 1, 0], [[1, 4], [2, 2], [1, 1], [0, 4]]])
def test_embedding_dot_gradient(random, index):
    W, h, weight = random.normal(size=(5, 3)), random.normal(size=(4, 3)), random.normal(size=np.shape(index))
    layer = EmbeddingDot(W)
    layer.forward(h, index)
    dh = layer.backward(weight)
    dW = layer.grads[0].copy()
    assert_gradient(dh, lambda: (layer.forward(h, index) * weight).sum(), h)
    assert_gradient(dW, lambda: (layer.forward(h, index) * weight).sum(), W)


@pytest.mark.parametrize("counted", [None, [[True, True, False], [True] * 3, [False] * 3, [True] * 3]])
def test_sigmoid_with_loss_gradient(random, counted):
    scores, labels = random.normal(0, 3, (4, 3)), random.integers(0, 2, (4, 3))
    layer = SigmoidWithLoss()
    layer.forward(scores, labels, counted)
    assert_gradient(layer.backward(2.5), lambda: 2.5 * layer.forward(scores, labels, counted), scores)


@pytest.mark.parametrize("zero_hits", [False, True])
def test_negative_sampling_loss_gradient(random, zero_hits):
    W, h = random.normal(size=(6, 3)), random.normal(size=(4, 3))
    target, negatives = [1, 4, 1, 0], [[1, 4], [2, 2], [5, 1], [3, 4]]
    layer = NegativeSamplingLoss(W)
    layer.forward(h, target, negatives, zero_hits)
    dh = layer.backward(1.5)
    dW = layer.grads[0].copy()
    assert_gradient(dh, lambda: 1.5 * layer.forward(h, target, negatives, zero_hits), h)
    assert_gradient(dW, lambda: 1.5 * layer.forward(h, target, negatives, zero_hits), W)


# Loss.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loss_is_safe_at_large_scores(dtype):
    layer = SigmoidWithLoss()
    with np.errstate(all="raise", under="ignore"):
        mean = layer.forward(np.array([80, 80, -80, -80, 0], dtype), [1, 0, 1, 0, 1])
        tiny = math.exp(-80)
        np.testing.assert_allclose(layer.losses, [tiny, 80, 80, tiny, math.log(2)], rtol=1e-13)
        assert mean == pytest.approx((160 + math.log(2)) / 5)
        gradient = layer.backward(5)
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient, [0, 1, -1, tiny, -0.5], rtol=1e-6, atol=1e-37)
        layer.forward(np.array([5000, -5000], dtype), [0, 1])
        np.testing.assert_array_equal(layer.losses, [5000, 5000])


def test_loss_of_no_scores_is_zero():
    layer = SigmoidWithLoss()
    assert layer.forward(np.array([3.0, -3.0]), [0, 1], [False, False]) == 0
    assert layer.backward().tolist() == [0, 0]


def test_negative_sampling_loss_is_the_sum_of_its_heads(random):
    W, h = random.normal(size=(5, 3)), random.normal(size=(6, 3))
    target = random.integers(0, 5, 6)
    layer = NegativeSamplingLoss(W, CORPUS, 0.75, 2, seed=1)
    loss = layer.forward(h, target)
    assert layer.index[:, 0].tolist() == target.tolist()
    heads = 0.0
    for k in range(3):
        dot, head = EmbeddingDot(W), SigmoidWithLoss()
        heads += head.forward(dot.forward(h, layer.index[:, k]), np.full(6, int(k == 0)))
    assert loss == pytest.approx(heads, rel=1e-12)


def test_zeroed_hits_have_no_part_in_loss_and_gradient():
    W, h = np.ones((3, 2)), np.ones((1, 2))
    layer = NegativeSamplingLoss(W)
    without = NegativeSamplingLoss(W)
    assert layer.forward(h, [1], [[1, 2]], zero_hits=True) == without.forward(h, [1], [[2]])
    assert layer.backward().tolist() == without.backward().tolist()
    assert layer.grads[0].tolist() == without.grads[0].tolist()
    assert layer.forward(h, [1], [[1, 2]]) > without.forward(h, [1], [[2]])


def test_loss_without_a_corpus_needs_negatives():
    with pytest.raises(ValueError, match="negatives"):
        NegativeSamplingLoss(np.ones((3, 2))).forward(np.ones((1, 2)), [1])


# The laws of the sampler.


def chi_square(observed: np.ndarray, other: np.ndarray) -> tuple[float, int]:
    """Two samples of equal size, as tables of counts: the statistic and its degrees of freedom."""
    seen = observed + other > 0
    a, b = observed[seen].astype(float), other[seen].astype(float)
    return float(((a - b) ** 2 / (a + b)).sum()), int(seen.sum()) - 1


def is_plausible(statistic: float, freedom: int) -> bool:
    """Within 3.3 standard deviations of a chi-square (Wilson and Hilferty): p about 0.0005."""
    spread = 2 / (9 * freedom)
    return (statistic / freedom) ** (1 / 3) < 1 - spread + 3.3 * math.sqrt(spread)


def as_table(draws: np.ndarray, words: int) -> np.ndarray:
    """How often each whole draw, order included, occurs."""
    places = words ** np.arange(draws.shape[1])
    return np.bincount(draws @ places, minlength=words ** draws.shape[1])


@pytest.mark.parametrize(("target", "k"), [(1, 1), (1, 2), (4, 3)])
def test_distinct_draws_follow_numpys_choice_without_replacement(target, k):
    n = 20_000
    sampler = UnigramSampler(CORPUS, 0.75, k, seed=1)
    draws = sampler.get_negative_sample(np.full(n, target))
    assert draws.shape == (n, k)
    assert (draws != target).all()
    assert all(len(set(row)) == k for row in draws.tolist())
    p = sampler.word_p.copy()
    p[target] = 0
    p /= p.sum()
    random = np.random.RandomState(2)
    other = np.array([random.choice(5, k, replace=False, p=p) for _ in range(n)])
    assert is_plausible(*chi_square(as_table(draws, 5), as_table(other, 5)))


def test_the_law_test_tells_laws_apart():
    n = 20_000
    right = UnigramSampler(CORPUS, 0.75, 2, seed=1).get_negative_sample(np.full(n, 1))
    wrong_power = UnigramSampler(CORPUS, 0.9, 2, seed=1).get_negative_sample(np.full(n, 1))
    assert not is_plausible(*chi_square(as_table(right, 5), as_table(wrong_power, 5)))


def test_any_draws_are_independent_and_may_hit_the_target():
    n = 20_000
    sampler = UnigramSampler(CORPUS, 0.75, 2, law="any", seed=1)
    draws = sampler.get_negative_sample(np.full(n, 1))
    assert (draws == 1).any()
    assert (draws[:, 0] == draws[:, 1]).any()
    other = np.random.RandomState(2).choice(5, (n, 2), p=sampler.word_p)
    assert is_plausible(*chi_square(as_table(draws, 5), as_table(other, 5)))


@pytest.mark.parametrize("law", ["distinct", "any"])
def test_words_that_do_not_occur_are_never_drawn(law):
    sampler = UnigramSampler(np.array([1, 1, 3, 4, 4, 6]), 0.75, 3, law=law, seed=1)
    assert sampler.word_p[[0, 2, 5]].tolist() == [0, 0, 0]
    draws = sampler.get_negative_sample(np.array([1] * 500 + [6] * 500))
    assert set(np.unique(draws).tolist()) == {1, 3, 4, 6}
    assert sampler.get_negative_sample(np.array([], int)).shape == (0, 3)


def test_too_few_words_for_distinct_negatives_is_an_error():
    assert UnigramSampler(CORPUS, 0.75, 4, seed=1).get_negative_sample([0]).shape == (1, 4)
    with pytest.raises(InputError, match="5 distinct negatives need more than 5 words"):
        UnigramSampler(CORPUS, 0.75, 5)
    with pytest.raises(ValueError, match="distinct, any"):
        UnigramSampler(CORPUS, 0.75, 5, law="all")


def test_a_negative_counts_unless_it_is_the_target_of_its_own_example():
    loss = NegativeSamplingLoss(np.ones((3, 2)))
    loss.forward(np.ones((2, 2)), np.array([0, 1]), np.array([[1, 0], [1, 0]]), zero_hits=True)
    assert loss.counted.tolist() == [[True, True, False], [True, False, True]]


def test_arrays_of_numpy_stay_with_numpy():
    array = np.arange(3)
    assert array_module(array, [1]) is np
    assert to_host(array) is array
    table = np.zeros((2, 1))
    add_rows(table, [1, 1], [[2], [3]])
    assert table.tolist() == [[0], [5]]
