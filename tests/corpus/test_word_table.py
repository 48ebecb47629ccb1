"""The table of words."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from pipeline.corpus.word_table import WordTable, string_array, string_buffers, word_hashes


def test_a_crowded_table_finds_every_word():
    table = WordTable()
    names = [f"{i:05d}" for i in range(3000)] + ["x" * 30 + f"{i:05d}" + "y" * 30 for i in range(3000)]
    table.add(pa.array(names), np.arange(6000))
    table.add(pa.array(names[::-1]), np.arange(6000)[::-1])
    assert table.words().to_pylist() == names
    assert table.values().tolist() == (2 * np.arange(6000)).tolist()


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("abc", "abd"),
        ("abc", "abc\0"),
        ("a" * 9, "a" * 12),
        ("12345678x", "12345678y"),
        ("a" * 8 + "b" + "a" * 8, "a" * 17),
        ("a" * 30 + "b" + "a" * 9, "a" * 40),
    ],
)
def test_words_with_one_hash_are_told_apart(word, other):
    table = WordTable()
    table.add(pa.array([word]), np.array([1]))
    # Plant the word where the other one's hash leads, as if the hashes were equal.
    h = int(word_hashes(pa.array([other]))[0])
    slots = table._table.slots
    slots[:] = 0
    slots[h & (len(slots) - 1)] = h >> 32 << 32 | 1
    table.add(pa.array([other]), np.array([5]))
    assert table.words().to_pylist() == [word, other]
    assert table.values().tolist() == [1, 5]


def test_strings_of_more_than_one_chunk(monkeypatch):
    monkeypatch.setattr("pipeline.corpus.word_table._LARGEST_ARRAY", 10)
    array = string_array(np.frombuffer(b"aabbccddeeffgg", np.uint8), np.array([0, 2, 4, 6, 8, 14]))
    assert array.num_chunks > 1
    assert array.to_pylist() == ["aa", "bb", "cc", "dd", "eeffgg"]
    sliced = pa.array(["x", "yy", "zzz", ""])[1:3]
    buffer, offset = string_buffers(sliced)
    assert [bytes(buffer[i:j]) for i, j in itertools.pairwise(offset)] == [b"yy", b"zzz"]
