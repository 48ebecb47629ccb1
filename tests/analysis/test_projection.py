"""The map keeps apart what differs most, and is the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.analysis.projection import principal_plane


@pytest.fixture(scope="module")
def groups():
    """240 vectors in 3 directions, and the direction of each."""
    draw = np.random.default_rng(0)
    group = np.arange(240) % 3
    return (4 * draw.normal(size=(3, 30))[group] + draw.normal(size=(240, 30))).astype(np.float32), group


def test_groups_stay_together_and_apart_from_others(groups):
    vectors, group = groups
    points = principal_plane(vectors)
    distance = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :10]
    assert (group[nearest] == group[:, None]).all()
    assert points.std() == pytest.approx(1)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-12)
    assert points[:, 0].std() > points[:, 1].std()


def test_points_are_those_of_a_singular_value_decomposition(groups):
    vectors, _ = groups
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    left, scale, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    wanted = (left * scale)[:, :2]
    points = principal_plane(vectors)
    signs = np.sign((points * wanted).sum(axis=0))
    np.testing.assert_allclose(points, signs * wanted / wanted.std(), atol=1e-4)


def test_an_eigenvector_of_the_other_sign_gives_the_same_map(groups, monkeypatch):
    vectors, _ = groups
    points, eigh = principal_plane(vectors), np.linalg.eigh
    for signs in ([-1, -1], [1, -1], [-1, 1]):
        flips = np.append(np.ones(28), signs)
        monkeypatch.setattr(np.linalg, "eigh", lambda matrix, flips=flips: (None, eigh(matrix)[1] * flips))
        np.testing.assert_array_equal(principal_plane(vectors), points)


def test_lengths_do_not_matter(groups):
    vectors, _ = groups
    np.testing.assert_allclose(principal_plane(vectors), principal_plane(vectors * 7), atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (2, 4), (4, 1), (6, 1), (7, 3)])
def test_few_words_or_dims_still_have_a_place(shape):
    vectors = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    points = principal_plane(vectors)
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all()
    assert np.isfinite(principal_plane(np.zeros(shape, np.float32))).all()


def test_the_largest_component_of_each_direction_is_positive():
    points = principal_plane(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 0.5, 1], [0, 0.5, 1]]))
    assert points[0, 0] > points[1, 0]
    assert points[2, 1] > points[0, 1]
