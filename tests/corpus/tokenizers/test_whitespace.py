"""Words between white space."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.corpus.tokenizers import whitespace
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.corpus.tokenizers.whitespace import WHITE_SPACE

SPLITTER = re.compile("[" + "".join(map(chr, WHITE_SPACE)) + "]+")

spaces = st.sampled_from([chr(point) for point in WHITE_SPACE])
near_spaces = st.sampled_from(
    [chr(point + d) for point in WHITE_SPACE for d in (-1, 1)] + ["\u200b", "\u180e", "\ufeff", "\x1c"]
)
texts = st.lists(
    st.one_of(st.text(max_size=40), st.text("ab \n", max_size=90), spaces, near_spaces, st.just("\n"))
).map("".join)


def naive_sentences(text: str, max_sentence: int) -> list[list[str]]:
    sentences = []
    for line in text.split("\n"):
        words = [word for word in SPLITTER.split(line) if word]
        sentences += [words[i : i + max_sentence] for i in range(0, len(words), max_sentence)]
    return sentences


@given(texts, st.sampled_from([1, 2, 3, 7, 1000]))
@example("a" * 63 + "\u3000b", 1000)
@example("a" * 62 + "\u3000b\n" + "c" * 60 + "\u00a0" + "d" * 64, 1000)
@example("", 1)
def test_whitespace_splits_at_the_listed_characters_alone(text, max_sentence):
    found = open_tokenizer("whitespace", max_sentence=max_sentence).sentences(text.encode())
    assert found == naive_sentences(text, max_sentence)


@given(texts, st.sampled_from([1, 3, 70, 1000]))
@settings(max_examples=60)
def test_whitespace_in_small_portions_gives_the_same(text, max_sentence):
    text = text + "a b  c\n" * 20 + "x " * 100
    before, whitespace._ROOM = whitespace._ROOM, 64
    try:
        found = open_tokenizer("whitespace", max_sentence=max_sentence).sentences(text.encode())
    finally:
        whitespace._ROOM = before
    assert found == naive_sentences(text, max_sentence)


def test_white_space_is_unicodes():
    # str.isspace adds the information separators 1C-1F, which Unicode does not count as White_Space.
    python = {p for p in range(0x110000) if chr(p).isspace()} - set(range(0x1C, 0x20))
    assert set(WHITE_SPACE) == python | {0xFEFF}


def test_nul_bytes_and_carriage_returns():
    assert open_tokenizer("whitespace").sentences(b"a\0b c\r\nd\re\r\n") == [["a\0b", "c"], ["d", "e"]]
