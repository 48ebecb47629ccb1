"""Nearest words, against the plain definition."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.model import neighbors


def naive(vectors: np.ndarray, row: int, k: int) -> tuple[list[int], list[float]]:
    lengths = np.sqrt((vectors.astype(float) ** 2).sum(axis=1))
    lengths[lengths == 0] = 1
    cosine = (vectors / lengths[:, None]) @ (vectors[row] / lengths[row])
    others = sorted((i for i in range(len(vectors)) if i != row), key=lambda i: (-cosine[i], i))[:k]
    return others, [cosine[i] for i in others]


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_nearest_is_the_plain_definition_whatever_the_blocks(block, monkeypatch):
    monkeypatch.setattr(neighbors, "QUERY_BLOCK", max(1, block // 3))
    monkeypatch.setattr(neighbors, "OTHERS_BLOCK", block)
    vectors = np.random.default_rng(1).normal(size=(200, 8)).astype(np.float32)
    rows = np.array([0, 199, 17, 0])
    ids, cosines = neighbors.nearest(vectors, rows, 10)
    assert ids.dtype == np.int64
    assert cosines.dtype == np.float32
    for row, found, cosine in zip(rows, ids, cosines):
        wanted, values = naive(vectors, row, 10)
        assert found.tolist() == wanted
        np.testing.assert_allclose(cosine, values, atol=1e-6)


@pytest.mark.parametrize("block", [2, 3, 100])
def test_equal_similarities_come_in_order_of_rows(block, monkeypatch):
    monkeypatch.setattr(neighbors, "OTHERS_BLOCK", block)
    vectors = np.array([[0, 1], [1, 0], [0, 2], [-1, 0], [3, 0], [0, 4], [0, 0]], np.float32)
    ids, cosines = neighbors.nearest(vectors, np.array([5, 6]), 4)
    assert ids.tolist() == [[0, 2, 1, 3], [0, 1, 2, 3]]
    assert cosines.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]


def test_fewer_words_than_neighbours_asked_for():
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    ids, cosines = neighbors.nearest(vectors, [0], 10)
    assert ids.tolist() == [[1, 2]]
    assert cosines.tolist() == [[0, -1]]
    assert neighbors.nearest(vectors[:1], [0], 10)[0].shape == (1, 0)
    assert neighbors.nearest(vectors, [], 2)[0].shape == (0, 2)
    assert neighbors.nearest(vectors, [0], 0)[0].shape == (1, 0)
