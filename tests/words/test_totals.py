"""Totals in exact arithmetic: counts add up, decay as it is written, rare words survive, and little is cut."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.words.merging import SCHEMA as COUNTS
from pipeline.words.totals import SCHEMA, Totals, decayed


def counts(**words):
    return pa.table({"word": list(words), "count": list(words.values())}, schema=COUNTS)


def whole(totals):
    return dict(zip(totals.words.to_pylist(), totals.whole.tolist()))


@given(st.integers(0, 2**62), st.integers(1, 1000), st.integers(1, 2**30))
def test_decay_is_exact(total, p, q):
    factor = Fraction(p, q)
    if factor <= 1:
        assert decayed(np.array([total]), factor).tolist() == [total * factor.numerator // factor.denominator]


def test_counts_of_generations_add_up():
    first = Totals.of([counts(a=3, b=1), counts(c=2)])
    second = Totals.of([counts(b=4, d=1)], first.kept(100, pa.array([], pa.string())))
    assert whole(second) == {"a": 3, "b": 5, "c": 2, "d": 1}
    assert second.counts_of(pa.array(["d", "a", "nowhere", "b"])).tolist() == [1, 0, 0, 4]
    assert second.as_counts().schema == COUNTS


def test_a_word_that_comes_steadily_keeps_its_place_under_decay():
    """Three times in each generation, under nine tenths: it nears 30, where whole counts would stop at 21."""
    kept, floored = None, 0
    for _ in range(100):
        totals = Totals.of([counts(steady=3)], kept, 0.9)
        kept, floored = totals.kept(10, pa.array(["steady"])), int(floored * 0.9) + 3
    assert whole(totals) == {"steady": 29}
    assert floored < 25


def test_the_decay_is_the_number_that_was_written():
    kept = Totals.of([counts(word=1000)]).kept(1, pa.array([], pa.string()))
    assert Totals.of([counts()], kept, 0.7).scaled.tolist() == [1000 * 65536 * 7 // 10]


def test_a_word_that_has_decayed_to_nothing_is_gone():
    kept = Totals.of([counts(once=1, often=9)]).kept(9, pa.array([], pa.string()))
    for _ in range(20):
        kept = Totals.of([counts(often=9)], kept, 0.5).kept(9, pa.array([], pa.string()))
    assert kept["word"].to_pylist() == ["often"]


def test_what_is_kept_are_the_vocabulary_and_the_most_frequent():
    totals = Totals.of([counts(rare=1, a=5, b=4, c=4, listed=1)])
    kept = totals.kept(3, pa.array(["listed"]))
    assert kept.schema == SCHEMA
    assert kept["word"].to_pylist() == ["a", "b", "listed"]
    assert totals.kept(0, pa.array(["listed", "rare"]))["word"].to_pylist() == ["listed", "rare"]
    assert len(totals.kept(5, pa.array(["listed"]))) == 5


def test_more_words_than_totals_hold_are_refused():
    with pytest.raises(InputError, match="totals can hold"):
        Totals.of([counts(a=2**47)])
