"""How far the words of a model have moved from another one, of the same or of another run.

Vectors of two runs lie in spaces of their own, unless one run went on from the other (--start_from). `align` turns the
second space onto the first: orthogonal Procrustes over the vectors of the shared words, scaled to length 1 (Schönemann
1966; for words Hamilton et al. 2016, section 2.1).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.kernels.float_mode import default_float_mode
from pipeline.model.neighbors import nearest, unit_length
from pipeline.model.vectors import Vectors

BANDS = (100, 1_000, 10_000, 100_000)
"""Ends of the bands of frequency: shared words 1 to 100, 101 to 1,000 and so on."""
NEAREST = 10
"""Neighbours that are kept or not."""
SAMPLED = 1_000
"""Most words of a band whose neighbours are compared, evenly spaced: each is compared with all words."""
LISTED = 20
"""Words that are shown of those that moved most, are new or are gone."""
SHOWN_NEIGHBORS = 5
APART = 0.7
"""A mean cosine below this is rather of two spaces than of words that moved."""
_BLOCK = 65_536


@dataclasses.dataclass(frozen=True)
class Movement:
    """Shared words, the most frequent first, and how far each has moved."""

    before: Vectors
    """of the first model, the shared words alone"""
    after: Vectors
    """of the second, in the same order"""
    cosine: np.ndarray
    """float32 [n], of a word's two vectors"""
    kept: np.ndarray
    """float32 [n], the share of a word's nearest shared words that are nearest in both; NaN where not compared"""
    aligned: bool
    """whether the second was turned onto the first"""
    new: list[tuple[str, int]]
    """(word, count) of the words that only the second has, the most frequent first"""
    gone: list[tuple[str, int]]
    """of those that only the first has"""


@default_float_mode()
def movement(before: Vectors, after: Vectors, align: bool | None = False) -> Movement:
    """Compares the words that both models have.

    Args:
      align: turn the vectors of the second model onto those of the first; None: if they lie APART.

    Raises:
      InputError: the vectors have other lengths, or too few words are shared.
    """
    if before.vectors.shape[1] != after.vectors.shape[1]:
        dims = before.vectors.shape[1], after.vectors.shape[1]
        raise InputError(f"vectors of {dims[0]} and of {dims[1]} dims cannot be compared word by word")
    places = pc.index_in(after.words, value_set=before.words)
    second = np.flatnonzero(places.is_valid().to_numpy(zero_copy_only=False))
    first = places.drop_null().to_numpy()
    if len(first) < NEAREST + 2:
        raise InputError(f"the models share {len(first):,} words, {NEAREST + 2} are needed to compare them")
    order = np.argsort(-after.counts[second], kind="stable")
    first, second = first[order], second[order]
    a, b = _rows(before, first), _rows(after, second)
    cosine, kept = _cosines(a.vectors, b.vectors), np.full(len(first), np.nan, np.float32)
    if align is None:
        align = float(cosine.mean()) < APART
    if align:
        b = dataclasses.replace(b, vectors=aligned(a.vectors, b.vectors))
        cosine = _cosines(a.vectors, b.vectors)
    sample = np.unique(np.concatenate([_sample(begin, end) for begin, end in bands(len(first))]))
    near = [nearest(vectors, sample, NEAREST)[0] for vectors in (a.vectors, b.vectors)]
    kept[sample] = [len(set(one) & set(other)) / NEAREST for one, other in zip(*(ids.tolist() for ids in near))]
    return Movement(a, b, cosine, kept, align, _only(after, second), _only(before, first))


def aligned(target: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The vectors turned so that they are nearest to the target, row by row; no length or angle among them changes.

    R = U V^T, where U S V^T = vectors^T target, of rows scaled to length 1: the orthogonal matrix that makes
    |vectors R - target| least.

    Args:
      target, vectors: float32 [n, dims].
    """
    product = np.zeros((vectors.shape[1],) * 2)
    for begin in range(0, len(vectors), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        product += unit_length(vectors[rows].astype(np.float64)).T @ unit_length(target[rows].astype(np.float64))
    u, _, v = np.linalg.svd(product)
    return (vectors @ (u @ v)).astype(np.float32)


def bands(words: int) -> list[tuple[int, int]]:
    """(first row, row behind the last) of each band of frequency."""
    edges = [0, *(edge for edge in BANDS if edge < words), words]
    return list(zip(edges, edges[1:]))


def described(moved: Movement) -> dict[str, Any]:
    """The comparison as JSON values."""
    return {
        "aligned": moved.aligned,
        "shared": len(moved.cosine),
        "cosine": _mean(moved.cosine),
        "neighbors_kept": _mean(moved.kept),
        "bands": [_band(moved, begin, end) for begin, end in bands(len(moved.cosine))],
        "moved_most": _moved_most(moved),
        "new": {"words": len(moved.new), "most_frequent": moved.new[:LISTED]},
        "gone": {"words": len(moved.gone), "most_frequent": moved.gone[:LISTED]},
    }


def table(moved: Movement) -> pa.Table:
    """A row for each shared word, the most frequent of the second model first."""
    kept = pa.array(moved.kept, mask=np.isnan(moved.kept))
    columns = {
        "word": moved.after.words,
        "count_before": moved.before.counts,
        "count_after": moved.after.counts,
        "cosine": moved.cosine,
        "neighbors_kept": kept,
    }
    return pa.table(columns)


def _band(moved: Movement, begin: int, end: int) -> dict[str, Any]:
    cosine = moved.cosine[begin:end]
    low, middle, high = (round(float(value), 4) for value in np.quantile(cosine, [0.1, 0.5, 0.9]))
    return {
        "first": begin + 1,
        "last": end,
        "cosine": _mean(cosine),
        "quantiles": [low, middle, high],
        "neighbors_kept": _mean(moved.kept[begin:end]),
    }


def _moved_most(moved: Movement) -> list[dict[str, Any]]:
    """The words with the lowest cosines among the first 10,000, with their neighbours in both."""
    rows = np.argsort(moved.cosine[: BANDS[2]], kind="stable")[:LISTED]
    sides = [known.neighbors(rows.tolist(), SHOWN_NEIGHBORS) for known in (moved.before, moved.after)]
    return [
        {
            "word": moved.after.words[int(row)].as_py(),
            "cosine": round(float(moved.cosine[row]), 4),
            "before": [word for word, _ in before],
            "after": [word for word, _ in after],
        }
        for row, before, after in zip(rows, *sides)
    ]


def _rows(known: Vectors, rows: np.ndarray) -> Vectors:
    return Vectors(known.words.take(pa.array(rows)), known.vectors[rows], known.counts[rows])


def _only(known: Vectors, shared: np.ndarray) -> list[tuple[str, int]]:
    """(word, count) of the words that are not shared, the most frequent first."""
    rows = np.setdiff1d(np.arange(len(known.words)), shared)
    rows = rows[np.argsort(-known.counts[rows], kind="stable")]
    return [(known.words[int(row)].as_py(), int(known.counts[row])) for row in rows]


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """float32 [n]: of the rows, in blocks."""
    found = np.empty(len(a), np.float32)
    for begin in range(0, len(a), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        found[rows] = (unit_length(a[rows]) * unit_length(b[rows])).sum(axis=1)
    return found


def _sample(begin: int, end: int) -> np.ndarray:
    return np.unique(np.linspace(begin, end - 1, min(SAMPLED, end - begin)).astype(np.int64))


def _mean(values: np.ndarray) -> float:
    return round(float(np.nanmean(values)), 4)
