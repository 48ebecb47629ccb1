"""The unigram distribution, its alias table and the thresholds of subsampling."""

from __future__ import annotations

import decimal
import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ArtifactError, InputError
from pipeline.words import unigram

counts_of_words = st.lists(st.integers(1, 10**9), min_size=1, max_size=60).map(
    lambda counts: np.array(counts, np.int64)
)


def implied(threshold: np.ndarray, alias: np.ndarray) -> list[Fraction]:
    """The probability of each word that an alias table stands for, exactly."""
    size = threshold.size
    column = Fraction(1, size)
    result = [Fraction(0)] * size
    for i in range(size):
        own = column if alias[i] == i else column * Fraction(int(threshold[i]), 2**32)
        result[i] += own
        result[alias[i]] += column - own
    return result


# Golden figures: the noise distribution of word2vec on two small corpora.


def test_counts_give_the_golden_distribution():
    probability = unigram.powered_distribution(np.array([1000, 1010, 10]), 0.75)
    np.testing.assert_allclose(probability, [0.4904092, 0.49408269, 0.0155081], atol=5e-9)


def test_corpus_gives_the_golden_distribution():
    counts = np.bincount([0, 1, 2, 3, 4, 1, 2, 3, 1, 1, 2])
    probability = unigram.powered_distribution(counts, 0.75)
    golden = [0.11376918, 0.32178782, 0.25933764, 0.19133618, 0.11376918]
    np.testing.assert_allclose(probability, golden, atol=5e-9)


# Exact bits, so that another library's pow() can never creep in.


def test_powers_are_rounded_once():
    counts = np.array([16, 81, 256, 625])
    assert unigram.powered_distribution(counts, 0.75).tolist() == [x / 224 for x in (8, 27, 64, 125)]


def test_the_power_is_the_decimal_that_was_written():
    """0.7 is seven tenths, and not the float beside it: powers of large counts would be rounded otherwise."""
    counts, exact = [10**9, 10**6, 7, 1], decimal.Context(prec=34)
    powered = [float(exact.power(count, decimal.Decimal("0.7"))) for count in counts]
    wanted = [value / math.fsum(powered) for value in powered]
    assert unigram.powered_distribution(np.array(counts), 0.7).tolist() == wanted


@given(counts_of_words)
def test_power_one_is_the_plain_distribution(counts):
    assert unigram.powered_distribution(counts, 1).tolist() == (counts / counts.sum()).tolist()


@given(counts_of_words)
def test_power_zero_is_uniform(counts):
    assert unigram.powered_distribution(counts, 0).tolist() == [1 / counts.size] * counts.size


@given(counts_of_words, st.floats(0, 4))
def test_probabilities_sum_to_one_and_keep_the_order_of_counts(counts, power):
    probability = unigram.powered_distribution(counts, power)
    assert math.fsum(probability) == pytest.approx(1, abs=1e-14)
    order = np.argsort(counts, kind="stable")
    assert (np.diff(probability[order]) >= 0).all()


def test_no_word_is_an_error_of_one_line():
    with pytest.raises(InputError, match="no word"):
        unigram.build(np.array([], np.int64), 0.75, 1e-3)


def test_counts_must_not_be_negative_or_all_zero():
    for counts in ([3, -1], [0, 0]):
        with pytest.raises(ValueError, match="positive"):
            unigram.powered_distribution(np.array(counts))


@pytest.mark.parametrize("power", [-1, -0.5, 0, 0.75, 1, 4])
def test_a_word_that_does_not_occur_has_no_weight_at_any_power(power):
    counts, occurs = np.array([0, 9, 0, 4, 4, 0]), np.array([False, True, False, True, False, False])
    noise = unigram.build(counts, power, 1e-2, occurs)
    assert ((noise.probability > 0) == occurs).all()
    assert ((noise.weights() > 0) == occurs).all()
    assert [bool(share) for share in implied(noise.threshold, noise.alias)] == occurs.tolist()
    assert noise.keep[counts == 0].tolist() == [2**32 - 1] * 3
    np.testing.assert_allclose(noise.probability[[1, 3]], np.array([9.0, 4.0]) ** power / (9.0**power + 4.0**power))


# The alias table.


@given(counts_of_words, st.sampled_from([0, 0.5, 0.75, 1, 3]))
def test_alias_table_stands_for_the_distribution(counts, power):
    distribution = unigram.build(counts, power, 0)
    result = implied(distribution.threshold, distribution.alias)
    assert sum(result) == 1
    # A 2^32nd is the whole rounding of the table; the requirement is V of them.
    for p, q in zip(distribution.probability.tolist(), result):
        assert abs(Fraction(p) - q) <= Fraction(1, 2**32)


def test_alias_table_of_a_large_vocabulary_is_exact_to_its_unit():
    size = 200_000
    counts = 10**6 // np.arange(1, size + 1) + 1
    distribution = unigram.build(counts, 0.75, 0)
    own = np.where(distribution.alias == np.arange(size), 2**32, distribution.threshold.astype(np.int64))
    units = own.copy()
    np.add.at(units, distribution.alias, 2**32 - own)
    wanted = distribution.probability * (size * 2.0**32)
    assert units.sum() == size * 2**32
    np.testing.assert_allclose(units[1:], wanted[1:], rtol=0, atol=1)
    assert abs(units[0] - wanted[0]) <= size


def test_one_word_is_always_drawn():
    distribution = unigram.build(np.array([7]), 0.75, 1e-3)
    assert distribution.alias.tolist() == [0]
    assert distribution.packed().tolist() == [2**32 - 1]
    assert distribution.weights().tolist() == [2**48]


def test_draws_follow_the_distribution():
    distribution = unigram.build(np.array([500, 90, 90, 7, 3, 1]), 0.75, 0)
    draws, size = 400_000, distribution.alias.size
    x, y = np.random.default_rng(3).integers(0, 2**32, (2, draws), np.uint64)
    column = (x * np.uint64(size) >> np.uint64(32)).astype(np.int64)
    entry = distribution.packed()[column]
    word = np.where(y < entry & np.uint64(2**32 - 1), column, (entry >> np.uint64(32)).astype(np.int64))
    expected = distribution.probability * draws
    chi_square = ((np.bincount(word, minlength=size) - expected) ** 2 / expected).sum()
    assert chi_square < 20.5  # 5 degrees of freedom: p = 0.001


def test_weights_are_exact_and_positive():
    distribution = unigram.build(np.array([10**9, 10**9, 1]), 2, 0)
    assert distribution.weights().tolist() == [2**47, 2**47, 1]


# Subsampling.


def test_keep_threshold_is_the_formula_of_word2vec():
    counts = np.array([9000, 900, 90, 9, 1])
    keep = unigram.keep_thresholds(counts, 1e-3)
    for count, threshold in zip(counts.tolist(), keep.tolist()):
        p = (math.sqrt(count / 10.0) + 1) * 10.0 / count
        assert threshold == min(math.floor(p * 2**32), 2**32 - 1)
    assert keep[-1] == keep[-2] == 2**32 - 1
    assert keep[0] == 147_937_762


def test_subsample_zero_keeps_all():
    assert (unigram.keep_thresholds(np.array([10**12, 1]), 0) == 2**32 - 1).all()


# The artefact.


def test_table_is_read_back_bit_for_bit():
    distribution = unigram.build(np.array([500, 90, 90, 7, 3, 1]), 0.75, 1e-3)
    table = distribution.to_table()
    assert not any(field.nullable for field in table.schema)
    halves = pa.concat_tables([table[:2], table[2:]])
    again = unigram.UnigramDistribution.from_table(halves)
    for name in ("probability", "threshold", "alias", "keep"):
        written, read = getattr(distribution, name), getattr(again, name)
        assert written.dtype == read.dtype
        assert written.tobytes() == read.tobytes()


def test_another_table_is_refused():
    with pytest.raises(ArtifactError, match="not a unigram distribution"):
        unigram.UnigramDistribution.from_table(pa.table({"word": ["a"]}))
