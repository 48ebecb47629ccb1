"""Keys of sentences against Python's BLAKE2b, and copies of chosen sentences."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus.spans import Spans, as_array
from pipeline.kernels import philox
from pipeline.kernels.sentences import draw_order, number_words, repeats, sentence_keys, take_sentences
from tests.helpers.philox_words import philox_words

WORDS = st.binary(min_size=1, max_size=300)
SENTENCES = st.lists(st.lists(WORDS, min_size=1, max_size=30), max_size=6)


def spans_of(sentences, before=b"", behind=b""):
    words = [word for sentence in sentences for word in sentence]
    ends = len(before) + np.cumsum([0, *map(len, words)]).astype(np.int64)
    offset = np.cumsum([0, *map(len, sentences)]).astype(np.int64)
    return Spans(as_array(before + b"".join(words) + behind), ends[:-1].copy(), ends[1:].copy(), offset)


def keys_of(spans):
    keys = np.empty(len(spans.sentence) - 1, np.uint64)
    sentence_keys(spans, keys)
    return keys.tolist()


def key(sentence):
    text = b"".join(len(word).to_bytes(4, "little") + word for word in sentence)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


@given(SENTENCES, st.binary(max_size=9))
def test_keys_are_blake2b_of_lengths_and_words(sentences, behind):
    assert keys_of(spans_of(sentences, b"xx", behind)) == list(map(key, sentences))


def test_keys_where_a_block_ends():
    for length in range(100, 300):  # 4 bytes of length before the word: blocks end at 124, 252
        for tail in ([], [b"a"], [b"12345678"]):
            sentence = [b"w" * length, *tail]
            assert keys_of(spans_of([sentence])) == [key(sentence)]
    many = [[b"ab"] * count for count in range(1, 90)]
    assert keys_of(spans_of(many)) == list(map(key, many))


def test_where_words_are_cut_counts():
    assert len(set(keys_of(spans_of([[b"ab", b"c"], [b"a", b"bc"], [b"abc"]])))) == 3


def test_chosen_sentences_are_copied_in_order():
    tokens, offset = np.arange(6, dtype=np.int32), np.array([0, 2, 2, 5, 6])
    rows = np.array([3, 0, 1, 0])
    out, out_offset = np.empty(5, np.int32), np.empty(5, np.int64)
    take_sentences(tokens, offset, rows, out, out_offset)
    assert out.tolist() == [5, 0, 1, 0, 1]
    assert out_offset.tolist() == [0, 1, 3, 3, 5]


def test_repeats_are_told_from_sentences_that_share_a_key():
    tokens, offset = np.array([1, 2, 1, 2, 1, 3, 1, 2, 1], np.int32), np.array([0, 2, 4, 6, 8, 9])
    order, keys = np.array([0, 1, 2, 3, 4]), np.array([5, 5, 5, 7, 7], np.uint64)
    marks = np.empty(5, np.uint8)
    repeats(tokens, offset, order, keys, marks)
    assert marks.tolist() == [0, 1, 2, 0, 2]


def test_words_are_numbered_as_they_come():
    tokens, numbers, first = np.array([7, 3, 7, 0], np.int32), np.full(8, -1, np.int32), np.empty(8, np.int32)
    assert number_words(tokens, numbers, first) == 3
    assert tokens.tolist() == [0, 1, 0, 2]
    assert first[:3].tolist() == [7, 3, 0]


def test_draws_for_an_order_are_those_of_philox():
    keys = np.array([0, 1, 2**32, 2**64 - 1], np.uint64)
    drawn, seed = np.empty(4, np.uint64), 2**40 + 3
    draw_order(keys, drawn, *philox.key_of(seed))
    low, high = (keys & np.uint64(2**32 - 1)).astype(np.uint32), (keys >> np.uint64(32)).astype(np.uint32)
    zero = np.zeros(4, np.uint32)
    words = philox_words(low, high, zero + np.uint32(philox.REPLAY), zero, *philox.key_of(seed))
    assert drawn.tolist() == [int(a) | int(b) << 32 for a, b in zip(words[0], words[1])]
