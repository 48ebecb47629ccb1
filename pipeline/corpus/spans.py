"""Tokens and sentences as places in a buffer of bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pipeline.kernels import text as kernels

Locate = Callable[[int], str]
"""Byte position in a block -> how messages name that place ("file.txt, byte 123")."""


class Spans(NamedTuple):
    """Tokens as places in a buffer: token i is buffer[start[i]:end[i]], UTF-8 and never empty.

    Sentence j is tokens sentence[j]:sentence[j + 1], and never empty either. Kernels are compiled for a buffer that
    is read-only and places that can be written; they would be compiled once more for others.
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


def as_array(data: Any) -> np.ndarray:
    """Bytes, a buffer or an array as read-only uint8, not copied; kernels are compiled for read-only text."""
    array = np.frombuffer(data, dtype=np.uint8)
    array.flags.writeable = False
    return array
