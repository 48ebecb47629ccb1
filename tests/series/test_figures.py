"""Figures: what is measured of a text and of a model."""

from __future__ import annotations

import numpy as np
import pytest

import beam2vec
from pipeline.series import figures
from tests.helpers.days import lines_of

NAMES = {"dims": 8, "epochs": 10, "batch_size": 64, "learning_rate": 0.1, "min_count": 2, "threads": 1, "window": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("figures")


@pytest.fixture(scope="module")
def parent(folder):
    (folder / "text").write_text("\n".join(lines_of(1, 400)))
    return beam2vec.train(folder / "text", folder / "parent", **NAMES)


@pytest.fixture
def text_of(folder, tmp_path):
    def made(lines: list[str]) -> figures.Text:
        (tmp_path / "new").write_text("\n".join(lines))
        return figures.Text(beam2vec.preprocess(tmp_path / "new", tmp_path / "checked", min_count=1, overwrite=True))

    return made


def test_words_and_their_number(text_of):
    text = text_of(["a rose is a rose", "", "is"])
    assert (text.size(), text.bad_lines()) == (6, 0.0)
    assert sorted(text.words.to_pylist()) == ["a", "is", "rose"]


def test_unknown_words_are_counted_by_their_occurrences(text_of, parent):
    assert figures.unknown_share(text_of(["a0 a0 a0 zebra"]), parent) == 0.25


def test_sentences_that_were_there_are_known_again(text_of, parent):
    assert figures.seen_share(text_of(lines_of(1, 400)[:50]), parent) == 1.0
    assert figures.seen_share(text_of(lines_of(2, 50)), parent) < 0.1
    assert figures.seen_share(text_of(lines_of(1, 400)[:20] + lines_of(2, 20)), parent) == pytest.approx(0.5, abs=0.1)


def test_a_page_again_and_again_was_there_before(text_of, parent):
    assert figures.seen_share(text_of(lines_of(2, 5) * 20), parent) == pytest.approx(0.95)


def test_a_run_that_keeps_no_text_knows_no_sentence_again(text_of, folder, tmp_path):
    run = beam2vec.train(folder / "text", tmp_path / "run", replay_words=0, **NAMES)
    assert figures.seen_share(text_of(lines_of(1)), run) is None


def test_the_parent_is_surprised_by_text_of_other_topics(text_of, parent):
    usual = figures.losses(figures.sample_of(text_of(lines_of(2, 300)), 0.0), parent, [parent])
    mixed = [" ".join(np.random.default_rng(1).permutation(" ".join(lines_of(2, 300)).split())[:3000])]
    shuffled = figures.losses(figures.sample_of(text_of(mixed), 0.0), parent, [parent])
    assert shuffled[0] > usual[0]


def test_text_without_a_known_word_has_no_loss(text_of, parent):
    assert figures.losses(figures.sample_of(text_of(["x y z"] * 9), 0.0), parent, [parent]) is None


def test_losses_of_two_models_are_over_the_same_rows(text_of, parent):
    sample = figures.sample_of(text_of(lines_of(3, 100)), 0.0)
    first, second = figures.losses(sample, parent, [parent, parent])
    assert first == second
    assert len(sample.offset) == 101


def test_with_holdout_the_sample_is_what_training_keeps_back(text_of):
    text = text_of(lines_of(3, 400))
    sample = figures.sample_of(text, 0.1)
    assert 10 < len(sample.offset) - 1 < 80
    assert len(sample.tokens) == sample.offset[-1]


def test_neighbours_are_all_kept_by_the_same_model(parent, folder, tmp_path):
    assert figures.neighbors_kept(parent, parent) == 1.0
    other = beam2vec.train(folder / "text", tmp_path / "other", seed=5, **NAMES)
    assert figures.neighbors_kept(parent, other) < 1.0


def test_an_evaluation_set_changes_by_the_difference_of_its_scores(parent, folder, tmp_path):
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("".join(f"a{i} a{i + 1} {9 - i}\na{i} b{i} {i / 9}\n" for i in range(8)))
    ((name, change),) = figures.changes(parent, parent, (str(pairs),))
    assert (name, change) == (str(pairs), 0.0)
    pairs.write_text("x y 1\ny z 2\n")
    assert list(figures.changes(parent, parent, (str(pairs),))) == [(str(pairs), None)]
