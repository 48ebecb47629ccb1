"""Sentences as places in a buffer."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus.spans import split_long


@given(st.lists(st.integers(0, 30)), st.integers(1, 9))
def test_split_long_never_drops(lengths, max_sentence):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    expected = [0]
    for start, stop in itertools.pairwise(offsets.tolist()):
        expected += [*range(start + max_sentence, stop, max_sentence), *([stop] if stop > start else [])]
    if all(lengths):
        assert split_long(offsets, max_sentence).tolist() == expected
