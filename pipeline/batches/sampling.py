"""How rows are drawn: window, negatives, seed and tables; and which sentences are kept back from training."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.kernels.negatives import ANY, DISTINCT, EXCLUDE_TARGET
from pipeline.options import Options
from pipeline.storage.records import Artifact, Records
from pipeline.words.unigram import UnigramDistribution

POLICIES = {"any": ANY, "exclude_target": EXCLUDE_TARGET, "distinct": DISTINCT}
_tables: dict[str, Tables] = {}


@dataclasses.dataclass(frozen=True)
class Sampling:
    """What rows depend on besides the tokens and the unigram distribution.

    >>> sampling = Sampling(window=5, negatives=5, policy="distinct", seed=1)
    >>> sampling.check(vocabulary=6)
    >>> sampling.check(vocabulary=5)
    Traceback (most recent call last):
    pipeline.errors.InputError: negative_policy=distinct with negatives=5 needs a vocabulary of at least 6 words, \
there are 5: lower min_count or negatives, or use negative_policy=any
    """

    window: int
    """largest distance of a context from its target; 0: all other words of the sentence"""
    negatives: int
    policy: str
    """one of POLICIES"""
    seed: int
    holdout: float = 0.0
    """share of the sentences that are kept back"""

    @classmethod
    def of(cls, options: Options) -> Sampling:
        return cls(options.window, options.negatives, options.negative_policy, options.seed, options.holdout)

    def check(self, vocabulary: int, is_listed: bool = False) -> None:
        """InputError if too few words can be drawn for the number and policy of negatives.

        Args:
          vocabulary: how many words can be drawn.
          is_listed: whether --vocabulary says which words there are. Then some of them may never be drawn.
        """
        needed = {"any": 1, "exclude_target": 2, "distinct": self.negatives + 1}[self.policy]
        if vocabulary < needed:
            there_are, remedy = "there are", "lower --min_count or --negatives, or use --negative_policy=any"
            if is_listed:
                there_are = "those of --vocabulary that occur, and have no count of 0, are"
                remedy = "list more words, lower --negatives, or use --negative_policy=any"
            raise InputError(
                f"--negative_policy={self.policy} with --negatives={self.negatives} needs a vocabulary of at least"
                f" {needed} words, {there_are} {vocabulary}: {remedy}"
            )


class Tables(NamedTuple):
    """The unigram distribution in integers, as kernels read it."""

    keep: np.ndarray
    """uint32 [V]: subsampling keeps a token whose random 32 bits are at most this"""
    packed: np.ndarray
    """uint64 [V]: columns of the alias table, alias << 32 | threshold"""
    weights: np.ndarray
    """int64 [V]: probabilities as integers, for exact draws by their running sums"""

    @classmethod
    def of(cls, unigram: UnigramDistribution) -> Tables:
        return cls(np.array(unigram.keep), unigram.packed(), unigram.weights())


def load_tables(records: Records, unigram: Artifact) -> Tables:
    """The tables of a unigram artefact, read once a process."""
    tables = _tables.get(unigram.digest)
    if tables is None:
        tables = Tables.of(UnigramDistribution.from_table(pq.read_table(pa.BufferReader(records.read(unigram)))))
        _tables.clear()  # one run at a time: hold one distribution
        _tables[unigram.digest] = tables
    return tables


def kept_back(positions: np.ndarray, share: float) -> np.ndarray:
    """bool [n]: which sentences are kept back from training, by the positions of their first tokens.

    A sentence is kept back if a hash of its position, as a share of 2^64, is below `share`. The hash is the finaliser
    of SplitMix64 (Steele, Lea and Flood 2014).
    """
    x = positions.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) < np.uint64(int(share * 2.0**64))


def without_kept_back(rows: pa.RecordBatch, sentences: np.ndarray, first_position: int, share: float) -> pa.RecordBatch:
    """The rows of the sentences that are trained on.

    Args:
      rows: of `generate_rows`, for these sentences.
      sentences: int64 [s+1], offsets of tokens.
      first_position: position in the corpus of the token at offset sentences[0].
    """
    begins = sentences[:-1] - sentences[0] + first_position
    sentence = np.searchsorted(begins, rows.column("position").to_numpy(), side="right") - 1
    # Sentences at one position (empty ones, and the one after them) are all kept back, or none: any of them will do.
    return rows.filter(pa.array(~kept_back(begins, share)[sentence]))
