"""The vocabulary."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ArtifactError, InputError
from pipeline.words import merging
from pipeline.words.merging import prune
from pipeline.words.vocabulary import Vocabulary, build_vocabulary


def test_vocabulary_bytes_and_lookup():
    vocabulary = Vocabulary(pa.array(["b", "a", "한국"]), np.array([3, 2, 2]))
    vocabulary.lookup_table()
    again = Vocabulary.from_parquet(vocabulary.to_parquet())
    assert again.words.equals(vocabulary.words)
    assert again.counts.tolist() == [3, 2, 2]
    assert again.tokens == 7
    assert pickle.loads(pickle.dumps(again)).words.equals(again.words)
    with pytest.raises(ArtifactError, match="1 words twice"):
        Vocabulary(pa.array(["b", "b"]), np.array([1, 1])).lookup_table()


def test_vocabulary_without_words_says_why():
    table = pa.table([pa.array(["a", "b"]), pa.array([312, 4])], schema=merging.SCHEMA)
    message = "--min_count=500 leaves no word: the most frequent of 4 words occurs 313 times. Lower --min_count"
    other = pa.table([pa.array(["c", "d"]), pa.array([313, 4])], schema=merging.SCHEMA)
    with pytest.raises(InputError, match=message) as error:
        build_vocabulary([prune(table, 500), other], 500, first_sentence=["a", "b"])
    assert '(the first line became ["a", "b"])' in str(error.value)
    with pytest.raises(InputError, match="--input holds no words"):
        build_vocabulary([], 5)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=60), st.integers(1, 70))
def test_max_vocabulary_keeps_the_first_of_the_order(counts, most):
    draw = random.Random(len(counts))
    names = draw.sample([f"{a}{b}" for a in "aäz~" for b in range(30)], len(counts))
    table = pa.table([pa.array(names), pa.array(counts)], schema=merging.SCHEMA)
    found = build_vocabulary([table], 1, most)["word"].to_pylist()
    assert found == [name for _, name in sorted(zip(counts, names), key=lambda x: (-x[0], x[1].encode()))][:most]
