"""The batch generator against one written down plainly, and against the laws it has to follow."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from pipeline.batches import rows as batches
from pipeline.batches.rows import generate_rows, piece_bounds, to_numpy
from pipeline.batches.sampling import POLICIES, Sampling
from pipeline.errors import InputError
from pipeline.kernels import philox
from pipeline.kernels.negatives import REDRAWS
from pipeline.options import Options
from pipeline.words import unigram
from tests.helpers.philox_words import philox_words
from tests.helpers.training_rows import tables_of


def words(position, epoch, purpose, draw, seed):
    """The four random words of one counter, as Python integers."""
    counter = (position & 0xFFFFFFFF, position >> 32 | epoch << 16, purpose, draw)
    found = philox_words(*(np.array([c], np.uint32) for c in counter), *philox.key_of(seed))
    return [int(word) for word in found[:, 0]]


def draw(x, y, tables):
    i = x * len(tables.packed) >> 32
    entry = int(tables.packed[i])
    return i if y < entry & 0xFFFFFFFF else entry >> 32


def exact_draw(number, weights, forbidden):
    rest = number * sum(w for i, w in enumerate(weights) if i not in forbidden) >> 64
    for i, weight in enumerate(weights):
        if i not in forbidden:
            if rest < weight:
                return i
            rest -= weight
    raise AssertionError


def plain_rows(tokens, sentences, first_position, tables, sampling, epoch):
    """The definition, position by position."""
    rows = []
    for begin, end in zip(sentences[:-1], sentences[1:]):
        kept = []
        for i in range(begin, end):
            position = first_position + i - sentences[0]
            keep, reach, _, _ = words(position, epoch, philox.KEEP_AND_RADIUS, 0, sampling.seed)
            if keep <= tables.keep[tokens[i]]:
                kept.append((position, int(tokens[i]), (reach * sampling.window >> 32) + 1 if sampling.window else 99))
        for i, (position, target, radius) in enumerate(kept):
            context = [word for _, word, _ in kept[max(0, i - radius) : i] + kept[i + 1 : i + 1 + radius]]
            if context:
                rows.append((position, context, target, plain_negatives(position, target, tables, sampling, epoch)))
    return rows


def plain_negatives(position, target, tables, sampling, epoch):
    found = []
    for k in range(sampling.negatives):
        drawn = words(position, epoch, philox.NEGATIVES, k // 2, sampling.seed)
        word = draw(drawn[2 * (k % 2)], drawn[2 * (k % 2) + 1], tables)
        forbidden = {"any": set(), "exclude_target": {target}, "distinct": {target, *found}}[sampling.policy]
        for i in range(REDRAWS):
            if word not in forbidden:
                break
            x, y, _, _ = words(position, epoch, philox.REDRAW, REDRAWS * k + i, sampling.seed)
            word = draw(x, y, tables)
        if word in forbidden:
            high, low, _, _ = words(position, epoch, philox.EXACT_DRAW, k, sampling.seed)
            word = exact_draw(high << 32 | low, [int(w) for w in tables.weights], forbidden)
        found.append(word)
    return found


def as_list(batch):
    return [(r["position"], r["context"], r["target"], r["negatives"]) for r in batch.to_pylist()]


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=8),
    st.integers(0, 7),  # 0: all
    st.integers(1, 6),
    st.sampled_from(sorted(POLICIES)),
    st.sampled_from([0, 5, 2**32 - 7, 2**32, 2**48 - 200]),
    st.sampled_from([0, 1, 65534]),
    st.sampled_from([0, 1, 2**64 - 1]),
)
def test_rows_are_those_of_the_plain_definition(lengths, window, negatives, policy, first, epoch, seed):
    counts = [4000, 900, 30, 20, 10, 9, 8, 7]
    tables, sampling = tables_of(counts), Sampling(window, negatives, policy, seed)
    rng = np.random.default_rng(sum(lengths))
    sentences = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = rng.integers(0, len(counts), sentences[-1]).astype(np.int32)
    found = generate_rows(tokens, sentences, first, tables, sampling, epoch)
    assert as_list(found) == plain_rows(tokens, sentences, first, tables, sampling, epoch)


def test_draws_that_nearly_always_clash_end_in_the_exact_law():
    """One word has nearly all the probability: 64 redraws are not enough, the exact draw decides."""
    tables, sampling = tables_of([10**9, 3, 2, 1], 0), Sampling(2, 3, "distinct", 5)
    tokens, sentences = np.zeros(60, np.int32), np.arange(0, 61, 3)
    found = generate_rows(tokens, sentences, 0, tables, sampling, 0)
    assert as_list(found) == plain_rows(tokens, sentences, 0, tables, sampling, 0)
    assert all(sorted(row[3]) == [1, 2, 3] for row in as_list(found))


@settings(max_examples=10, deadline=None)
@given(st.integers(18, 50), st.data())
def test_many_distinct_negatives_are_those_of_the_plain_definition(vocabulary, data):
    """Words that are taken are marked, and exact draws go down a tree: the same words as by the definition."""
    counts = np.array(
        data.draw(st.lists(st.sampled_from([0, 1, 2, 900, 10**6]), min_size=vocabulary, max_size=vocabulary))
    )
    counts[data.draw(st.integers(0, vocabulary - 1))] += 1
    tables, there = tables_of(counts, 0), np.flatnonzero(counts)
    for negatives in {len(there) - 1, data.draw(st.integers(1, len(there)))} & set(range(1, len(there))):
        tokens = np.random.default_rng(vocabulary).choice(there, 12).astype(np.int32)
        sampling = Sampling(2, negatives, "distinct", 3)
        found = generate_rows(tokens, np.array([0, 5, 12]), 0, tables, sampling, 0)
        assert as_list(found) == plain_rows(tokens, [0, 5, 12], 0, tables, sampling, 0)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_words_that_do_not_occur_are_never_drawn(policy):
    tables, tokens = tables_of([0, 40, 0, 3, 2, 0, 1], 0), np.tile(np.int32([1, 3, 4, 6]), 3000)
    found = generate_rows(tokens, np.arange(0, 12_001, 4), 0, tables, Sampling(2, 3, policy, 5), 0)
    _, rows = to_numpy(found)
    assert set(rows.negatives.ravel().tolist()) == {1, 3, 4, 6}


@settings(max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.data())
def test_rows_do_not_depend_on_where_the_sentences_are_cut(lengths, data):
    tables, sampling = tables_of([50, 40, 30, 20, 10]), Sampling(5, 5, "exclude_target", 1)
    sentences = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = np.random.default_rng(1).integers(0, 5, sentences[-1]).astype(np.int32)
    whole = as_list(generate_rows(tokens, sentences, 100, tables, sampling, 0))
    cut = data.draw(st.integers(0, len(lengths)))
    parts = []
    for part in (sentences[: cut + 1], sentences[cut:]):
        if len(part) > 1:
            parts += as_list(generate_rows(tokens, part, 100 + int(part[0]), tables, sampling, 0))
    assert parts == whole


def test_pieces_cover_the_sentences_and_stay_small(monkeypatch):
    monkeypatch.setattr(batches, "PIECE_POSITIONS", 10)
    sentences = np.array([0, 4, 8, 12, 40, 41, 42])
    assert piece_bounds(sentences, 5, 5) == [(0, 2), (2, 3), (3, 4), (4, 6)]
    assert piece_bounds(np.arange(0, 9 * 4096, 4096), 5, 1000) == [(i, i + 1) for i in range(8)]  # of 4M negatives


def test_window_all_takes_every_other_word_of_the_sentence():
    tables, sampling = tables_of([5, 4, 3], 0), Sampling(0, 1, "any", 1)
    tokens, sentences = np.array([0, 1, 2, 1, 0, 0, 2], np.int32), np.array([0, 4, 5, 7])
    found = as_list(generate_rows(tokens, sentences, 0, tables, sampling, 0))
    assert [(context, target) for _, context, target, _ in found] == [
        ([1, 2, 1], 0),
        ([0, 2, 1], 1),
        ([0, 1, 1], 2),
        ([0, 1, 2], 1),
        ([2], 0),
        ([0], 2),
    ]
    assert piece_bounds(np.arange(0, 4096 * 9, 4096), 0, 1) == [(i, i + 1) for i in range(0, 8)]


def test_long_sentences_are_one_window_each():
    """Longer than the scratch arrays of the generator."""
    tables, sampling = tables_of([50, 40, 30], 0), Sampling(3, 2, "any", 1)
    tokens = np.random.default_rng(0).integers(0, 3, 5000).astype(np.int32)
    found = generate_rows(tokens, np.array([0, 4990, 5000]), 0, tables, sampling, 0)
    assert found.num_rows == 5000
    tail = [row for row in as_list(found) if row[0] >= 4980]
    assert tail == [row for row in plain_rows(tokens[4970:], [0, 20, 30], 4970, tables, sampling, 0) if row[0] >= 4980]


def chi_square(observed, expected):
    """(statistic, a bound that it passes once in about 10,000 samplings): mean n, variance 2n."""
    kept = expected > 0
    assert not observed[~kept].any()
    statistic = float(((observed - expected)[kept] ** 2 / expected[kept]).sum())
    n = int(kept.sum()) - 1
    return statistic, n + 3.8 * (2 * n) ** 0.5 + 5


def sample(policy, negatives, rows=60_000):
    """Negatives of many rows whose target is word 1, and the distribution they come from."""
    counts = np.array([1000, 700, 400, 200, 100, 60, 30, 10])
    tables = tables_of(counts, 0)
    tokens, sentences = np.ones(rows, np.int32), np.arange(0, rows + 1, 2)
    found = generate_rows(tokens, sentences, 0, tables, Sampling(1, negatives, policy, 3), 0)
    return to_numpy(found)[1].negatives, unigram.powered_distribution(counts)


@pytest.mark.parametrize("policy", ["any", "exclude_target"])
def test_law_of_independent_negatives(policy):
    drawn, p = sample(policy, 3)
    if policy == "exclude_target":
        p = np.where(np.arange(len(p)) == 1, 0, p)
    for k in range(3):
        statistic, bound = chi_square(np.bincount(drawn[:, k], minlength=len(p)), len(drawn) * p / p.sum())
        assert statistic < bound


def test_law_of_distinct_negatives_is_that_of_numpy_without_replacement():
    drawn, p = sample("distinct", 3)
    p = np.where(np.arange(len(p)) == 1, 0, p)
    p /= p.sum()
    code = np.array([64, 8, 1])
    observed = np.bincount(drawn @ code, minlength=512)
    expected = np.zeros(512)  # successive sampling: p_i p_j / (1 - p_i) p_k / (1 - p_i - p_j)
    for i in range(8):
        for j in range(8):
            for k in range(8):
                if len({i, j, k}) == 3:
                    expected[i * 64 + j * 8 + k] = p[i] * p[j] / (1 - p[i]) * p[k] / (1 - p[i] - p[j])
    statistic, bound = chi_square(observed, len(drawn) * expected)
    assert statistic < bound
    rng = np.random.default_rng(0)
    theirs = np.array([rng.choice(8, 3, replace=False, p=p) for _ in range(5000)])
    statistic, bound = chi_square(np.bincount(theirs @ code, minlength=512), 5000 * expected)
    assert statistic < bound


def test_subsampling_keeps_what_the_formula_says():
    counts = np.array([90_000, 9_000, 1_000])
    tables = tables_of(counts, 1e-2)
    tokens = np.repeat(np.arange(3, dtype=np.int32), 40_000)
    sentences = np.arange(0, len(tokens) + 1, 40)
    found = to_numpy(generate_rows(tokens, sentences, 0, tables, Sampling(1, 1, "any", 1), 0))[1]
    share = counts / counts.sum()
    keep = np.minimum(1, (np.sqrt(share / 1e-2) + 1) * 1e-2 / share)
    observed = np.bincount(found.target, minlength=3) / 40_000
    assert np.all(np.abs(observed - keep) < 5 * np.sqrt(keep * (1 - keep) / 40_000) + 1e-3)


def test_window_radius_is_uniform():
    tables = tables_of([5, 5], 0)
    tokens, sentences = np.zeros(90_000, np.int32), np.array([0, 90_000])
    found = to_numpy(generate_rows(tokens, sentences, 0, tables, Sampling(5, 1, "any", 1), 0))[1]
    radius = np.diff(found.offset)[10:-10] // 2
    statistic, bound = chi_square(np.bincount(radius, minlength=6)[1:], np.full(5, len(radius) / 5))
    assert statistic < bound


@pytest.mark.parametrize(("policy", "enough"), [("any", 1), ("exclude_target", 2), ("distinct", 6)])
def test_vocabulary_too_small_for_the_policy(policy, enough):
    sampling = Sampling(5, 5, policy, 1)
    sampling.check(enough)
    with pytest.raises(InputError, match=f"--negative_policy={policy} .* at least {enough} words"):
        sampling.check(enough - 1)


def test_more_contexts_than_offsets_can_count_are_refused():
    tokens, sampling = np.zeros(2_300_000, np.int32), Sampling.of(Options.checked({"window": 1000}))
    with pytest.raises(InputError, match="2,300,000 words with --window=1000 may have 4,600,000,000 contexts"):
        generate_rows(tokens, np.array([0, len(tokens)]), 0, tables_of([5, 5, 5]), sampling, 0)
