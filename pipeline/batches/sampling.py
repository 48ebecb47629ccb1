"""How rows are drawn: by which window, negatives and seed, from which tables; and which sentences are kept back."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.kernels import generate as kernels
from pipeline.options import Options
from pipeline.storage.records import Artifact, Records
from pipeline.words.unigram import UnigramDistribution

POLICIES = {"any": kernels.ANY, "exclude_target": kernels.EXCLUDE_TARGET, "distinct": kernels.DISTINCT}
_tables: dict[str, Tables] = {}


@dataclasses.dataclass(frozen=True)
class Sampling:
    """What rows depend on besides tokens and unigram distribution."""

    window: int
    negatives: int
    policy: str
    seed: int
    holdout: float = 0.0

    @classmethod
    def of(cls, options: Options) -> Sampling:
        return cls(options.window, options.negatives, options.negative_policy, options.seed, options.holdout)

    def check(self, vocabulary: int) -> None:
        """InputError when the vocabulary is too small for the negatives that the policy wants."""
        needed = {"any": 1, "exclude_target": 2, "distinct": self.negatives + 1}[self.policy]
        if vocabulary < needed:
            raise InputError(
                f"--negative_policy={self.policy} with --negatives={self.negatives} needs a vocabulary of at least"
                f" {needed} words, there are {vocabulary}: lower --min_count or --negatives, or use"
                f" --negative_policy=any"
            )


class Tables(NamedTuple):
    """The unigram distribution in integers, as kernels read it."""

    keep: np.ndarray
    """uint32 [V]: subsampling keeps a token whose random 32 bits are at most this"""
    packed: np.ndarray
    """uint64 [V]: columns of the alias table, alias << 32 | threshold"""
    weights: np.ndarray
    """int64 [V]: what the alias table is made of"""

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
    """bool [n]: which sentences are kept back, by the positions of their first tokens.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014) of the position, as a part of 2^64.
    """
    x = positions.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) < np.uint64(int(share * 2.0**64))


def without_kept_back(rows: pa.RecordBatch, sentences: np.ndarray, first_position: int, share: float) -> pa.RecordBatch:
    """The rows of the sentences that are trained on.

    Args:
      rows: of `batches.generate_rows`, for these sentences.
      sentences: int64 [s+1], offsets of tokens.
      first_position: position in the corpus of the token at offset sentences[0].
    """
    begins = sentences[:-1] - sentences[0] + first_position
    sentence = np.searchsorted(begins, rows.column("position").to_numpy(), side="right") - 1
    # Of empty sentences at one position the last is found: all of them are kept back, or none.
    return rows.filter(pa.array(~kept_back(begins, share)[sentence]))
