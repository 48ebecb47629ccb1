"""Vectors in fewer bits: how near they stay, and what cannot be written."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.analysis.precision import rounded, to_float16, to_int8, written_numbers
from pipeline.errors import InputError
from pipeline.model.neighbors import unit_length

VECTORS = np.random.default_rng(0).normal(size=(500, 40)).astype(np.float32) * np.logspace(-6, 3, 500)[:, None]


def test_int8_is_off_by_half_a_step_at_most_and_uses_all_of_it():
    vectors = VECTORS.astype(np.float32)
    integers, scales = to_int8(vectors)
    assert (integers.dtype, scales.dtype) == (np.int8, np.float32)
    assert (np.abs(integers.astype(int)).max(axis=1) == 127).all()
    error = np.abs(vectors - integers.astype(np.float64) * scales[:, None])
    assert (error <= 0.5001 * scales[:, None]).all()
    negative, same_scales = to_int8(-vectors)
    np.testing.assert_array_equal(negative, -integers)
    np.testing.assert_array_equal(same_scales, scales)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_cosines_stay(precision):
    vectors = (VECTORS / VECTORS.std(axis=1, keepdims=True)).astype(np.float32)
    before, after = unit_length(vectors), unit_length(rounded(vectors, precision))
    assert ((before * after).sum(axis=1) > 0.9998).all()
    np.testing.assert_array_equal(rounded(vectors, "float32"), vectors)


def test_zeros_and_the_smallest_numbers_are_no_trouble():
    vectors = np.float32([[0, 0], [1e-45, 0], [-1e-45, 3e38], [-3e38, 3e38]])
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        integers, scales = to_int8(vectors)
    assert integers.tolist() == [[0, 0], [0, 0], [0, 127], [-127, 127]]
    assert np.isfinite(scales).all()
    assert to_int8(np.empty((0, 3), np.float32))[0].shape == (0, 3)


def test_what_float16_cannot_hold_is_refused():
    assert to_float16(np.float32([[65504, 1e-9]])).tolist() == [[65504, 0]]
    with pytest.raises(InputError, match="up to 65,504, and some are larger: give --normalize too"):
        to_float16(np.float32([[65536]]))


def test_numbers_are_written_with_the_small_end_first():
    for precision, kind in (("float32", "<f4"), ("float16", "<f2"), ("int8", "|i1")):
        assert written_numbers(VECTORS.astype(np.float32), precision)[0].dtype == np.dtype(kind)
