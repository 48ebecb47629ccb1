"""The map keeps neighbours together, is the same every time, and costs the process that asks for it nothing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pipeline.analysis import neighbor_map
from pipeline.analysis.neighbor_map import FEWEST_WORDS, neighbor_plane
from pipeline.analysis.projection import principal_plane
from tests.helpers.commands import ROOT
from tests.helpers.maps import maps_of_neighbors


@pytest.fixture(scope="module", autouse=True)
def possible():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    with maps_of_neighbors():
        yield


@pytest.fixture(scope="module")
def vectors():
    """300 vectors in 30 groups, of which a plane of components shows two directions alone."""
    draw = np.random.default_rng(0)
    return (2 * draw.normal(size=(30, 40))[np.arange(300) % 30] + draw.normal(size=(300, 40))).astype(np.float32)


def share_of_own_group(points):
    distance = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :5]
    return (nearest % 30 == np.arange(300)[:, None] % 30).mean()


def test_groups_are_together_and_the_second_map_is_the_first(vectors):
    start = principal_plane(vectors)
    points = neighbor_plane(vectors, start)
    assert share_of_own_group(start) < 0.5
    assert share_of_own_group(points) > 0.95
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-12)
    assert points.std() == pytest.approx(1)
    np.testing.assert_array_equal(neighbor_plane(4 * vectors, start), points)


def test_few_words_and_words_of_one_direction_have_no_map_of_neighbors(vectors):
    few = vectors[: FEWEST_WORDS - 1]
    assert neighbor_plane(few, principal_plane(few)) is None
    same = np.ones((80, 4), np.float32)
    assert neighbor_plane(same, np.zeros((80, 2))) is None


def test_a_failure_is_told_in_one_line(vectors, tmp_path, monkeypatch):
    """A module of the name that stands before the library on the path."""
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "__init__.py").write_text("raise ImportError('libgomp.so.1 is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told = []
    assert neighbor_plane(vectors, principal_plane(vectors), told.append) is None
    assert told == ["ImportError: libgomp.so.1 is missing"]


def test_without_the_library_there_is_none(vectors, monkeypatch):
    monkeypatch.setattr(neighbor_map.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(neighbor_map.subprocess, "run", None)  # is not called
    assert neighbor_plane(vectors, principal_plane(vectors)) is None


def test_the_process_that_asks_loads_neither_scipy_nor_scikit_learn():
    code = """
import numpy as np, sys
from pipeline.analysis.neighbor_map import neighbor_plane
vectors = np.random.default_rng(0).normal(size=(60, 8))
assert neighbor_plane(vectors, vectors[:, :2]).shape == (60, 2)
print([name for name in sys.modules if name.split('.')[0] in ('sklearn', 'scipy')])
"""
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
