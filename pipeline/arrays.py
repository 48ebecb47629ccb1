"""NumPy or CuPy, taken from the arrays at hand: code that uses this runs on either unchanged."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np


def array_module(*arrays: Any) -> ModuleType:
    """CuPy when one of `arrays` lives on a GPU, else NumPy."""
    for array in arrays:
        if type(array).__module__.partition(".")[0] == "cupy":
            import cupy

            return cupy
    return np


def to_host(array: Any) -> np.ndarray:
    """The array in the memory of the CPU; a NumPy array is returned as it is."""
    return np.asarray(array) if array_module(array) is np else array.get()


def unit_length(vectors: Any) -> Any:
    """Vectors [n, dims] of length 1, zeros left as they are; of the same type."""
    xp = array_module(vectors)
    length = xp.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return vectors / xp.where(length == 0, 1, length).astype(vectors.dtype)


def add_rows(table: Any, index: Any, rows: Any) -> None:
    """table[index[i]] += rows[i] for every i: rows named several times add up, as += would not."""
    if array_module(table) is np:
        np.add.at(table, index, rows)
    else:
        import cupyx

        cupyx.scatter_add(table, index, rows)
