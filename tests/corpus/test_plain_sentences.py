"""Sentences of a program: lists of words, or strings."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.corpus.plain_sentences import spans_of_sentence, words_of
from pipeline.errors import InputError

NOT_OF_ARROW = (pa.scalar("a rose"), pa.scalar(None, pa.list_(pa.string())), pa.scalar([1]))


def words(sentence) -> list:
    return [one for spans in spans_of_sentence(sentence, "Asker") for one in spans.sentences()]


@pytest.mark.parametrize("kind", [list, tuple, np.array, iter, pa.scalar])
def test_any_iterable_of_words_is_a_sentence(kind):
    assert words(kind(["New York", "is", "語"])) == [["New York", "is", "語"]]


@pytest.mark.parametrize("nothing", ["", " \n\t", [], [""]])
def test_of_nothing_there_is_no_sentence(nothing):
    assert words(nothing) == []


def test_long_ones_are_cut_as_those_of_files_are():
    assert list(map(len, words(["a"] * 2500))) == list(map(len, words("a " * 2500))) == [1000, 1000, 500]


@pytest.mark.parametrize(
    "wrong", [7, None, [1], ["a", None], [["a"]], b"a rose", ["\udcff"], "\udcff", {"a"}, {"a": 1}, *NOT_OF_ARROW]
)
def test_what_is_no_sentence_is_one_line(wrong):
    with pytest.raises(InputError, match=r"^Asker: '.*' is no sentence: give a list of words, or a string, that UTF-8"):
        words(wrong)


def test_the_keys_of_a_dict_have_an_order():
    assert words_of(dict.fromkeys(["b", "a", "b"]).keys()) == ["b", "a"]
