"""Small models."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.model.model import Model


def make_model(words: int = 20, dims: int = 3, seed: int = 0) -> Model:
    rng = np.random.default_rng(seed)
    padded = rng.standard_normal((2, words, dims + 13), dtype=np.float32)  # rows apart, as in training
    names = pa.array([f"wörd {i}" if i % 3 else "語" * i for i in range(words)], pa.string())
    return Model(names, rng.integers(1, 2**40, words), padded[0, :, :dims], padded[1, :, :dims])
