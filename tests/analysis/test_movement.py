"""How far words have moved from one model to another."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.analysis.movement import BANDS, aligned, bands, described, movement, table
from pipeline.errors import InputError
from pipeline.model.vectors import Vectors

RNG = np.random.default_rng(0)


def model(words: list[str], vectors: np.ndarray) -> Vectors:
    return Vectors(pa.array(words), vectors.astype(np.float32), np.arange(len(words), 0, -1))


WORDS = [f"w{i}" for i in range(300)]
FIRST = RNG.standard_normal((300, 8))


def rotation(dims: int) -> np.ndarray:
    return np.linalg.qr(RNG.standard_normal((dims, dims)))[0]


def test_a_model_is_where_it_was():
    moved = movement(model(WORDS, FIRST), model(WORDS, FIRST))
    told = described(moved)
    assert (told["shared"], told["cosine"], told["neighbors_kept"]) == (300, 1.0, 1.0)
    assert [(band["first"], band["last"]) for band in told["bands"]] == [(1, 100), (101, 300)]
    assert told["new"]["words"] == told["gone"]["words"] == 0


def test_a_turned_model_keeps_its_neighbours_and_is_turned_back():
    turned = FIRST @ rotation(8) * 3
    apart = described(movement(model(WORDS, FIRST), model(WORDS, turned)))
    assert abs(apart["cosine"]) < 0.5
    assert apart["neighbors_kept"] == 1
    assert described(movement(model(WORDS, FIRST), model(WORDS, turned), align=True))["cosine"] == 1
    back = aligned(FIRST.astype(np.float32), turned.astype(np.float32))
    np.testing.assert_allclose(back, FIRST * 3, atol=1e-4)


def test_words_are_matched_by_name_and_the_one_that_moved_is_named():
    second = FIRST.copy()
    second[20] = -second[20]
    order = RNG.permutation(300)[:250]
    kept = [*[row for row in order if row != 20], 20]
    after = model([*(WORDS[row] for row in kept), "new"], np.vstack([second[kept], RNG.standard_normal((1, 8))]))
    moved = movement(model(WORDS, FIRST), after)
    told = described(moved)
    assert told["moved_most"][0]["word"] == "w20"
    assert told["moved_most"][0]["cosine"] == -1
    assert set(told["moved_most"][0]["before"]) != set(told["moved_most"][0]["after"])
    assert told["new"] == {"words": 1, "most_frequent": [("new", 1)]}
    assert told["gone"]["words"] == 300 - len(kept)
    rows = table(moved).to_pylist()
    assert [row["word"] for row in rows] == [WORDS[row] for row in kept]
    assert [round(row["cosine"], 4) for row in rows] == [1.0] * (len(kept) - 1) + [-1.0]
    assert rows[0]["count_before"] == 300 - kept[0]


def test_bands_cover_all_words_once():
    for words in (12, 100, 101, 5_000, 250_000):
        edges = bands(words)
        assert (edges[0][0], edges[-1][1]) == (0, words)
        assert all(end == begin for (_, end), (begin, _) in zip(edges, edges[1:]))
        assert {end for _, end in edges[:-1]} <= set(BANDS)


def test_what_cannot_be_compared():
    with pytest.raises(InputError, match="vectors of 8 and of 7 dims"):
        movement(model(WORDS, FIRST), model(WORDS, FIRST[:, :7]))
    with pytest.raises(InputError, match="the models share 3 words, 12 are needed"):
        movement(model(WORDS, FIRST), model(WORDS[:3], FIRST[:3]))


def test_models_are_turned_by_themselves_only_where_they_lie_apart():
    turned = movement(model(WORDS, FIRST), model(WORDS, FIRST @ rotation(8)), align=None)
    assert (turned.aligned, described(turned)["cosine"]) == (True, 1)
    near = FIRST + 0.1 * RNG.standard_normal(FIRST.shape)
    left = movement(model(WORDS, FIRST), model(WORDS, near), align=None)
    assert not left.aligned
    assert (left.cosine == movement(model(WORDS, FIRST), model(WORDS, near)).cosine).all()
