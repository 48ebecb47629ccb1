"""Vectors in fewer bits: float16, or int8 with a scale for each vector."""

from __future__ import annotations

import numpy as np

from pipeline.errors import InputError

PRECISIONS = ("float32", "float16", "int8")
_LARGEST = 127
"""Symmetric: -128 is not used, so that a vector and its negative are written alike."""


def to_int8(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(int8 [n, dims], scales float32 [n]): vector i is about scales[i] * integers[i].

    The scale of a vector is its largest number, taken without its sign, by 127; numbers are rounded to the nearest, and
    a half to the even one. Cosines between two vectors are those of their integers.

    >>> to_int8(np.float32([[0.5, -1.0, 0.25], [0, 0, 0]]))
    (array([[  64, -127,   32],
           [   0,    0,    0]], dtype=int8), array([0.00787402, 0.        ], dtype=float32))
    """
    scales = (np.abs(vectors.astype(np.float64)).max(axis=1, initial=0.0) / _LARGEST).astype(np.float32)
    divisor = np.where(scales > 0, scales, 1).astype(np.float64)
    integers = np.clip(np.rint(vectors / divisor[:, None]), -_LARGEST, _LARGEST).astype(np.int8)
    return np.where(scales[:, None] > 0, integers, np.int8(0)), scales


def to_float16(vectors: np.ndarray) -> np.ndarray:
    """float16 [n, dims]; InputError if a number is too large for it."""
    with np.errstate(over="ignore"):
        halves = vectors.astype("<f2")
    if np.isinf(halves).any() and np.isfinite(vectors).all():
        raise InputError("--precision=float16 holds numbers up to 65,504, and some are larger: give --normalize too")
    return halves


def written_numbers(vectors: np.ndarray, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """(the numbers to write [n, dims], little-endian; for int8 their scales float32 [n], else an empty array)."""
    if precision == "int8":
        return to_int8(vectors)
    none = np.empty(0, np.float32)
    return (to_float16(vectors) if precision == "float16" else np.ascontiguousarray(vectors, "<f4")), none


def rounded(vectors: np.ndarray, precision: str) -> np.ndarray:
    """float32 [n, dims]: what a reader of the written vectors has."""
    if precision == "int8":
        integers, scales = to_int8(vectors)
        return integers * scales[:, None]
    return to_float16(vectors).astype(np.float32) if precision == "float16" else vectors
