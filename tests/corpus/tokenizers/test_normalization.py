"""Forms of text: lower case, and Unicode's normal forms."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.corpus.spans import as_array
from pipeline.corpus.tokenizers.normalization import lower, normalize
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from tests.helpers.tokenizing import flat, words


@given(st.text())
@example("ΟΔΥΣΣΕΥΣ\nΣ ΑΣ ΣΑ\nİstanbul ẞ Ⱥ K\n")
@example("a" * 70 + "Σ" + "B" * 70)
def test_lower_is_pythons(text):
    data = text.encode("utf-8", "ignore")
    assert bytes(lower(as_array(data))).decode() == data.decode().lower()


def test_lower_of_every_character():
    text = "\n".join(chr(p) for p in range(0x110000) if not 0xD800 <= p < 0xE000)
    assert bytes(lower(as_array(text.encode()))).decode() == text.lower()


def test_lower_keeps_lines():
    tokenizer = open_tokenizer("whitespace", lowercase=True)
    assert tokenizer.sentences("ΣΑΣ İ\nÀB C\n".encode()) == [["σας", "i̇"], ["àb", "c"]]


@pytest.mark.parametrize("name", ["whitespace", "unicode_words", "characters"])
@pytest.mark.parametrize("form", ["nfc", "nfkc"])
def test_normal_forms(name, form):
    plain = words(name, "café ﬁn Ｗｏｒｄ\nn", normal_form=form, lowercase=True)
    split_up = words(name, "cafe\u0301 ﬁn Ｗｏｒｄ\nN", normal_form=form, lowercase=True)
    assert plain == split_up
    assert ("word" in "".join(flat(plain))) == (form == "nfkc")
    assert plain[-1] == ["n"]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(deadline=None)
def test_a_normal_form_keeps_the_lines(text):
    for form in ("nfc", "nfkc"):
        found = bytes(normalize(as_array(text.encode()), form)).decode()
        assert found.split("\n") == [unicodedata.normalize(form.upper(), line) for line in text.split("\n")]
