"""Projects vectors of many dimensions to the plane, by their principal components."""

from __future__ import annotations

import numpy as np

from pipeline.model.neighbors import unit_length


def principal_plane(vectors: np.ndarray) -> np.ndarray:
    """The directions of vectors, projected to the plane in which they differ most.

    The two directions of the largest variance, by an eigendecomposition of the covariance. An
    eigenvector may come with either sign; here its largest component is positive, so that a map is
    never a mirror image of another of the same vectors.

    Args:
      vectors: float [n, dims]; their lengths do not matter.

    Returns:
      float64 [n, 2], centred, of standard deviation 1 over both columns; 0 where all vectors
      have one direction, and in the second column where dims is 1.
    """
    unit = unit_length(np.asarray(vectors, np.float64))
    centred = unit - unit.mean(axis=0) if len(unit) else unit
    _, axes = np.linalg.eigh(centred.T @ centred)
    plane = axes[:, ::-1][:, :2]
    plane = plane * np.where(plane[np.abs(plane).argmax(axis=0), np.arange(plane.shape[1])] < 0, -1.0, 1.0)
    points = np.zeros((len(unit), 2))
    points[:, : plane.shape[1]] = centred @ plane
    spread = points.std() if len(points) else 0.0
    return points / spread if spread else points
