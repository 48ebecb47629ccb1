"""What is replayed, and where it stands, against the definition in exact fractions, sentence by sentence."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.replay import STAGE, Replay, ReplayRef, candidates, shares, stored_replay
from pipeline.batches.rows import TokenPiece
from pipeline.corpus.spans import as_array
from pipeline.corpus.tokenizers.whitespace import WhitespaceTokenizer
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from pipeline.words.merging import SCHEMA as COUNTS
from pipeline.words.phrase_joining import Joiner
from pipeline.words.reservoir import Collector, empty_reservoir, keys_of
from pipeline.words.vocabulary import Vocabulary
from tests.helpers.keys import KEY

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=25)


def offsets(lengths):
    return np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))]).astype(np.int64)


def chosen(lengths, text, share, epochs):
    """The candidates of each epoch."""
    starts, total = offsets(lengths)[:-1].tolist(), sum(lengths)
    w = min(Fraction(repr(share)) * text, Fraction(total, epochs))
    return [[j for j, r in enumerate(starts) if e * w <= r < (e + 1) * w] for e in range(epochs)]


@given(LENGTHS, st.integers(1, 200), st.sampled_from([0.0, 0.1, 0.5, 0.7, 1.0, 2.5]), st.integers(1, 6))
def test_each_epoch_replays_others_and_none_comes_twice(lengths, text, share, epochs):
    bounds = shares(offsets(lengths), text, share, epochs).tolist()
    wanted = chosen(lengths, text, share, epochs)
    assert [list(range(a, b)) for a, b in zip(bounds[:-1], bounds[1:])] == wanted


def text_of_epoch(new, old, epoch_rows):
    """The definition: (which, number) of each sentence, in order."""
    r = offsets(old)
    n, total = offsets(new), sum(new)
    if not epoch_rows:
        return [("new", i) for i in range(len(new))]
    first, replayed = r[epoch_rows[0]], sum(old[j] for j in epoch_rows)
    order, rest = [], list(epoch_rows)
    for i in range(len(new)):
        while rest and int(n[i]) * replayed >= int(r[rest[0]] - first) * total:
            order.append(("old", rest.pop(0)))
        order.append(("new", i))
    return order + [("old", j) for j in rest]


@given(LENGTHS, LENGTHS, st.integers(1, 3), st.lists(st.integers(0, 25), max_size=4), st.sampled_from([0.5, 1.0, 3.0]))
def test_replayed_sentences_stand_evenly_however_the_text_is_cut(new, old, epochs, cuts, share):
    text, n, o = sum(new), offsets(new), offsets(old)
    bounds = shares(o, text, share, epochs)
    tokens = np.repeat(1000 + np.arange(len(old)), old).astype(np.int32)
    replay = Replay(tokens[: o[bounds[-1]]], o[: bounds[-1] + 1], bounds, text)
    new_tokens = np.repeat(np.arange(len(new)), new).astype(np.int32)
    edges = sorted({0, len(new), *(cut for cut in cuts if cut < len(new))})
    for epoch in range(epochs):
        rows = list(range(bounds[epoch], bounds[epoch + 1]))
        wanted = text_of_epoch(new, old, rows)
        made, position = [], 0
        for a, b in zip(edges[:-1], edges[1:]):
            piece = TokenPiece(new_tokens[n[a] : n[b]], n[a : b + 1] - n[a], int(n[a]))
            joined = replay.joined(piece, epoch)
            assert joined.position == position
            assert replay.positions(int(n[a]), int(n[b]), epoch) == (position, position + int(joined.sentences[-1]))
            begins, ends = joined.sentences[:-1], joined.sentences[1:]
            for begin, end in zip(begins, ends):
                (word,) = set(joined.tokens[begin:end].tolist())
                which = ("old", word - 1000) if word >= 1000 else ("new", word)
                assert end - begin == (old[which[1]] if which[0] == "old" else new[which[1]])
                made.append(which)
            position += int(joined.sentences[-1])
        assert made == wanted


def test_places_are_exact_for_long_texts():
    """A position times what is replayed is beyond 64 bits."""
    text, replayed = 2**47 + 12_345, 2**30
    replay = Replay(np.empty(0, np.int32), np.array([0, replayed // 3, replayed]), np.array([0, 2]), text)
    place = -(-(replayed // 3) * text // replayed)
    assert replay._places(np.array([0, 1]), 0).tolist() == [0, place]
    assert replay._rows(0, place - 1, 0) == (0, 1)
    assert replay._rows(place - 1, place, 0) == (1, 2)
    assert replay._rows(place, text, 0) == (2, 2)


def collected(text):
    collector = Collector(10**6)
    for spans in WhitespaceTokenizer().split(as_array(text)):
        collector.add(spans, keys_of(spans))
    return collector.reservoir()


def vocabulary(*words):
    return Vocabulary.from_table(pa.table({"word": list(words), "count": [9] * len(words)}, schema=COUNTS))


def as_words(found, words):
    tokens, offset = found
    return [[words[token] for token in tokens[a:b]] for a, b in zip(offset[:-1], offset[1:])]


def test_candidates_are_the_sentences_with_known_words_in_an_order_of_their_own():
    reservoir = collected(b"\n".join(b"w%d x w%d" % (i, i + 1) for i in range(200)) + b"\nx y\n")
    words = [f"w{i}" for i in range(1, 200)]
    known = {tuple(word for word in sentence if word in words) for sentence in reservoir.sentences()} - {()}
    orders = [as_words(candidates(reservoir, vocabulary(*words), (), seed), words) for seed in (1, 2)]
    assert orders[0] != orders[1]
    for order in orders:
        assert {tuple(sentence) for sentence in order} == known
        assert len(order) == len(known)


def test_phrases_of_the_parent_are_joined(monkeypatch):
    monkeypatch.setattr("pipeline.batches.replay._JOINED", 7)
    lines = [f"in new york city {i}" for i in range(30)]
    joiner = Joiner(pa.table({"first": ["new"], "second": ["york"], "count": [9], "score": [9.0]}))
    words = ["new_york", "city", "new", *map(str, range(30))]
    made = as_words(candidates(collected("\n".join(lines).encode()), vocabulary(*words), [joiner], 1), words)
    assert sorted(made) == sorted(["new_york", "city", str(i)] for i in range(30))
    assert as_words(candidates(empty_reservoir(), vocabulary(*words), [joiner], 1), words) == []


@pytest.mark.parametrize("old", [b"", b"a b\nb a\na a a\n"])
def test_stored_and_read_again(old):
    records = Records(open_storage("memory://replay"))
    for info in records.storage.list():
        records.storage.delete(info.path)
    commits = Commits(records, STAGE, KEY)
    ref = stored_replay(commits, 3, 1.0, 2, lambda: candidates(collected(old), vocabulary("a", "b"), (), 1))
    record = commits.load(STAGE)
    assert ReplayRef.of(record) == ref
    replay = ref.open(records)
    assert len(ref.positions) == 2
    assert ref.longest == 3 + max(ref.positions)
    assert sum(ref.positions) == len(replay.tokens) == (0 if not old else 7)
