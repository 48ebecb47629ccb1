"""Vocabulary and unigram distribution as one value, for pipelines without a run."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.corpus.word_table import WordTable, one_array
from pipeline.errors import InputError
from pipeline.runtime.shown_text import quoted
from pipeline.storage.records import canonical_json
from pipeline.words.merging import SCHEMA
from pipeline.words.unigram import UnigramDistribution, build
from pipeline.words.vocabulary import Vocabulary, build_vocabulary


@dataclasses.dataclass(frozen=True, eq=False)
class WordDistribution:
    """The words, and what negatives are drawn from; row i is word i, the most frequent first.

    >>> distribution = WordDistribution.of([("rose", 3), ("is", 2), ("a", 3)])
    >>> distribution.words.to_pylist(), distribution.unigram.probability.round(2)
    (['a', 'rose', 'is'], array([0.37, 0.37, 0.27]))
    """

    words: pa.StringArray
    """string [V]: ordered by (-count, UTF-8 bytes of the word)"""
    counts: np.ndarray
    """int64 [V]"""
    unigram: UnigramDistribution
    """probabilities, alias table, and thresholds of subsampling"""

    @classmethod
    def of(cls, counts: Iterable[tuple[str, int]], power: float = 0.75, subsample: float = 0.0) -> WordDistribution:
        """The distribution of words with their counts; counts of one word are added up.

        Raises:
          InputError: no word; one is empty or no text; a count is no positive integer; the sum does not fit in 63 bits.
        """
        words, numbers = [], []
        for counted in counts:
            word, count = _checked(counted)
            words.append(word)
            numbers.append(count)
        if sum(numbers) > np.iinfo(np.int64).max:
            raise InputError(f"UnigramDistribution: the counts add up to {sum(numbers):,}: 2^63 - 1 is the most")
        table = WordTable()
        table.add(pa.array(words, pa.string()), np.array(numbers, np.int64))
        merged = pa.table([one_array(table.words()), pa.array(table.values())], schema=SCHEMA)
        if not merged.num_rows:
            raise InputError("UnigramDistribution: there is no word: give (word, count), as CountWords does")
        vocabulary = Vocabulary.from_table(build_vocabulary([merged], 1))
        return cls(vocabulary.words, vocabulary.counts, build(vocabulary.counts, power, subsample))

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.words, self.counts)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all of it."""
        digest = hashlib.sha256(canonical_json(self.words.to_pylist()))
        for column in self.unigram.to_table().columns:
            digest.update(column.combine_chunks().to_numpy())
        return digest.hexdigest()

    def __getstate__(self) -> dict:
        self.digest  # noqa: B018 - computed once, where it is made, and not by each worker
        return self.__dict__


def _checked(counted: Any) -> tuple[str, int]:
    """(word, count); InputError if it is something else."""
    if not isinstance(counted, (tuple, list)) or len(counted) != 2:
        raise InputError(f"UnigramDistribution: {quoted(str(counted), 40)} is not (word, count), as CountWords gives")
    word, count = counted
    if word == "":
        raise InputError("UnigramDistribution: a word is empty, and no sentence has such: leave it out")
    if not isinstance(word, str) or word.encode(errors="replace").decode() != word:
        raise InputError(f"UnigramDistribution: {quoted(str(word), 40)} is no word: give text that UTF-8 can hold")
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise InputError(f"UnigramDistribution: {quoted(word)} has the count {count!r}: give a whole number from 1")
    return word, int(count)
