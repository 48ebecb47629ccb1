"""Nearest words by the cosine of their vectors, in blocks, on NumPy or CuPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.layers import Array, array_module, to_host

QUERY_BLOCK = 256
"""Rows that are compared at a time ..."""
OTHERS_BLOCK = 4096
"""... with this many others: 4 MiB of float32 similarities, whatever the vocabulary."""


def nearest(vectors: Array, rows: Array, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k vectors that are most similar to each of some rows by cosine, without the row itself.

    >>> vectors = np.float32([[1, 0], [2, 0.1], [0, 1], [-1, 0]])
    >>> ids, cosines = nearest(vectors, np.array([0]), k=2)
    >>> ids, cosines.round(4)
    (array([[1, 2]]), array([[0.9988, 0.    ]], dtype=float32))

    Args:
      vectors: float [V, dims], finite. A vector of zeros has similarity 0 to all.
      rows: int [n], the rows whose neighbours are wanted.
      k: how many neighbours; all others if there are fewer.

    Returns:
      int64 [n, k], rows in order of falling similarity, the lower row first where it is equal; and their cosines,
      floating [n, k]. Both in the memory of the CPU.
    """
    rows = to_host(rows).astype(np.int64).ravel()
    k = max(0, min(k, len(vectors) - 1))
    if not len(rows) or not k:
        return np.empty((len(rows), k), np.int64), np.empty((len(rows), k), vectors.dtype)
    blocks = [_nearest_block(vectors, rows[i : i + QUERY_BLOCK], k) for i in range(0, len(rows), QUERY_BLOCK)]
    ids, cosines = zip(*blocks)
    return np.concatenate(ids), np.concatenate(cosines)


def _nearest_block(vectors: Array, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """`nearest` for a few rows: goes through the vectors in blocks, and keeps the best k so far."""
    xp = array_module(vectors)
    queries = xp.asarray(rows)
    unit_queries = unit_length(vectors[queries])
    best_ids = xp.zeros((len(rows), 0), xp.int64)
    best = xp.zeros((len(rows), 0), vectors.dtype)
    for start in range(0, len(vectors), OTHERS_BLOCK):
        block = vectors[start : start + OTHERS_BLOCK]
        ids = xp.arange(start, start + len(block))
        cosine = unit_queries @ unit_length(block).T
        cosine = xp.where(ids == queries[:, None], -xp.inf, cosine)
        best = xp.concatenate([best, cosine], axis=1)
        best_ids = xp.concatenate([best_ids, xp.broadcast_to(ids, cosine.shape)], axis=1)
        if best.shape[1] > k:
            columns = _largest(best, k)
            best = xp.take_along_axis(best, columns, axis=1)
            best_ids = xp.take_along_axis(best_ids, columns, axis=1)
    order = xp.argsort(-best, axis=1, kind="stable")
    return (to_host(xp.take_along_axis(best_ids, order, axis=1)), to_host(xp.take_along_axis(best, order, axis=1)))


def _largest(values: Array, k: int) -> Array:
    """Columns of the k largest values of each row, in ascending order; of equal values the first ones."""
    xp = array_module(values)
    edge = -xp.partition(-values, k - 1, axis=1)[:, k - 1 : k]
    chosen = values >= edge
    if int(chosen.sum()) > k * len(values):  # several equal the k-th largest: take the first of them
        above, equal = values > edge, values == edge
        room = k - above.sum(axis=1, keepdims=True)
        chosen = above | (equal & (xp.cumsum(equal, axis=1) <= room))
    return xp.nonzero(chosen)[1].reshape(len(values), k)


def unit_length(vectors: Any) -> Any:
    """Vectors [n, dims] scaled to length 1, of the same type; vectors of zeros stay zeros."""
    xp = array_module(vectors)
    length = xp.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return vectors / xp.where(length == 0, 1, length).astype(vectors.dtype)
