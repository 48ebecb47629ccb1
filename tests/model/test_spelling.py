"""Known words near a word that is not."""

from __future__ import annotations

import pytest

from pipeline.model.spelling import edit_distances, suggestions


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [("", "ab", 2), ("paris", "paris", 0), ("pairs", "paris", 1), ("kitten", "sitting", 3), ("ab", "ba", 1)],
)
def test_edit_distances(a, b, edits):
    assert edit_distances(a, [b, "x", b + "zz"])[0] == edits


def test_suggestions_are_near_and_the_frequent_first():
    words = ["the", "Paris", "pairs", "parish", "Parisian", "london", "berlin"]
    assert suggestions("pariss", words) == ["Paris", "parish", "pairs"]
    assert suggestions("lodnon", words) == ["london"]
    assert suggestions("qqqqqq", words) == []
    assert suggestions("", words) == suggestions("x", []) == []
