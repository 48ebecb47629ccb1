"""The slow part of t-SNE: all pairs of points push each other apart."""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compile import kernel


@kernel(allocates=False)
def push_apart(points: np.ndarray, forces: np.ndarray) -> float:
    """Adds up, for each point, q^2 * (its distance vector) over all others, q = 1 / (1 + distance^2).

    Args:
      points: float64 [n, 2].
      forces: float64 [n, 2], written.

    Returns:
      The sum of q over all ordered pairs.
    """
    n = points.shape[0]
    total = 0.0
    forces[:] = 0.0
    for i in range(n):
        x, y, at_x, at_y = points[i, 0], points[i, 1], 0.0, 0.0
        for j in range(i):
            dx, dy = x - points[j, 0], y - points[j, 1]
            q = 1.0 / (1.0 + dx * dx + dy * dy)
            total += q
            fx, fy = q * q * dx, q * q * dy
            at_x += fx
            at_y += fy
            forces[j, 0] -= fx
            forces[j, 1] -= fy
        forces[i, 0] += at_x
        forces[i, 1] += at_y
    return 2.0 * total


@kernel(allocates=False)
def pull_together(
    points: np.ndarray, first: np.ndarray, second: np.ndarray, weight: np.ndarray, forces: np.ndarray
) -> None:
    """Adds up weight * q * (distance vector) over pairs of neighbours, for both of their points.

    Args:
      points: float64 [n, 2].
      first, second: int64 [m], the pairs, each once; weight: float64 [m].
      forces: float64 [n, 2], written.
    """
    forces[:] = 0.0
    for pair in range(first.size):
        i, j = first[pair], second[pair]
        dx, dy = points[i, 0] - points[j, 0], points[i, 1] - points[j, 1]
        pull = weight[pair] / (1.0 + dx * dx + dy * dy)
        forces[i, 0] += pull * dx
        forces[i, 1] += pull * dy
        forces[j, 0] -= pull * dx
        forces[j, 1] -= pull * dy
