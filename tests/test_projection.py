"""The map keeps neighbours together, and draws nothing at random."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.kernels.projection import pull_together, push_apart
from pipeline.projection import principal_plane, project


@pytest.fixture(scope="module")
def groups():
    """240 vectors in 6 directions, and the direction of each."""
    draw = np.random.default_rng(0)
    group = np.arange(240) % 6
    return (4 * draw.normal(size=(6, 30))[group] + draw.normal(size=(240, 30))).astype(np.float32), group


def test_groups_stay_together_and_apart_from_others(groups):
    vectors, group = groups
    points = project(vectors)
    distance = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :10]
    assert (group[nearest] == group[:, None]).mean() > 0.98
    assert points.std() == pytest.approx(1)
    np.testing.assert_array_equal(points, project(vectors))


def test_lengths_do_not_matter(groups):
    vectors, _ = groups
    np.testing.assert_allclose(principal_plane(vectors), principal_plane(vectors * 7), atol=1e-6)


def test_forces_are_those_of_the_definition():
    draw = np.random.default_rng(1)
    points = draw.normal(size=(9, 2))
    difference = points[:, None] - points[None]
    q = 1 / (1 + (difference**2).sum(axis=-1))
    np.fill_diagonal(q, 0)
    pushed, closeness = np.empty((2, 9), np.float32), np.empty(9, np.float32)
    push_apart(*np.ascontiguousarray(points.T, np.float32), *pushed, closeness)
    np.testing.assert_allclose(closeness - 1, q.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(pushed.T, (q[:, :, None] ** 2 * difference).sum(axis=1), rtol=1e-4, atol=1e-6)
    forces = np.empty_like(points)
    first, second = np.triu_indices(9, 1)
    weight = draw.random(len(first))
    matrix = np.zeros((9, 9))
    matrix[first, second] = matrix[second, first] = weight
    pull_together(points, first, second, weight, forces)
    np.testing.assert_allclose(forces, ((matrix * q)[:, :, None] * difference).sum(axis=1))


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (2, 4), (4, 1), (6, 1), (7, 3)])
def test_few_words_or_dims_still_have_a_place(shape):
    vectors = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    points = project(vectors, steps=30)
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all()
    assert np.isfinite(project(np.zeros(shape, np.float32), steps=30)).all()
