"""Sentences as places in a buffer."""

from __future__ import annotations

import itertools

import numba
import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus.readers.values import list_spans
from pipeline.corpus.spans import as_array, split_long
from pipeline.corpus.tokenizers.functions import FunctionTokenizer
from pipeline.corpus.tokenizers.stopwords import StopwordsTokenizer
from pipeline.corpus.tokenizers.unicode_words import UnicodeTokenizer
from pipeline.corpus.tokenizers.whitespace import WhitespaceTokenizer
from pipeline.words.phrase_joining import Joiner


@given(st.lists(st.integers(0, 30)), st.integers(1, 9))
def test_split_long_never_drops(lengths, max_sentence):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    expected = [0]
    for start, stop in itertools.pairwise(offsets.tolist()):
        expected += [*range(start + max_sentence, stop, max_sentence), *([stop] if stop > start else [])]
    if all(lengths):
        assert split_long(offsets, max_sentence).tolist() == expected


def test_kernels_are_compiled_once_for_spans_from_everywhere():
    """Another type of array, one that is read-only say, costs seconds in every new version of the kernels."""
    text = as_array(b"one two three\nfour two one\n")
    whitespace = WhitespaceTokenizer()
    phrases = pa.table({"first": ["one"], "second": ["two"]})
    spans = {
        "whitespace": whitespace.split(text),
        "unicode_words": UnicodeTokenizer(name="unicode_words").split(text),
        "a user's function": FunctionTokenizer(name="builtins:list").split(text),
        "without stop words": StopwordsTokenizer(words=("two",)).split(text),
        "joined": map(Joiner(phrases).join, whitespace.split(text)),
        "items": list_spans([["one", "two"], ["three"]], "strings", 1000),
        "items, some empty": list_spans([["one", ""], ["three"]], "strings", 1000),
        "integers": list_spans([[1, 2], [3]], "integers", 1000),
        "cut": list_spans([[1, 2], [3]], "integers", 1),
    }
    types = {name: numba.typeof(next(iter(made))) for name, made in spans.items()}
    assert types == dict.fromkeys(types, types["whitespace"])
