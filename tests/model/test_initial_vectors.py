"""What vectors begin with."""

import numpy as np
import pytest

from pipeline.model.initial_vectors import initial_vectors


def test_initial_vectors_depend_on_word_and_seed_alone():
    vectors = initial_vectors(["of", "the", "naïve"], 7, seed=1)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(initial_vectors(["the"], 7, 1)[0], vectors[1])
    assert not np.array_equal(initial_vectors(["the"], 7, 2)[0], vectors[1])
    many = initial_vectors([f"w{i}" for i in range(2000)], 10, 1)
    assert 0.0999 < np.abs(many).max() <= 0.1
    assert abs(many.mean()) < 1e-3
    assert many.var() == pytest.approx(0.01 / 3, rel=0.02)
    short = initial_vectors(["the"], 3, 1)[0]  # dims only scale what is drawn
    np.testing.assert_allclose(short * 3, vectors[1][:3] * 7, rtol=1e-6)
