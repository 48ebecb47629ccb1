"""The slow part of t-SNE: all pairs of points push each other apart."""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compile import kernel


@kernel(allocates=False)
def push_apart(
    x: np.ndarray, y: np.ndarray, force_x: np.ndarray, force_y: np.ndarray, closeness: np.ndarray
) -> None:
    """Adds up, for each point, q = 1 / (1 + distance^2) and q^2 * (its distance vector) over all points.

    The inner loop adds to as many sums as there are points, so that it runs in vectors without
    another order of additions. A point adds 1 to its own closeness, and no force.

    Args:
      x, y: float32 [n], contiguous.
      force_x, force_y: float32 [n], written.
      closeness: float32 [n], written: the sums of q.
    """
    one = np.float32(1)
    force_x[:], force_y[:], closeness[:] = np.float32(0), np.float32(0), np.float32(0)
    for other in range(x.size):
        other_x, other_y = x[other], y[other]
        for i in range(x.size):
            dx, dy = x[i] - other_x, y[i] - other_y
            q = one / (one + dx * dx + dy * dy)
            closeness[i] += q
            force_x[i] += q * q * dx
            force_y[i] += q * q * dy


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
