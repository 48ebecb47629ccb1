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
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.corpus.tokenizers.normalization import as_array, lower, normal, normalize
from pipeline.errors import InputError
from pipeline.kernels import text as kernels
from pipeline.runtime.shown_text import shown

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


@dataclass(frozen=True)
class Tokenizer(abc.ABC):
    """Turns text into sentences of tokens. Holds only names and numbers, so it can be sent to a worker."""

    lowercase: bool = False
    max_sentence: int = 1000
    normal_form: str = ""
    """"nfc" or "nfkc", which text is brought into first; "" leaves it as it is."""

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

    @property
    def users_function(self) -> str:
        """The user's own function, of which nobody knows whether it is deterministic; "" for none."""
        return ""

    def prepared(self, text: np.ndarray) -> np.ndarray:
        """The text (uint8) normalised and in lower case, as wanted; its lines stay lines."""
        if self.normal_form:
            text = normalize(text, self.normal_form)
        return lower(text) if self.lowercase else text

    def prepared_line(self, line: str) -> str:
        """The same for one string."""
        if self.normal_form:
            line = normal(line, self.normal_form)
        return line.lower() if self.lowercase else line

    def sentences(self, text: bytes) -> list[list[str]]:
        """All sentences of some text as Python strings, for messages and tests."""
        return [sentence for spans in self.split(as_array(text)) for sentence in spans.sentences()]


def open_tokenizer(
    name: str, lowercase: bool = False, max_sentence: int = 1000, normal_form: str = "", stopwords: str = ""
) -> Tokenizer:
    """The tokeniser that --tokenizer, --lowercase, --max_sentence, --normalize and --stopwords describe.

    Raises:
      InputError: there is no such tokeniser; it, or a module:function, cannot be imported; the
        file of stop words cannot be read.
    """
    form = (lowercase, max_sentence, normal_form)
    made: Tokenizer
    if name == "whitespace":
        made = WhitespaceTokenizer(*form)
    elif name in ("unicode_words", "characters"):
        from pipeline.corpus.tokenizers.unicode_words import UnicodeTokenizer

        made = UnicodeTokenizer(*form, name)
    elif name in BUILT_IN:
        from pipeline.corpus.tokenizers.dictionaries import DictionaryTokenizer

        made = DictionaryTokenizer.checked(*form, name)
    else:
        load_function(name)
        made = FunctionTokenizer(*form, name)
    if stopwords:
        from pipeline.corpus.tokenizers.stopwords import StopwordsTokenizer, read_stopwords

        made = StopwordsTokenizer(*form, made, read_stopwords(stopwords, made))
    return made


def tokenizer_identity(
    name: str, lowercase: bool = False, normal_form: str = "", stopwords: str = ""
) -> dict[str, Any]:
    """What the tokens depend on beside the text: goes into stage keys and run.json.

    Raises:
      InputError: the file of a user's function is no longer the one that was imported.

    Returns:
      "name"; for a user's function also the "version" of its package and the "digest" of its file;
      for words of a dictionary the "versions" of its packages; for words and characters by Unicode
      the digest of its "table"; with lowercase or a normal form the Unicode version ("unicode"); the
      digest of the "stopwords".
    """
    identity: dict[str, Any] = {"name": name}
    if name in ("unicode_words", "characters"):
        from pipeline.corpus.tokenizers.unicode_words import table_digest

        identity["table"] = table_digest()
    elif name not in BUILT_IN:
        module = _load(name)[1]
        package = importlib.import_module(module.__name__.partition(".")[0])
        identity["version"] = str(getattr(package, "__version__", ""))
        identity["digest"] = _digests[module]
        if _file_digest(module) != identity["digest"]:
            raise InputError(
                f"--tokenizer={name}: {module.__file__} changed since it was imported: start a new process"
            )
    elif name != "whitespace":
        from pipeline.corpus.tokenizers.dictionaries import versions

        identity["versions"] = versions(name)
    if lowercase or normal_form:
        identity["unicode"] = unicodedata.unidata_version
    if stopwords:
        from pipeline.corpus.tokenizers.stopwords import stopwords_digest

        identity["stopwords"] = stopwords_digest(stopwords)
    return identity


@dataclass(frozen=True)
class WhitespaceTokenizer(Tokenizer):
    """Tokens are what stands between the characters of WHITE_SPACE."""

    def split(self, text: np.ndarray, locate: Locate = "byte {}".format) -> Iterator[Spans]:
        text = self.prepared(text)
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
class LineTokenizer(Tokenizer):
    """Tokens of a Python function, line by line. Empty strings among them are no tokens."""

    name: str = ""

    @abc.abstractmethod
    def tokens_of(self, lines: list[str]) -> Iterator[Any]:
        """The tokens of each line, given without its line end."""

    def split(self, text: np.ndarray, locate: Locate = "byte {}".format) -> Iterator[Spans]:
        for position, piece in pieces(text, _BATCH_BYTES):
            tokens, sentence = self._tokens(piece, position, locate)
            if tokens:
                yield self._spans(tokens, sentence)

    def _tokens(self, text: np.ndarray, position: int, locate: Locate) -> tuple[list[str], list[int]]:
        tokens: list[str] = []
        sentence = [0]
        lines = bytes(text).split(b"\n")
        lines = lines if lines[-1] else lines[:-1]
        prepared = [self.prepared_line(line.removesuffix(b"\r").decode()) for line in lines]
        results = self.tokens_of(prepared)
        for line in lines:
            try:
                found = next(results)
            except (Exception, SystemExit) as error:
                raise InputError(
                    f"--tokenizer={self.name} failed on the line at {locate(position)}: "
                    f"{type(error).__name__}: {shown(error)}"
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
            wrong = "a list with " + next(shown(repr(token), 100) for token in found if not isinstance(token, str))
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


@dataclass(frozen=True)
class FunctionTokenizer(LineTokenizer):
    """A user's function(line: str) -> list[str], named "module:function"."""

    @property
    def users_function(self) -> str:
        return self.name

    def tokens_of(self, lines: list[str]) -> Iterator[Any]:
        return map(load_function(self.name), lines)


def pieces(text: np.ndarray, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """(position, part) of a text: whole lines of about `size` bytes together, or one longer line."""
    position = 0
    while position < len(text):
        stop = min(position + size, len(text))
        newline = kernels.find_newline(text, stop - 1, len(text))
        stop = len(text) if newline < 0 else newline + 1
        yield position, text[position:stop]
        position = stop


BUILT_IN = ("whitespace", "unicode_words", "characters", "korean", "japanese", "chinese")


_digests: weakref.WeakKeyDictionary[ModuleType, str] = weakref.WeakKeyDictionary()
"""Modules of users' functions -> the digests of their files when they were first asked for: a file may be
edited later, the code at work stays."""


def load_function(name: str) -> Callable[[str], list[str]]:
    """The function that "module:function" names; InputError where there is none."""
    return _load(name)[0]


@functools.cache
def _load(name: str) -> tuple[Callable[[str], list[str]], ModuleType]:
    """The function and the module that defines it, whose digest is remembered."""
    module, colon, function = name.partition(":")
    if not colon:
        raise InputError(
            f"--tokenizer={name}: there is no such tokenizer; known are {', '.join(BUILT_IN)}, "
            "and functions of your own as module:function"
        )
    try:
        found = operator.attrgetter(function)(importlib.import_module(module))
    except Exception as error:
        raise InputError(
            f"--tokenizer={name} cannot be loaded: {type(error).__name__}: {shown(error)}; "
            "it has to be importable wherever the job runs (see --setup_file)"
        ) from error
    if not callable(found):
        raise InputError(f"--tokenizer={name} is a {type(found).__name__}, not a function")
    defined = inspect.getmodule(found) or importlib.import_module(module)
    if defined not in _digests:
        _digests[defined] = _file_digest(defined)
    return found, defined


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


def _has_surrogate(token: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in token)


def _file_digest(module: Any) -> str:
    try:
        with open(inspect.getsourcefile(module) or module.__file__, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except (OSError, TypeError):
        return ""
