"""Tokenisers against plain Python: splitting, lower case, long sentences, functions of the user's."""

from __future__ import annotations

import itertools
import pickle
import re
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.corpus.spans import as_array, split_long
from pipeline.corpus.tokenizers import functions as users_functions
from pipeline.corpus.tokenizers import tokenizer as tokenizers
from pipeline.corpus.tokenizers import whitespace
from pipeline.corpus.tokenizers.normalization import lower
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.corpus.tokenizers.whitespace import WHITE_SPACE
from pipeline.errors import InputError
from pipeline.kernels import text as kernels

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
    assert set(WHITE_SPACE) == python


def test_nul_bytes_and_carriage_returns():
    assert open_tokenizer("whitespace").sentences(b"a\0b c\r\nd\re\r\n") == [["a\0b", "c"], ["d", "e"]]


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


@given(st.lists(st.integers(0, 30)), st.integers(1, 9))
def test_split_long_never_drops(lengths, max_sentence):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    expected = [0]
    for start, stop in itertools.pairwise(offsets.tolist()):
        expected += [*range(start + max_sentence, stop, max_sentence), *([stop] if stop > start else [])]
    if all(lengths):
        assert split_long(offsets, max_sentence).tolist() == expected


@given(st.binary(max_size=200), st.integers(0, 130))
@example(b"\xed\xa0\x80", 0)
@example(b"\xf4\x90\x80\x80", 61)
@example(b"\xc0\xaf", 63)
def test_first_invalid_agrees_with_python(data, pad):
    data = b"x" * pad + data
    try:
        data.decode()
        expected = len(data)
    except UnicodeDecodeError as error:
        expected = error.start
    assert kernels.first_invalid(as_array(data), 0, len(data)) == expected


@pytest.fixture
def functions(tmp_path, monkeypatch):
    (tmp_path / "my_words.py").write_text(
        textwrap.dedent("""
            __version__ = "7.1"
            def split(line): return line.split(" ")
            def raises(line): raise ValueError("no\\nwords")
            def leaves(line): raise SystemExit(3)
            def string(line): return line
            def numbers(line): return ["a", 3]
            def half(line): return ["\\ud800"]
            value = 3
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_words", None)
    users_functions._load.cache_clear()


def test_function_of_the_user(functions):
    tokenizer = pickle.loads(pickle.dumps(open_tokenizer("my_words:split", max_sentence=2)))
    text = "a  b\r\n\nÄ b c d e\nlast".encode()
    assert tokenizer.sentences(text) == [["a", "b"], ["Ä", "b"], ["c", "d"], ["e"], ["last"]]
    lowered = open_tokenizer("my_words:split", lowercase=True)
    assert lowered.sentences("ÄB Σ\n".encode()) == [["äb", "σ"]]


def test_function_sees_each_line_once_whatever_the_batches(functions, monkeypatch):
    monkeypatch.setattr(tokenizers, "_BATCH_BYTES", 5)
    text = "".join(f"w{i} x\n" for i in range(50)) + "end"
    found = open_tokenizer("my_words:split").sentences(text.encode())
    assert found == [line.split() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raises", "failed on the line at byte 3: ValueError: no words"),
        ("leaves", "failed on the line at byte 3: SystemExit: 3"),
        ("string", "returned a str for the line at byte 3"),
        ("numbers", "returned a list with 3"),
        ("half", "surrogate"),
    ],
)
def test_function_that_misbehaves_is_named_with_the_place(functions, function, message):
    text = as_array(b"ab\ncd\n")[3:]
    with pytest.raises(InputError, match=message):
        list(open_tokenizer(f"my_words:{function}").split(text, lambda position: f"byte {position + 3}"))


@pytest.mark.parametrize("name", ["nonsense", "no_such_module:f", "my_words:no", "my_words:value"])
def test_tokenizer_that_does_not_exist(functions, name):
    with pytest.raises(InputError, match=f"--tokenizer={name}"):
        open_tokenizer(name)


def test_identity_names_what_tokens_depend_on(functions, tmp_path):
    assert open_tokenizer("whitespace").identity() == {"name": "whitespace"}
    assert "unicode" in open_tokenizer("whitespace", lowercase=True).identity()
    identity = open_tokenizer("my_words:split").identity()
    assert identity["version"] == "7.1"
    assert len(identity["digest"]) == 64
    path = tmp_path / "my_words.py"
    path.write_text(path.read_text() + "# edited\n")
    open_tokenizer("my_words:raises")  # of the module that is there already
    for name in ("my_words:split", "my_words:raises"):  # the code at work is not what the file says now
        with pytest.raises(InputError, match=r"my_words\.py changed since it was imported: start a new process"):
            open_tokenizer(name).identity()
    del sys.modules["my_words"]
    users_functions._load.cache_clear()
    assert open_tokenizer("my_words:split").identity()["digest"] != identity["digest"]
