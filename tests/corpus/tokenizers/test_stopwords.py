"""Stop words."""

from __future__ import annotations

import pickle

import pytest

from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.corpus.tokenizers.stopwords import without_stopwords
from pipeline.corpus.tokenizers.tokenizer import Tokenizer
from pipeline.corpus.tokenizers.unicode_words import UnicodeTokenizer
from pipeline.errors import InputError
from pipeline.runtime.messages import take_warnings
from tests.helpers.tokenizing import words


def test_stop_words(tmp_path):
    (tmp_path / "stop").write_text("\ufeffthe\nOF\n\nCafe\u0301\nthe\n a \n", encoding="utf-8")
    options = {"stopwords": str(tmp_path / "stop"), "lowercase": True, "normal_form": "nfc"}
    text = "The end of the café\nof the a\nTHEN a long enough word, the\n"
    expected = [["end"], ["then", "long", "enough", "word,"]]
    assert words("whitespace", text, **options) == expected
    tokenizer = pickle.loads(pickle.dumps(open_tokenizer("whitespace", **options)))
    assert tokenizer.sentences(text.encode()) == expected
    first = open_tokenizer("whitespace", True, normal_form="nfc", stopwords=options["stopwords"]).identity()
    (tmp_path / "stop").write_text("other")
    assert (
        open_tokenizer("whitespace", True, normal_form="nfc", stopwords=options["stopwords"]).identity()["stopwords"]
        != first["stopwords"]
    )
    for content, message in ((b"\n \n", "has no word"), (b"\xff", "is not UTF-8 text at byte 0")):
        (tmp_path / "stop").write_bytes(content)
        with pytest.raises(InputError, match=f"--stopwords=.*stop {message}"):
            open_tokenizer("whitespace", **options)
    with pytest.raises(InputError, match=r"--stopwords=.*none cannot be read"):
        open_tokenizer("whitespace", stopwords=str(tmp_path / "none"))


def test_a_tokenizer_with_stop_words_answers_as_the_one_without(tmp_path):
    """Its identity once had the rules of another tokeniser, so a change of its own went unnoticed."""
    (tmp_path / "stop").write_text("a\n")
    names = {name for name, value in vars(Tokenizer).items() if isinstance(value, property)}
    odd = type("Odd", (UnicodeTokenizer,), dict.fromkeys(names, "answer"))(name="characters")
    outer = without_stopwords(odd, str(tmp_path / "stop"))
    assert {getattr(outer, name) for name in names} == {"answer"}
    characters = open_tokenizer("characters")
    with_words = open_tokenizer("characters", stopwords=str(tmp_path / "stop"))
    assert with_words.identity() == {**characters.identity(), "stopwords": with_words.digest}


def test_stop_words_in_one_line_of_commas_are_refused(tmp_path):
    """The line was one word, which occurs nowhere."""
    (tmp_path / "stop").write_text("the,of,and\n")
    with pytest.raises(InputError, match=r"--stopwords=.*stop has one line, with commas: write one word a line"):
        open_tokenizer("whitespace", stopwords=str(tmp_path / "stop"))


def test_stop_words_in_lines_of_commas_are_refused(tmp_path):
    (tmp_path / "stop").write_text("the,of,and\na,an,to\n")
    with pytest.raises(InputError, match=r"--stopwords=.*stop has commas in every line: write one word a line"):
        open_tokenizer("whitespace", stopwords=str(tmp_path / "stop"))


@pytest.mark.parametrize("name", ["whitespace", "unicode_words"])
def test_a_mark_before_a_stop_word_is_no_part_of_it(tmp_path, name):
    """It stands where two lists with byte-order marks were joined."""
    (tmp_path / "stop").write_text("\ufeffthe\n\ufeffof\n", encoding="utf-8")
    assert words(name, "the end of it\n", stopwords=str(tmp_path / "stop")) == [["end", "it"]]


@pytest.mark.parametrize("name", ["unicode_words", "characters"])
def test_stop_words_have_no_more_marks_than_the_text_has(tmp_path, name):
    (tmp_path / "stop").write_text("o\u00ad\n\u200eb\u200b\n", encoding="utf-8")
    assert words(name, "o a\u00ad b\n", stopwords=str(tmp_path / "stop")) == [["a"]]


@pytest.mark.parametrize("name", ["whitespace", "unicode_words"])
def test_stop_words_that_the_tokenizer_splits_are_told(tmp_path, name):
    """They would leave nothing out: a comment behind the word, as Snowball's lists have it, or several words."""
    (tmp_path / "stop").write_text("the | an article\nof\n;\n")
    take_warnings()
    assert words(name, "the end of it\n", stopwords=str(tmp_path / "stop")) == [["the", "end", "it"]]
    warned = take_warnings()
    assert len(warned) == 1
    assert warned[0].startswith("1 of 3 stop words are not one word for --tokenizer ('the | an article' becomes the, ")
    (tmp_path / "stop").write_text("the of and a an\n")
    with pytest.raises(InputError, match=r"has no line that is one word for --tokenizer \('the of .* one word a line"):
        open_tokenizer(name, stopwords=str(tmp_path / "stop"))
