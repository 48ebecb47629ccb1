"""Totals: how often each word has occurred in all text so far, that of the run and of the runs it goes on from.

    S = S_parent p div q + c 2^16,    C = S div 2^16

c is the count in the text of this run, p / q is --count_decay as it is written, and S is kept for all words, not only
for those of the vocabulary: a word that is rare today may be in it tomorrow. In units of 2^-16 a word that occurs a few
times in each generation keeps its place under a decay; whole counts would round it down to nothing.

    totals/KEY/totals.parquet    word string, total int64 (S); by falling S, then the bytes of the word
"""

from __future__ import annotations

import dataclasses
import fractions
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus.word_table import one_array
from pipeline.errors import InputError
from pipeline.storage.records import Number
from pipeline.words.merging import SCHEMA as COUNTS
from pipeline.words.vocabulary import plain

STAGE = "totals"
UNIT_BITS = 16
SCHEMA = pa.schema([pa.field("word", pa.string(), nullable=False), pa.field("total", pa.int64(), nullable=False)])
_LARGEST = 2**47 - 1


def decayed(totals: np.ndarray, decay: fractions.Fraction) -> np.ndarray:
    """S p div q for each S (int64, not negative), exactly; q is below 2^31.

    >>> decayed(np.array([65536, 3]), fractions.Fraction("0.5"))
    array([32768,     1])
    """
    p, q = decay.numerator, decay.denominator
    return totals // q * p + totals % q * p // q  # S p itself may be beyond 64 bits


@dataclasses.dataclass(frozen=True)
class Totals:
    """Words in any order, with their totals.

    Attributes:
      words: string [n], different words.
      scaled: int64 [n], S.
      counts: int64 [n], c.
    """

    words: pa.Array
    scaled: np.ndarray
    counts: np.ndarray

    @property
    def whole(self) -> np.ndarray:
        """int64 [n], C."""
        return self.scaled >> UNIT_BITS

    @classmethod
    def of(cls, tables: Iterable[pa.Table], parent: pa.Table | None = None, decay: float = 1.0) -> Totals:
        """The totals after the text that was counted in `tables`.

        Args:
          tables: word, count; no word is in two of them.
          parent: a table of SCHEMA, of the run that this one updates.
        """
        counted = pa.concat_tables([COUNTS.empty_table(), *map(plain, tables)]).combine_chunks()
        words, counts = one_array(counted["word"]), counted["count"].to_numpy()
        if parent is None:
            return cls(words, _scaled(counts), counts)
        old, factor = one_array(parent["word"]), fractions.Fraction(repr(decay))
        before = decayed(parent["total"].to_numpy(), factor)
        places = pc.index_in(words, value_set=old)
        known = places.is_valid().to_numpy(zero_copy_only=False)
        c = np.zeros(len(old), np.int64)
        c[places.drop_null().to_numpy()] = counts[known]
        new = np.flatnonzero(~known)
        all_counts = np.concatenate([c, counts[new]])
        all_words = pa.concat_arrays([old, words.take(pa.array(new))])
        return cls(all_words, np.concatenate([before, np.zeros(len(new), np.int64)]) + _scaled(all_counts), all_counts)

    def as_counts(self) -> pa.Table:
        """word, count: with C in place of c."""
        return pa.table([self.words, pa.array(self.whole)], schema=COUNTS)

    def counts_of(self, words: pa.Array) -> np.ndarray:
        """int64 [n]: c of each of these words; 0 where one is not known."""
        places = pc.index_in(words, value_set=self.words)
        known = places.is_valid().to_numpy(zero_copy_only=False)
        out = np.zeros(len(words), np.int64)
        out[known] = self.counts[places.drop_null().to_numpy()]
        return out

    def kept(self, most: int, vocabulary: pa.Array) -> pa.Table:
        """The table to keep: the words of the vocabulary, and of the others those with the largest totals.

        Args:
          most: how many words, unless the vocabulary alone has more.
        """
        table = pa.table([self.words, pa.array(self.scaled)], schema=SCHEMA)
        table = table.filter(pa.array(self.scaled > 0))  # a decay may have left nothing
        if most < len(table):
            in_vocabulary = pc.is_in(table["word"], value_set=vocabulary).to_numpy()
            others = _ordered(table.filter(pa.array(~in_vocabulary)))[: max(0, most - int(in_vocabulary.sum()))]
            table = pa.concat_tables([table.filter(pa.array(in_vocabulary)), others])
        return _ordered(table)


def _ordered(table: pa.Table) -> pa.Table:
    return table.take(pc.sort_indices(table, sort_keys=[("total", "descending"), ("word", "ascending")]))


def _scaled(counts: np.ndarray) -> np.ndarray:
    if int(counts.sum()) > _LARGEST:
        raise InputError(f"the text has {int(counts.sum()):,} words, and totals can hold {_LARGEST:,}")
    return counts << UNIT_BITS


@dataclasses.dataclass(frozen=True)
class TotalsNumbers:
    """What is recorded of the totals."""

    words: Number
    text_words: Number
    """occurrences of all words in the text of the run"""
    cut: Number
    """words that were left out"""
