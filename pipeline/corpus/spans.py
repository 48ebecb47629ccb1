"""Sentences: tokens as places in a buffer of bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pipeline.kernels import text as kernels

Locate = Callable[[int], str]
"""Byte position in a block -> how messages name that place ("file.txt, byte 123")."""


class Spans(NamedTuple):
    """Sentences of tokens: token i is buffer[start[i]:end[i]], sentence j is tokens sentence[j]:sentence[j + 1].

    Tokens are UTF-8; no token and no sentence is empty. The buffer is read-only and the other arrays can be written,
    always: kernels would be compiled again for other flags.

    >>> spans = Spans(as_array(b"a rose\\nis"), np.array([0, 2, 7]), np.array([1, 6, 9]), np.array([0, 2, 3]))
    >>> spans.sentences()
    [['a', 'rose'], ['is']]
    """

    buffer: np.ndarray
    """uint8"""
    start: np.ndarray
    """int64 [n], rising"""
    end: np.ndarray
    """int64 [n]"""
    sentence: np.ndarray
    """int64 [s + 1], rising from 0 to n"""

    def sentences(self) -> list[list[str]]:
        """The tokens as Python strings, for messages and tests."""
        words = [bytes(self.buffer[i:j]).decode() for i, j in zip(self.start, self.end)]
        return [words[i:j] for i, j in zip(self.sentence[:-1], self.sentence[1:])]


def split_long(sentence: np.ndarray, max_sentence: int) -> np.ndarray:
    """Cut every sentence of more than `max_sentence` tokens into several.

    >>> split_long(np.array([0, 2, 7]), max_sentence=3)
    array([0, 2, 5, 7])

    Args:
      sentence: int64 [s + 1], offsets of tokens.

    Returns:
      int64 [s' + 1], the new offsets; all pieces of a sentence but its last have `max_sentence` tokens.
    """
    lengths = np.diff(sentence)
    if not len(lengths) or lengths.max() <= max_sentence:
        return sentence
    out = np.empty(int((-(-lengths // max_sentence)).sum()) + 1, dtype=np.int64)
    return out[: kernels.split_long(sentence, max_sentence, out) + 1]


def as_array(data: Any) -> np.ndarray:
    """Bytes, a buffer or an array as read-only uint8, not copied. Kernels are compiled for read-only text."""
    array = np.frombuffer(data, dtype=np.uint8)
    array.flags.writeable = False
    return array
