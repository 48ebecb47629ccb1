"""How rows are drawn: window, negatives, seed and tables."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.kernels.negatives import ANY, DISTINCT, EXCLUDE_TARGET
from pipeline.options import Options
from pipeline.words.unigram import UnigramDistribution

if TYPE_CHECKING:  # rows are made, and trained on, where nothing is stored (benchmarks/first_device.py)
    from pipeline.storage.records import Artifact, Records

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
    """the key of the draws: --seed, or in a run with --update a hash of it and the parent's digest"""

    @classmethod
    def of(cls, options: Options, parent: str = "") -> Sampling:
        """What the options say; `parent` is the model digest of the run that is updated, or ""."""
        seed = draws_key(options.seed, parent) if parent else options.seed
        return cls(options.window, options.negatives, options.negative_policy, seed)

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


def draws_key(seed: int, parent: str) -> int:
    """The key of all draws of a run with --update, so that no generation repeats the draws of another.

    BLAKE2b with a digest of 8 bytes, as a little-endian integer, of b"generation", the seed (uint64, little-endian)
    and the model digest of the parent (hex, as 32 bytes).
    """
    data = b"generation" + seed.to_bytes(8, "little") + bytes.fromhex(parent)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
