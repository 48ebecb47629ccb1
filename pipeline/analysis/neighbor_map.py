"""A map of words that keeps neighbours together: t-SNE, by scikit-learn, in a process of its own.

So neither the memory of the calling process nor its start pays for SciPy. Run as a file, this module is that process,
which needs NumPy and scikit-learn alone. (van der Maaten and Hinton 2008; van der Maaten 2014.)
"""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np

MOST_WORDS = 2000
"""Words of a map, which cost about 3 CPU seconds on a Zen 5, and 5 on a slow Xeon. One number for all: what fits a time
would differ each time."""
FEWEST_WORDS = 50
"""Below that many, principal components show as much."""
_STEPS = 350
"""Of gradient descent, 250 of them with exaggerated attraction. 1,000 take 2.5 times as long for the same map."""
_ANGLE = 0.8
"""How coarsely far points are summed up; 0.5 takes half as long again for the same trustworthiness."""
_SECONDS = 120
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1")


def is_possible() -> bool:
    """Whether scikit-learn is installed; it is not loaded."""
    return importlib.util.find_spec("sklearn") is not None


def neighbor_plane(
    vectors: np.ndarray, start: np.ndarray, on_failure: Callable[[str], None] = lambda why: None
) -> np.ndarray | None:
    """Places in the plane, such that vectors of a small angle lie close together.

    No random number is drawn, and one thread computes. So the same vectors have the same places on one machine with one
    version of scikit-learn; elsewhere they may differ.

    Args:
      vectors: float [n, dims]; their lengths do not matter.
      start: float [n, 2], where descent begins: their principal components.
      on_failure: gets the reason where the process fails.

    Returns:
      float64 [n, 2], centred, of standard deviation 1 over both columns. None where scikit-learn is not installed or
      fails, or where there are too few vectors or all have one direction.
    """
    if len(vectors) < FEWEST_WORDS or not start.any() or not is_possible():
        return None
    given = io.BytesIO()
    for array in (vectors, start):
        np.save(given, np.asarray(array, np.float64), allow_pickle=False)
    try:
        ended = subprocess.run(
            [sys.executable, "-P", __file__],
            input=given.getvalue(),
            capture_output=True,
            env={**os.environ, **_ONE_THREAD},
            timeout=_SECONDS,
            check=False,
        )
        if ended.returncode:
            said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
            raise ValueError(said[-1] if said else f"status {ended.returncode}")
        points = np.load(io.BytesIO(ended.stdout), allow_pickle=False)
        if points.shape != start.shape or not np.isfinite(points).all() or not points.std():
            raise ValueError("points without a place")
    except (ValueError, OSError, subprocess.TimeoutExpired) as error:
        on_failure(str(error))
        return None
    centred = points - points.mean(axis=0)
    return centred / centred.std()


def _main() -> None:
    """Reads two arrays from standard input, and writes the places to standard output."""
    from sklearn.manifold import TSNE

    given = io.BytesIO(sys.stdin.buffer.read())
    vectors, start = (np.load(given, allow_pickle=False) for _ in range(2))
    small = 1e-4 * start / start[:, 0].std()  # as scikit-learn scales its own start
    descent = TSNE(metric="cosine", init=small.astype(np.float32), max_iter=_STEPS, angle=_ANGLE, n_jobs=1)
    np.save(sys.stdout.buffer, descent.fit_transform(vectors).astype(np.float64), allow_pickle=False)


if __name__ == "__main__":
    _main()
