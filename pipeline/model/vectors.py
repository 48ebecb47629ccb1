"""One vector for each word, and the nearest words of a word."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.model.model import Model
from pipeline.model.neighbors import nearest, unit_length
from pipeline.model.spelling import suggestions
from pipeline.runtime.shown_text import quoted

SIDES = {
    "input": "input vectors",
    "output": "output vectors",
    "mean": "means of input and output vectors",
}
"""Which of a word's two vectors: that of a context, that of a target (or negative), or half their sum."""
USUAL_SIDE = {"skipgram": "input", "cbow": "mean"}
"""--model -> the side that is taken unless one is named; docs/which-vectors.md says why."""

_BLOCK = 8192
OnProgress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclasses.dataclass(frozen=True)
class Vectors:
    """Words by id, with one vector each."""

    words: pa.Array
    """string [V]"""
    vectors: np.ndarray
    """float32 [V, dims]"""
    counts: np.ndarray
    """int64 [V]"""
    absent: pa.Array = dataclasses.field(default_factory=lambda: pa.array([], pa.string()))
    """string [n]: words of the vocabulary that are left out, because they do not occur in the corpus"""

    @classmethod
    def of_blocks(
        cls,
        blocks: Iterable[Model],
        rows: int,
        dims: int,
        side: str,
        report: OnProgress = lambda done, total: None,
    ) -> Vectors:
        """One side of a model, from blocks that have `rows` words together; one block at a time is in memory."""
        words, vectors, done = [], np.empty((rows, dims), np.float32), 0
        counts = np.empty(rows, np.int64)
        for block in blocks:
            words.append(block.words)
            counts[done : done + len(block.words)] = block.counts
            vectors[done : done + len(block.words)] = side_of(block, side)
            done += len(block.words)
            report(done, rows)
        return cls(pa.concat_arrays(words), vectors, counts)

    def without(self, absent: np.ndarray) -> Vectors:
        """The vectors without the words that are absent (bool [V]) from the corpus: those were never trained."""
        if not absent.any():
            return self
        rows = pa.array(~absent)
        left_out = self.words.filter(pa.array(absent))
        return Vectors(self.words.filter(rows), self.vectors[~absent], self.counts[~absent], left_out)

    def rows_of(self, words: Sequence[str], option: str) -> list[int]:
        """The row of each word; InputError if one is not known, which suggests similar words."""
        encoded = pa.array(map(_bytes, words), pa.binary())
        rows = pc.index_in(encoded, value_set=self.words.cast(pa.binary())).to_pylist()
        absent = pc.is_in(encoded, value_set=self.absent.cast(pa.binary())).to_pylist()
        for word, row, is_absent in zip(words, rows, absent):
            if row is None and is_absent:
                raise InputError(
                    f"{option}: {quoted(word)} stands in --vocabulary and does not occur in the corpus: its vector was"
                    " never trained"
                )
            if row is None:
                raise unknown_word(word, self.words, option)
        return rows

    def neighbors(self, rows: Sequence[int], count: int) -> list[list[tuple[str, float]]]:
        """The nearest words of each row, with their cosines, nearest first."""
        ids, cosines = nearest(self.vectors, np.array(rows, np.int64), count)
        return [
            [(self.words[int(i)].as_py(), float(cosine)) for i, cosine in zip(near, values)]
            for near, values in zip(ids, cosines)
        ]

    def nearest_to(self, query: np.ndarray, top: int, without: Sequence[int] = ()) -> list[tuple[str, float]]:
        """The `top` words most similar to a vector (float [dims]), with their cosines, nearest first.

        Args:
          without: rows of words that are left out.
        """
        top = checked_top(top)
        direction = unit_length(query.reshape(1, -1).astype(np.float32))[0]
        cosines = np.empty(len(self.vectors), np.float32)
        for begin in range(0, len(cosines), _BLOCK):
            rows = slice(begin, begin + _BLOCK)
            cosines[rows] = unit_length(self.vectors[rows]) @ direction
        cosines[list(without)] = -np.inf
        order = np.argsort(-cosines, kind="stable")[: min(top, len(cosines) - len(set(without)))]
        return [(self.words[int(row)].as_py(), float(cosines[row])) for row in order]


def unknown_word(word: str, words: pa.Array, option: str) -> InputError:
    """The error for a word that is not among the words; it names those with a similar spelling."""
    near = suggestions(word, words)
    hint = f"; did you mean {' or '.join(map(quoted, near))}?" if near else ""
    return InputError(f"{option}: {quoted(word)} is not in the vocabulary of {len(words):,} words{hint}")


def _bytes(word: str) -> bytes:
    """The word as UTF-8. Arguments that are not UTF-8 have surrogates, of which Arrow makes no string."""
    try:
        return word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return word.encode("utf-8", "surrogatepass")


def side_of(block: Model, side: str) -> np.ndarray:
    """float32 [V, dims]: the vectors of one side, or half the sum of both."""
    if side == "mean":
        return (block.input + block.output) * np.float32(0.5)
    if side not in SIDES:
        raise InputError(f"--vectors={side}: allowed are {', '.join(SIDES)}")
    return block.input if side == "input" else block.output


def checked_top(top: Any, least: int = 0, name: str = "top") -> int:
    """How many words are asked for; InputError unless it is a whole number of at least `least`."""
    try:
        number = operator.index(top)
    except TypeError:
        number = -1
    if isinstance(top, bool) or number < least:
        raise InputError(f"{name}={quoted(str(top))}: give a whole number of at least {least}")
    return number


def wanted_rows(top: int | None, of: int) -> int:
    """How many of so many rows are asked for; None: all."""
    return of if top is None else min(checked_top(top), of)


def listed_words(given: Any) -> list[Any]:
    """The words as a list; a string is one word, not its letters, and None is no word, as in gensim."""
    if given is None:
        return []
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]


def rows_of_top(top: int | None, absent: np.ndarray) -> int:
    """How many first rows hold the `top` most frequent words (None: all), of which those that are absent do not count.

    >>> rows_of_top(2, np.array([True, False, True, False, False]))
    4

    Args:
      absent: bool [V].
    """
    present = np.flatnonzero(~absent)
    if top is None or checked_top(top) >= len(present):
        return len(absent)
    return int(present[top - 1]) + 1 if top else 0
