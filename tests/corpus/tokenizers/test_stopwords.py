"""Stop words."""

from __future__ import annotations

import pickle

import pytest

from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.errors import InputError
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


def test_stop_words_in_one_line_of_commas_are_refused(tmp_path):
    """The line was one word, which occurs nowhere."""
    (tmp_path / "stop").write_text("the,of,and\n")
    with pytest.raises(InputError, match=r"--stopwords=.*stop has one line, with commas: write one word a line"):
        open_tokenizer("whitespace", stopwords=str(tmp_path / "stop"))
