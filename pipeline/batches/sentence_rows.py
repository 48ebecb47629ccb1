"""The rows of single sentences, for pipelines without a run."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.batches.rows import generate_rows
from pipeline.batches.sampling import Sampling, Tables
from pipeline.corpus.plain_sentences import spans_of_sentence
from pipeline.corpus.word_table import WordTable, new_state
from pipeline.errors import InputError
from pipeline.options import MAX_EPOCHS, MAX_POSITION
from pipeline.words.distribution import WordDistribution
from pipeline.words.reservoir import keys_of

_KEY_BITS = 17
"""A sentence's key has 64 bits; without these it is below 2^47, so that the positions of its tokens are too small for
MAX_POSITION."""
_opened: dict[str, _Opened] = {}


class _Opened(NamedTuple):
    """A distribution as kernels read it."""

    table: WordTable
    tables: Tables


@dataclasses.dataclass(frozen=True)
class RowRules:
    """What the rows of a sentence depend on besides its words, its position and the distribution.

    >>> distribution = WordDistribution.of([("a", 3), ("rose", 3), ("is", 2)])
    >>> rules = RowRules(Sampling(window=1, negatives=2, policy="exclude_target", seed=1), epoch=0)
    >>> for row in rules.rows("a rose is", distribution, position=40).to_pylist():
    ...     print(row)
    {'position': 40, 'context': [1], 'target': 0, 'negatives': [1, 2]}
    {'position': 41, 'context': [0, 2], 'target': 1, 'negatives': [0, 2]}
    {'position': 42, 'context': [1], 'target': 2, 'negatives': [0, 0]}
    """

    sampling: Sampling
    epoch: int = 0

    def rows(self, sentence: Any, distribution: WordDistribution, position: int | None = None) -> pa.RecordBatch | None:
        """The rows of a sentence; None if it has none.

        Args:
          sentence: a list of words, or a string: see `spans_of_sentence`. Words without a place in the distribution are
            left out, and are no context.
          position: of its first token that is in the distribution, among all such tokens of the corpus. None: the key
            of the sentence, shifted right by 17 bits (`pipeline.words.reservoir.keys_of`).

        Raises:
          InputError: it is no sentence; the position or the number of words cannot be.
        """
        if position is not None and not (isinstance(position, (int, np.integer)) and 0 <= position < MAX_POSITION // 2):
            raise InputError(f"GenerateBatches: the position {position!r} is not a whole number from 0 to 2^47 - 1")
        table, tables = _open(distribution, self.sampling)
        tokens, lengths = [], []
        for spans in spans_of_sentence(sentence, "GenerateBatches"):
            if position is None:
                position = int(keys_of(spans)[0]) >> _KEY_BITS
            ids, kept = np.empty(len(spans.start), np.int32), np.empty(len(spans.sentence) - 1, np.int32)
            known, sentences = table.encode(spans, new_state(), ids, kept)
            tokens.append(ids[:known])
            lengths.append(kept[:sentences])
        if position is None or not sum(map(len, tokens)):
            return None
        offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths), dtype=np.int64)])
        batch = generate_rows(np.concatenate(tokens), offset, int(position), tables, self.sampling, self.epoch)
        return batch if batch.num_rows else None

    def check(self) -> None:
        """InputError if there can be no such epoch."""
        is_whole = isinstance(self.epoch, (int, np.integer)) and not isinstance(self.epoch, bool)
        if not is_whole or not 0 <= self.epoch < MAX_EPOCHS:
            raise InputError(f"GenerateBatches: epoch={self.epoch!r}: there are epochs 0 to {MAX_EPOCHS - 1}")


def _open(distribution: WordDistribution, sampling: Sampling) -> _Opened:
    """The tables of a distribution, made once a process; InputError if it has too few words for the negatives."""
    sampling.check(len(distribution.words))
    opened = _opened.get(distribution.digest)
    if opened is None:
        opened = _Opened(distribution.vocabulary.lookup_table(), Tables.of(distribution.unigram))
        _opened.clear()  # one at a time, like `load_tables`
        _opened[distribution.digest] = opened
    return opened
