"""Tokenisers: blocks of text -> tokens and sentences, as places in a buffer of bytes.

A line is a sentence; one of more than `max_sentence` tokens is split into
several, never cut off. `whitespace` splits at the characters listed in
WHITE_SPACE and at nothing else, so its result does not change with a library.
"""

from __future__ import annotations

import abc
import functools
import hashlib
import importlib
import inspect
import operator
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.kernels import text as kernels

WHITE_SPACE = (
    *(*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)),
    *(0x2028, 0x2029, 0x202F, 0x205F, 0x3000),
)
"""The code points that `whitespace` splits at: Unicode's White_Space (PropList.txt, since Unicode 6.3)."""

_ROOM = 1 << 15
"""Tokens in one Spans, more or less: its arrays stay in a core's cache until they are used."""

_BATCH_BYTES = 1 << 18
"""Bytes of whole lines given to a user's function before its tokens are passed on."""

Locate = Callable[[int], str]
"""Byte position in a block -> how messages name that place ("file.txt, byte 123")."""


@dataclass(frozen=True)
class Spans:
    """Tokens as places in a buffer: token i is buffer[start[i]:end[i]], UTF-8 and never empty.

    Sentence j is tokens sentence[j]:sentence[j + 1], and never empty either.
    """

    buffer: np.ndarray
    """uint8."""
    start: np.ndarray
    """int64 [n], rising."""
    end: np.ndarray
    """int64 [n]."""
    sentence: np.ndarray
    """int64 [s + 1], from 0 to n."""

    def sentences(self) -> list[list[str]]:
        """The tokens as Python strings, for messages and tests."""
        words = [bytes(self.buffer[i:j]).decode() for i, j in zip(self.start, self.end)]
        return [words[i:j] for i, j in zip(self.sentence[:-1], self.sentence[1:])]


class Tokenizer(abc.ABC):
    """Turns text into sentences of tokens. Holds only names and numbers, so it can be sent to a worker."""

    @abc.abstractmethod
    def split(self, text: np.ndarray, locate: Locate = "byte {}".format) -> Iterator[Spans]:
        """Sentences of the text in order, some ten thousands of tokens at a time.

        Args:
          text: uint8 [n], read-only; valid UTF-8; whole lines, the last one with or without its newline.
          locate: names a byte position of `text` in messages.

        Yields:
          Spans that hold until the next one is asked for (their arrays are used again).

        Raises:
          InputError: the tokeniser is the user's and failed; names the line and what it did.
        """

    def sentences(self, text: bytes) -> list[list[str]]:
        """All sentences of some text as Python strings, for messages and tests."""
        return [sentence for spans in self.split(as_array(text)) for sentence in spans.sentences()]


def open_tokenizer(name: str, lowercase: bool = False, max_sentence: int = 1000) -> Tokenizer:
    """The tokeniser that --tokenizer, --lowercase and --max_sentence describe.

    Raises:
      InputError: there is no such tokeniser; a module:function cannot be imported.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name](lowercase, max_sentence)
    load_function(name)
    return FunctionTokenizer(name, lowercase, max_sentence)


def tokenizer_identity(name: str, lowercase: bool = False) -> dict[str, str]:
    """What the tokens depend on beside the text: goes into stage keys and run.json.

    Returns:
      "name"; for a user's function also the "version" of its package and the "digest" of its file;
      with lowercase also the Unicode version ("unicode").
    """
    identity = {"name": name}
    if name not in _BUILT_IN:
        module = inspect.getmodule(load_function(name)) or importlib.import_module(name.partition(":")[0])
        package = importlib.import_module(module.__name__.partition(".")[0])
        identity["version"] = str(getattr(package, "__version__", ""))
        identity["digest"] = _file_digest(module)
    if lowercase:
        identity["unicode"] = unicodedata.unidata_version
    return identity


@dataclass(frozen=True)
class WhitespaceTokenizer(Tokenizer):
    """Tokens are what stands between the characters of WHITE_SPACE."""

    lowercase: bool = False
    max_sentence: int = 1000

    def split(self, text: np.ndarray, locate: Locate = "byte {}".format) -> Iterator[Spans]:
        if self.lowercase:
            text = lower(text)
        room, position = min(_ROOM, len(text) // 2 + 64), 0
        while position < len(text):
            start, end = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
            sentence = np.empty(room + 1, dtype=np.int64)
            while position < len(text):
                tokens, sentences, following = kernels.split_whitespace(
                    text, position, self.max_sentence, start, end, sentence
                )
                if following == kernels.GROW:
                    room *= 2
                    break
                position = following
                if tokens:
                    cut = split_long(sentence[: sentences + 1], self.max_sentence)
                    yield Spans(text, start[:tokens], end[:tokens], cut)


@dataclass(frozen=True)
class FunctionTokenizer(Tokenizer):
    """A user's function(line: str) -> list[str], named "module:function".

    It is given each line without its line end. Empty strings among its tokens are no tokens.
    """

    name: str
    lowercase: bool = False
    max_sentence: int = 1000

    def split(self, text: np.ndarray, locate: Locate = "byte {}".format) -> Iterator[Spans]:
        function, position = load_function(self.name), 0
        while position < len(text):
            stop = min(position + _BATCH_BYTES, len(text))
            newline = kernels.find_newline(text, stop - 1, len(text))
            stop = len(text) if newline < 0 else newline + 1
            tokens, sentence = self._tokens(function, text[position:stop], position, locate)
            position = stop
            if tokens:
                yield self._spans(tokens, sentence)

    def _tokens(
        self, function: Callable, text: np.ndarray, position: int, locate: Locate
    ) -> tuple[list[str], list[int]]:
        tokens: list[str] = []
        sentence = [0]
        lines = bytes(text).split(b"\n")
        for line in lines if lines[-1] else lines[:-1]:
            content = line.removesuffix(b"\r").decode()
            try:
                found = function(content.lower() if self.lowercase else content)
            except Exception as error:
                raise InputError(
                    f"--tokenizer={self.name} failed on the line at {locate(position)}: "
                    f"{type(error).__name__}: {error}"
                ) from error
            self._check(found, position, locate)
            tokens.extend(filter(None, found))
            if len(tokens) > sentence[-1]:
                sentence.append(len(tokens))
            position += len(line) + 1
        return tokens, sentence

    def _check(self, found: Any, position: int, locate: Locate) -> None:
        if not isinstance(found, (list, tuple)):
            wrong = f"a {type(found).__name__}"
        elif not all(isinstance(token, str) for token in found):
            wrong = "a list with " + next(repr(token) for token in found if not isinstance(token, str))[:100]
        elif any(not token.isascii() and _has_surrogate(token) for token in found):
            wrong = "a string with half a surrogate pair, which is no text"
        else:
            return
        raise InputError(
            f"--tokenizer={self.name} returned {wrong} for the line at {locate(position)}; "
            "it has to return a list of strings"
        )

    def _spans(self, tokens: list[str], sentence: list[int]) -> Spans:
        _, offsets, data = pa.array(tokens, type=pa.large_string()).buffers()
        offset = np.frombuffer(offsets, dtype=np.int64)[: len(tokens) + 1]
        cut = split_long(np.array(sentence, dtype=np.int64), self.max_sentence)
        return Spans(as_array(data), offset[:-1], offset[1:], cut)


_BUILT_IN: dict[str, Callable[[bool, int], Tokenizer]] = {"whitespace": WhitespaceTokenizer}


@functools.lru_cache(maxsize=64)
def load_function(name: str) -> Callable[[str], list[str]]:
    """The function that "module:function" names; InputError where there is none."""
    module, colon, function = name.partition(":")
    if not colon:
        raise InputError(
            f"--tokenizer={name}: there is no such tokenizer; known are {', '.join(_BUILT_IN)}, "
            "and functions of your own as module:function"
        )
    try:
        found = operator.attrgetter(function)(importlib.import_module(module))
    except Exception as error:
        raise InputError(
            f"--tokenizer={name} cannot be loaded: {type(error).__name__}: {error}; "
            "it has to be importable wherever the job runs (see --setup_file)"
        ) from error
    if not callable(found):
        raise InputError(f"--tokenizer={name} is a {type(found).__name__}, not a function")
    return found


def split_long(sentence: np.ndarray, max_sentence: int) -> np.ndarray:
    """Sentence offsets with every sentence of more than `max_sentence` tokens cut into several.

    Args:
      sentence: int64 [s + 1], offsets of tokens.

    Returns:
      int64 [more + 1]; all pieces of a sentence but its last have `max_sentence` tokens.
    """
    lengths = np.diff(sentence)
    if not len(lengths) or lengths.max() <= max_sentence:
        return sentence
    out = np.empty(int((-(-lengths // max_sentence)).sum()) + 1, dtype=np.int64)
    return out[: kernels.split_long(sentence, max_sentence, out) + 1]


def lower(text: np.ndarray) -> np.ndarray:
    """Valid UTF-8 text (uint8) in lower case: what Python's str.lower makes of it, line by line.

    Characters go through a table; a line with one whose lower case depends on its
    neighbours (the final sigma) or is two characters goes through str.lower itself.
    """
    out = np.empty(len(text) + len(text) // 2 + 64, dtype=np.uint8)
    read = written = 0
    while read < len(text):
        more, made = kernels.lower_text(text[read:], _lower_table(), out[written:])
        read, written = read + more, written + made
        if read < len(text):
            # Back to the start of this line: newlines are single bytes before and after.
            newline = kernels.find_last_newline(text, read)
            read = newline + 1
            written = kernels.find_last_newline(out, written) + 1
            newline = kernels.find_newline(text, read, len(text))
            stop = len(text) if newline < 0 else newline + 1
            line = bytes(text[read:stop]).decode().lower().encode()
            out[written : written + len(line)] = np.frombuffer(line, dtype=np.uint8)
            read, written = stop, written + len(line)
    return as_array(out[:written])


@functools.cache
def _lower_table() -> np.ndarray:
    """int32 [0x110000], see `kernels.lower_text`."""
    table = np.arange(0x110000, dtype=np.int32)
    for point in range(0x80, 0x110000):
        small = chr(point).lower()
        if small != chr(point):
            table[point] = ord(small) if len(small) == 1 else -1
    table[0x3A3] = -1  # sigma: its lower case depends on whether a word ends there
    return table


def as_array(data: Any) -> np.ndarray:
    """Bytes, a buffer or an array as read-only uint8, not copied; kernels are compiled for read-only text."""
    array = np.frombuffer(data, dtype=np.uint8)
    array.flags.writeable = False
    return array


def _has_surrogate(token: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in token)


def _file_digest(module: Any) -> str:
    try:
        with open(inspect.getsourcefile(module) or module.__file__, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except (OSError, TypeError):
        return ""
