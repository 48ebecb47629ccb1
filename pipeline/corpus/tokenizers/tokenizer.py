"""Tokenisers: text blocks -> sentences of tokens, as places in a buffer of bytes.

A line is a sentence; a line of more than `max_sentence` tokens becomes several, and loses none.
"""

from __future__ import annotations

import abc
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.corpus.spans import Locate, Spans, as_array, split_long
from pipeline.corpus.tokenizers.normalization import lower, normal, normalize
from pipeline.errors import InputError
from pipeline.kernels import text as kernels
from pipeline.runtime.shown_text import shown

RULES = 2
"""Version of the rules of all tokenisers without a version of their own. Raise it when a change of this project makes
other tokens of a text."""
_BATCH_BYTES = 1 << 18
"""Bytes of lines that a user's function gets before its tokens are passed on."""


@dataclass(frozen=True)
class Tokenizer(abc.ABC):
    """Turns text into sentences of tokens. It holds only names and numbers, so it can be sent to a worker."""

    lowercase: bool = False
    max_sentence: int = 1000
    normal_form: str = ""
    """"nfc" or "nfkc": the normal form that text is converted to first; "" for none"""

    @abc.abstractmethod
    def split(self, text: np.ndarray, locate: Locate = "byte {}".format) -> Iterator[Spans]:
        """Sentences of the text in order, some ten thousands of tokens at a time.

        Args:
          text: uint8 [n], read-only; valid UTF-8; whole lines, the last one with or without its newline.
          locate: names a byte position of `text` in messages.

        Yields:
          Spans, each valid until the next is taken: their arrays are used again.

        Raises:
          InputError: the user's function failed; the message names the line.
        """

    @property
    def users_function(self) -> str:
        """The name of the user's function, which may not be deterministic; "" for other tokenisers."""
        return ""

    @property
    def joins_lines(self) -> bool:
        """Whether all lines of a row are one sentence, where rows may have several."""
        return False

    @property
    def rules(self) -> int:
        """The version of the rules by which tokens are made."""
        return RULES

    def hint(self, preview: Callable[[], list[list[str]]]) -> str:
        """What makes another tokeniser fit a file better; "" for nothing.

        Args:
          preview: returns the first sentences of the file by this tokeniser.
        """
        return ""

    @abc.abstractmethod
    def own_identity(self) -> dict[str, Any]:
        """`identity` without the part for lower case and normal form."""

    def identity(self) -> dict[str, Any]:
        """What the tokens depend on besides the text, for stage keys and run.json.

        Returns:
          "name", version of the "rules", and more by kind: "version" of the package and "digest" of the file of a
          user's function; "versions" of the packages of a dictionary; digest of the "table" of Unicode properties;
          version of "unicode" with lowercase or a normal form; digest of the "stopwords".

        Raises:
          InputError: the file of a user's function has changed since it was imported.
        """
        forms = {"unicode": unicodedata.unidata_version} if self.lowercase or self.normal_form else {}
        return {**self.own_identity(), "rules": self.rules, **forms}

    def prepared(self, text: np.ndarray) -> np.ndarray:
        """The text (uint8) in the normal form and lower case that the options ask for; lines stay lines."""
        if self.normal_form:
            text = normalize(text, self.normal_form)
        return lower(text) if self.lowercase else text

    def prepared_line(self, line: str) -> str:
        """The same for one string; a byte-order mark, where two files were joined, becomes a space."""
        line = line.replace("\ufeff", " ")
        if self.normal_form:
            line = normal(line, self.normal_form)
        return line.lower() if self.lowercase else line

    def sentences(self, text: bytes) -> list[list[str]]:
        """All sentences of a text as Python strings, for messages and tests."""
        return [sentence for spans in self.split(as_array(text)) for sentence in spans.sentences()]


@dataclass(frozen=True)
class LineTokenizer(Tokenizer):
    """Tokens from a Python function, line by line. Empty strings are not tokens."""

    name: str = ""

    @abc.abstractmethod
    def tokens_of(self, lines: list[str]) -> Iterator[Any]:
        """The tokens of each line; lines come without their ends."""

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
                line_tokens = next(results)
            except (Exception, SystemExit) as error:
                raise InputError(
                    f"--tokenizer={self.name} failed on the line at {locate(position)}: "
                    f"{type(error).__name__}: {shown(error)}"
                ) from error
            self._check(line_tokens, position, locate)
            tokens.extend(filter(None, line_tokens))
            if len(tokens) > sentence[-1]:
                sentence.append(len(tokens))
            position += len(line) + 1
        return tokens, sentence

    def _check(self, line_tokens: Any, position: int, locate: Locate) -> None:
        if not isinstance(line_tokens, (list, tuple)):
            wrong = f"a {type(line_tokens).__name__}"
        elif not all(isinstance(token, str) for token in line_tokens):
            wrong = "a list with " + next(
                shown(repr(token), 100) for token in line_tokens if not isinstance(token, str)
            )
        elif any(not token.isascii() and _has_surrogate(token) for token in line_tokens):
            wrong = "a string with half a surrogate pair, which is not text"
        else:
            return
        raise InputError(
            f"--tokenizer={self.name} returned {wrong} for the line at {locate(position)}; "
            "it must return a list of strings"
        )

    def _spans(self, tokens: list[str], sentence: list[int]) -> Spans:
        _, offsets, data = pa.array(tokens, type=pa.large_string()).buffers()
        offset = np.frombuffer(offsets, dtype=np.int64)[: len(tokens) + 1]
        cut = split_long(np.array(sentence, dtype=np.int64), self.max_sentence)
        return Spans(as_array(data), offset[:-1], offset[1:], cut)


def pieces(text: np.ndarray, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """(position, piece) of a text: whole lines of about `size` bytes together, or one longer line."""
    position = 0
    while position < len(text):
        stop = min(position + size, len(text))
        newline = kernels.find_newline(text, stop - 1, len(text))
        stop = len(text) if newline < 0 else newline + 1
        yield position, text[position:stop]
        position = stop


BUILT_IN = ("whitespace", "unicode_words", "characters", "korean", "japanese", "chinese", "icu")


def _has_surrogate(token: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in token)
