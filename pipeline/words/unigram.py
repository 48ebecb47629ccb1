"""The unigram distribution: what negatives are drawn from, and which tokens subsampling keeps.

It is computed once, from the counts alone, and turned into integers. Draws later compare integers, so every machine and
device draws the same. No transcendental function of NumPy or libm is used, because their last bits differ.
"""

from __future__ import annotations

import dataclasses
import decimal
import math

import numpy as np
import pyarrow as pa

from pipeline.errors import ArtifactError, InputError
from pipeline.kernels.alias import fill_alias_table
from pipeline.kernels.float_mode import default_float_mode

_ARITHMETIC = decimal.Context(prec=34, rounding=decimal.ROUND_HALF_EVEN)
_ALWAYS = 2**32 - 1
_SCHEMA = pa.schema(
    [
        pa.field("probability", pa.float64(), nullable=False),
        pa.field("threshold", pa.uint32(), nullable=False),
        pa.field("alias", pa.int32(), nullable=False),
        pa.field("keep", pa.uint32(), nullable=False),
    ]
)


@dataclasses.dataclass(frozen=True)
class UnigramDistribution:
    """The noise of negative sampling and the law of subsampling; row i is word i.

    >>> noise = build(np.array([70, 29, 1]), power=0.75, subsample=0)
    >>> noise.probability.round(4)
    array([0.642 , 0.3315, 0.0265])
    >>> noise.alias  # words 1 and 2 leave room in their columns, which word 0 fills
    array([0, 0, 0], dtype=int32)

    Attributes:
      probability: float64 [V], count**power, normalised to sum 1.
      threshold: uint32 [V], alias table: a random 32-bit x selects column i = (x V) >> 32, which gives word i if a
        second random 32-bit y < threshold[i], else word alias[i].
      alias: int32 [V].
      keep: uint32 [V], a token of word i is kept if a random 32-bit r <= keep[i].
    """

    probability: np.ndarray
    threshold: np.ndarray
    alias: np.ndarray
    keep: np.ndarray

    def packed(self) -> np.ndarray:
        """uint64 [V], alias << 32 | threshold, so that a draw takes one memory access."""
        return self.alias.astype(np.uint64) << np.uint64(32) | self.threshold

    def weights(self) -> np.ndarray:
        """int64 [V], about probability * 2^48, for exact draws by running sums; 0 only where the probability is 0."""
        weights = np.maximum(1, np.floor(self.probability * 2.0**48).astype(np.int64))
        return np.where(self.probability > 0, weights, 0)

    def to_table(self) -> pa.Table:
        """The artefact: one row for each word, in the order of the vocabulary."""
        columns = [getattr(self, field.name) for field in _SCHEMA]
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, _SCHEMA)], schema=_SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table) -> UnigramDistribution:
        """The distribution that `to_table` wrote; ArtifactError if it is another table."""
        columns = {field.name: field.type for field in table.schema}
        expected = {field.name: field.type for field in _SCHEMA}
        if columns != expected or any(column.null_count for column in table.columns):
            raise ArtifactError(
                f"not a unigram distribution: its columns are {', '.join(columns) or 'none'}; "
                f"they should be {', '.join(expected)}, without nulls"
            )
        return cls(**{name: table.column(name).combine_chunks().to_numpy() for name in expected})


def build(counts: np.ndarray, power: float, subsample: float, occurs: np.ndarray | None = None) -> UnigramDistribution:
    """The distribution of a vocabulary.

    Args:
      counts: int64 [V], occurrences of each word; not all 0.
      power: exponent of the noise distribution.
      subsample: frequency above which words are thinned out; 0 keeps all.
      occurs: bool [V], which words may be drawn; by default those whose count is not 0.

    Raises:
      InputError: there is no word.
    """
    probability = powered_distribution(counts if occurs is None else np.where(occurs, counts, 0), power)
    threshold, alias = alias_table(probability)
    return UnigramDistribution(probability, threshold, alias, keep_thresholds(counts, subsample))


@default_float_mode()
def powered_distribution(counts: np.ndarray, power: float = 0.75) -> np.ndarray:
    """Unigram distribution raised to a power, the noise of negative sampling.

    p_i = count_i**power / sum_j count_j**power   (Mikolov et al. 2013, section 2.2)

    Powers are taken in decimal arithmetic, once for each distinct count (a corpus of n tokens has fewer than sqrt(2 n)
    of them), and rounded once to float64. A word with count 0 has probability 0 at any power.

    >>> powered_distribution(np.array([1000, 1010, 10])).round(8)
    array([0.4904092 , 0.49408269, 0.0155081 ])

    Args:
      counts: int64 [V], occurrences of each word; not all 0.
      power: 1 keeps the distribution, 0 makes it uniform; 0.75 favours rare words; below 0 rare words are the most
        probable (Caselles-Dupré et al. 2018, for items in place of words).

    Returns:
      float64 [V], sums to 1.

    Raises:
      InputError: there is no word.
    """
    counts = _checked(counts)
    distinct, which, times = np.unique(counts, return_inverse=True, return_counts=True)
    exponent = decimal.Decimal(repr(float(power)))  # 0.7 means seven tenths, not the float beside it
    powered = np.array([float(_ARITHMETIC.power(int(count), exponent)) if count else 0.0 for count in distinct])
    return powered[which] / math.fsum(powered * times)


@default_float_mode()
def alias_table(probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(threshold uint32 [V], alias int32 [V]) for draws in constant time (Walker 1977, Vose 1991).

    First the probabilities become integers in units of 1 / (V 2^32), rounded down; the most probable word gets the rest
    (at most 2^-32). From there on the table is exact.

    Args:
      probability: float64 [V], sums to 1 but for rounding; V < 2^31.
    """
    total = probability.size << 32
    weight = np.floor(probability * float(total)).astype(np.int64)
    weight[np.argmax(probability)] += total - int(weight.sum())
    threshold = np.empty(probability.size, np.uint32)
    alias = np.empty(probability.size, np.int32)
    fill_alias_table(weight, threshold, alias)
    return threshold, alias


@default_float_mode()
def keep_thresholds(counts: np.ndarray, subsample: float) -> np.ndarray:
    """Subsampling as uint32 [V]: a token is kept if a random 32-bit number is at most this.

    A token of a word that occurs c times among n tokens is kept with probability (sqrt(c / (t n)) + 1) t n / c, where
    t = `subsample`, as in word2vec.c; always if that is above 1, or t or c is 0.
    """
    counts = _checked(counts)
    if not subsample:
        return np.full(counts.size, _ALWAYS, np.uint32)
    allowance = subsample * float(counts.sum())
    positive = np.maximum(counts, 1)
    share = np.where(counts > 0, (np.sqrt(positive / allowance) + 1.0) * allowance / positive, 1.0)
    return np.minimum(np.floor(share * 2.0**32), float(_ALWAYS)).astype(np.uint32)


def kept_share(counts: np.ndarray, subsample: float) -> float:
    """The share of the tokens that subsampling is expected to keep.

    >>> kept_share(np.array([98, 1, 1]), subsample=0), round(kept_share(np.array([98, 1, 1]), subsample=0.01), 2)
    (1.0, 0.13)
    """
    kept = (keep_thresholds(counts, subsample) + 1.0) / 2.0**32
    return float(kept @ counts) / float(counts.sum())


def _checked(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts, np.int64)
    if not counts.size:
        raise InputError("the vocabulary has no words, so there is no unigram distribution")
    if counts.min() < 0 or not counts.any():
        raise ValueError("counts must be 0 or more, and one of them positive")
    return counts
