"""Points in the plane for vectors of many dimensions: t-SNE for a few thousand of them.

Van der Maaten and Hinton 2008, with neighbours alone pulling (van der Maaten 2014)
and the exact sum over all pairs pushing: 2,000 words take some half a second on one core.
"""

from __future__ import annotations

import numpy as np

from pipeline.arrays import unit_length
from pipeline.kernels.projection import pull_together, push_apart
from pipeline.neighbors import nearest

STEPS = 350
_EXAGGERATED = 100
"""Steps in which neighbours pull twelve times as hard, so that groups find together."""
_PERPLEXITY = 30.0


def project(vectors: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """A map on which vectors of a small angle lie near each other.

    Args:
      vectors: float [n, dims]; their lengths do not matter.

    Returns:
      float64 [n, 2], centred, of standard deviation 1. No random number is drawn: the
      start is the plane of the largest variance.
    """
    points = principal_plane(vectors)
    if len(points) < 5:
        return points
    first, second, weight = _affinities(vectors)
    points *= 1e-4
    moved, gains = np.zeros_like(points), np.ones_like(points)
    pushed, pulled = np.empty(points.T.shape, np.float32), np.empty_like(points)
    closeness = np.empty(len(points), np.float32)
    rate = max(len(points) / 12.0 / 4.0, 10.0)
    for step in range(steps):
        exaggerated = step < min(_EXAGGERATED, steps // 3)
        push_apart(*np.ascontiguousarray(points.T, np.float32), *pushed, closeness)
        total = closeness.sum(dtype=np.float64) - len(points)  # each is close to itself
        pull_together(points, first, second, weight, pulled)
        gradient = 4.0 * ((12.0 if exaggerated else 1.0) * pulled - pushed.T / total)
        agrees = np.sign(gradient) == np.sign(moved)
        gains = np.maximum(0.01, np.where(agrees, gains * 0.8, gains + 0.2))
        moved = (0.5 if exaggerated else 0.8) * moved - rate * gains * gradient
        points += moved
    return _standard(points)


def principal_plane(vectors: np.ndarray) -> np.ndarray:
    """float64 [n, 2]: directions of the vectors on the plane of their largest variance, standard deviation 1."""
    unit = unit_length(np.asarray(vectors, np.float64))
    centred = unit - unit.mean(axis=0) if len(unit) else unit
    _, axes = np.linalg.eigh(centred.T @ centred)
    plane = axes[:, ::-1][:, :2]
    plane = plane * np.where(plane[np.abs(plane).argmax(axis=0), np.arange(plane.shape[1])] < 0, -1.0, 1.0)
    points = np.zeros((len(unit), 2))
    points[:, : plane.shape[1]] = centred @ plane
    return _standard(points)


def _affinities(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first, second, weight) of neighbouring pairs, each once: how much each pulls; the weights sum to 1/2."""
    n = len(vectors)
    perplexity = min(_PERPLEXITY, (n - 1) / 3.0)
    count = min(n - 1, int(3 * perplexity))
    ids, cosine = nearest(np.asarray(vectors, np.float32), np.arange(n), count)
    weight = _of_perplexity(2.0 - 2.0 * cosine.astype(np.float64), perplexity)
    rows = np.repeat(np.arange(n), count)
    pairs = np.minimum(rows, ids.ravel()) * n + np.maximum(rows, ids.ravel())
    distinct, which = np.unique(pairs, return_inverse=True)
    return distinct // n, distinct % n, np.bincount(which, weight.ravel()) / (2.0 * n)


def _of_perplexity(distances: np.ndarray, perplexity: float) -> np.ndarray:
    """exp(-b * distance), each row summing to 1, b such that the row's entropy is log(perplexity); by bisection."""
    relative = distances - distances.min(axis=1, keepdims=True)
    low, high = np.zeros((len(distances), 1)), np.full((len(distances), 1), 1e6)
    for _ in range(60):
        b = np.sqrt((low + 1e-6) * high)
        weight = np.exp(-b * relative)
        share = weight / weight.sum(axis=1, keepdims=True)
        entropy = -(share * np.log(np.maximum(share, 1e-300))).sum(axis=1, keepdims=True)
        too_wide = entropy > np.log(perplexity)
        low, high = np.where(too_wide, b, low), np.where(too_wide, high, b)
    return share


def _standard(points: np.ndarray) -> np.ndarray:
    if not len(points):
        return points
    points = points - points.mean(axis=0)
    spread = points.std()
    return points / spread if spread else points
