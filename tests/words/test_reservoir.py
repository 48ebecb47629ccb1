"""The reservoir against its definition, and its law: merged in any order, in any parts, it is the same."""

from __future__ import annotations

import dataclasses
import hashlib
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus.spans import as_array
from pipeline.corpus.tokenizers.whitespace import WhitespaceTokenizer
from pipeline.errors import ArtifactError
from pipeline.runtime.messages import take_warnings
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from pipeline.words import reservoir
from pipeline.words.reservoir import (
    AGAIN,
    ALL_KEYS,
    STAGE,
    Collector,
    Reservoir,
    empty_reservoir,
    group_of,
    key_limit,
    keys_of,
    larger_limit,
    merge,
    stored_group,
    stored_part,
    stored_reservoir,
)
from tests.helpers.keys import KEY

LINES = st.lists(
    st.lists(st.sampled_from(["a", "bb", "rose", "is", "ünd", "x" * 20]), min_size=1, max_size=4).map(" ".join),
    max_size=40,
)


def of(lines, words=10**9, limit=ALL_KEYS):
    collector = Collector(words, limit)
    for spans in WhitespaceTokenizer().split(as_array("\n".join(lines).encode())):
        collector.add(spans, keys_of(spans))
    return collector.reservoir()


def key(line):
    words = [word.encode() for word in line.split()]
    text = b"".join(len(word).to_bytes(4, "little") + word for word in words)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def defined(lines, words):
    """By the definition, sentence by sentence."""
    kept, before = [], 0
    for line in sorted({*lines}, key=key):
        if before < words:
            kept.append(line.split())
        before += len(line.split())
    return kept


def is_same(a, b):
    return (
        a.words.equals(b.words)
        and np.array_equal(a.keys, b.keys)
        and np.array_equal(a.tokens, b.tokens)
        and np.array_equal(a.offset, b.offset)
    )


@given(LINES, st.integers(0, 60))
def test_a_sentence_is_in_while_the_words_before_it_are_fewer(lines, words):
    made = of(lines, words)
    assert made.sentences() == defined(lines, words)
    assert made.keys.tolist() == [key(" ".join(sentence)) for sentence in made.sentences()]


@given(LINES, LINES, LINES, st.integers(0, 60), st.permutations(range(3)))
def test_merged_in_any_order_and_in_any_parts_it_is_the_same(a, b, c, words, order):
    parts = [a, b, c]
    whole = of(a + b + c, words)
    one, two, three = (of(parts[i], words) for i in order)
    assert is_same(merge([one, two, three], words), whole)
    assert is_same(merge([merge([one, two], words), three], words), whole)
    assert is_same(merge([whole, one], words), whole)


def test_much_text_is_merged_a_part_at_a_time():
    lines = [f"word{i % 97} {i}" for i in range(3000)]
    parts = [of(lines[i : i + 100], 200) for i in range(0, 3000, 100)]
    assert is_same(merge(parts, 200), of(lines, 200))


def test_sentences_that_share_a_key_are_ordered_by_their_bytes(monkeypatch):
    monkeypatch.setattr(reservoir, "keys_of", None)
    spans = next(WhitespaceTokenizer().split(as_array(b"b\na a\nb\na\nc\na a")))
    collector = Collector(100)
    collector.add(spans, np.array([5, 5, 5, 5, 3, 5], np.uint64))
    made = collector.reservoir()
    assert made.sentences() == [["c"], ["a"], ["a", "a"], ["b"]]


@given(st.lists(LINES, max_size=4), st.integers(1, 60))
def test_a_large_unit_is_shortened_as_it_comes_and_stays_the_same(units, words):
    whole = of([line for lines in units for line in lines], words)
    collector = Collector(words)
    with mock.patch.object(reservoir, "LARGE", 100):
        collector._enough = 100
        for lines in units:
            for spans in WhitespaceTokenizer().split(as_array("\n".join(lines).encode())):
                collector.add(spans, keys_of(spans))
    assert is_same(collector.reservoir(), whole)


def test_what_a_unit_says_again_and_again_is_held_once(monkeypatch):
    monkeypatch.setattr(reservoir, "LARGE", 1 << 20)
    collector = Collector(10**9)
    spans = next(WhitespaceTokenizer().split(as_array(b"a rose is a rose\n" * 20_000)))
    for _ in range(100):
        collector.add(spans, keys_of(spans))
    assert collector._held < 2 << 20
    assert collector.reservoir().sentences() == [["a", "rose", "is", "a", "rose"]]


def test_with_a_limit_it_is_whole_below_it():
    lines = [f"{i} {i + 1}" for i in range(2000)]
    everything, limit = of(lines), ALL_KEYS // 5
    few = of(lines, 10**9, limit)
    assert 200 < len(few) < 600
    assert few.sentences() == [s for s, k in zip(everything.sentences(), everything.keys.tolist()) if k < limit]
    merged = merge([few, of(["new words", *lines])], 10**9)
    assert merged.limit == limit
    assert max(merged.keys.tolist()) < limit


def test_units_hand_on_a_few_times_what_is_wanted():
    assert key_limit(20, 80) == ALL_KEYS
    assert key_limit(20, 160) == ALL_KEYS // 2
    assert key_limit(20, 0) == ALL_KEYS
    lines = [f"{i} {i + 1}" for i in range(20_000)]
    assert is_same_but_limit(of(lines, 500, key_limit(500, 40_000)), of(lines, 500))


def is_same_but_limit(a, b):
    return is_same(Reservoir(a.words, a.keys, a.tokens, a.offset), b)


def test_sentences_kept_back_are_left_out():
    spans = next(WhitespaceTokenizer().split(as_array(b"a b\nc d\ne f")))
    collector = Collector(100)
    collector.add(spans, keys_of(spans), np.array([False, True, False]))
    assert sorted(collector.reservoir().sentences()) == [["a", "b"], ["e", "f"]]


@pytest.fixture
def commits():
    records = Records(open_storage("memory://reservoir"))
    for info in records.storage.list():
        records.storage.delete(info.path)
    return Commits(records, STAGE, KEY)


def test_stored_with_a_parent_and_read_again(commits):
    parts = [stored_part(commits, f"unit-{i:09d}", lambda i=i: of([f"text {i}", "same"], 100)) for i in range(3)]
    assert stored_group(commits, 0, parts, 100) == parts  # it is the only group
    assert stored_group(commits, group_of(64), parts[:1], 100) == parts[:1]
    groups = [*stored_group(commits, group_of(64), parts[:2], 100), parts[2]]
    assert len(groups) == 2
    parent = of(["old words"], 100)
    ref = stored_reservoir(commits, groups, 100, lambda: parent)
    wanted = of(["text 0", "text 1", "text 2", "same", "old words"], 100)
    assert is_same(ref.open(commits.records), wanted)
    assert [record.name for record in commits.all()] == [STAGE]
    paths = [info.path for info in commits.records.storage.list(commits.path(""))]
    assert paths == [commits.path("sentences.parquet"), commits.path("words.parquet")]
    assert stored_reservoir(commits, (), 100) == ref


def test_sentences_of_others_that_name_no_word_are_refused(commits):
    ref = stored_part(commits, STAGE, lambda: of(["a b", "c"], 100))
    fewer = stored_part(commits, "unit-000000000", lambda: of(["a"], 100))
    with pytest.raises(ArtifactError, match="has words that"):
        dataclasses.replace(ref, words=fewer.words).open(commits.records)
    with pytest.raises(ArtifactError, match=r"sentences.parquet is not a table of word"):
        dataclasses.replace(ref, words=ref.sentences).open(commits.records)


def test_one_without_sentences(commits):
    assert len(empty_reservoir()) == len(empty_reservoir().words) == 0
    ref = stored_reservoir(commits, (), 100)
    assert ref.open(commits.records).sentences() == []
    assert empty_reservoir().words.type == pa.string()


REPEATED = [f"{i} {i + 1}" for i in range(300)] * 40


def test_text_that_repeats_itself_is_read_again_with_a_larger_limit(commits):
    few = of(REPEATED, 400, key_limit(400, 24_000))
    limit = stored_reservoir(commits, [stored_part(commits, "unit-000000000", lambda: few)], 400)
    assert limit == ALL_KEYS  # of so few sentences nobody can tell how many are needed
    assert [record.name for record in commits.all()] == ["unit-000000000"]
    parts = [stored_part(commits, f"{AGAIN}unit-00000000{i}", lambda: of(REPEATED, 400, limit)) for i in range(2)]
    take_warnings()
    ref = stored_reservoir(commits, parts, 400, again=True)
    assert is_same(ref.open(commits.records), of(REPEATED[:300], 400))
    assert [record.name for record in commits.all()] == [STAGE]
    assert take_warnings() == []


def test_the_larger_limit_is_ample():
    lines = [f"{i} {i + 1}" for i in range(40_000)]
    few = of(lines, 10_000, ALL_KEYS // 20)
    assert 1000 < len(few) < 3000
    limit = larger_limit(few, 10_000)
    assert ALL_KEYS // 4 < limit < ALL_KEYS
    assert is_same_but_limit(of(lines, 10_000, limit), of(lines, 10_000))
    assert larger_limit(of(lines, 10_000, limit), 10_000) is None
    assert larger_limit(of(lines, 10**6), 10**6) is None


def test_what_another_reading_cannot_give_is_told(commits):
    def parent():
        return of(REPEATED, 400, ALL_KEYS // 100)

    take_warnings()
    ref = stored_reservoir(commits, [], 400, parent, again=True)
    assert f"{len(ref.open(commits.records).tokens)} words are kept for updates, not 400" in "".join(take_warnings())
