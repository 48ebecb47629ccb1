"""A user's own function as a tokeniser."""

from __future__ import annotations

import pickle
import sys
import textwrap

import pytest

from pipeline.corpus.spans import as_array
from pipeline.corpus.tokenizers import functions as users_functions
from pipeline.corpus.tokenizers import tokenizer as tokenizers
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.errors import InputError


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
    assert open_tokenizer("whitespace").identity() == {"name": "whitespace", "rules": 2}
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
