"""How a generation is made: in each mode, with figures of the text and of the model."""

from __future__ import annotations

import pytest

import beam2vec
from pipeline.series.entries import Decided, Promoted
from pipeline.series.log import Log
from tests.helpers.commands import run
from tests.helpers.days import follow, write_day


@pytest.fixture
def texts(tmp_path):
    for day in (1, 2):
        write_day(tmp_path / "texts", f"2026-11-0{day}", day)
    return tmp_path


def made(folder, *arguments: str) -> tuple[list[Decided], list[Promoted]]:
    outcome = follow(folder / "s", folder / "texts", *arguments)
    assert outcome.status == 0, outcome.stderr
    entries = Log.open(str(folder / "s")).entries
    return [one for one in entries if isinstance(one, Decided)], [one for one in entries if isinstance(one, Promoted)]


def inputs(folder) -> int:
    return len(beam2vec.Run(folder / "s").identity["inputs"])


def test_cold_trains_on_all_text_and_goes_on_from_nothing(texts):
    decided, promoted = made(texts, "--mode=cold")
    assert [one.mode for one in decided] == ["cold", "cold"]
    assert (decided[1].parent, decided[1].follows, inputs(texts)) == (None, "generations/2026-11-01", 2)
    assert [figure.gate for figure in promoted[1].figures][-1] == "loss"  # neighbours of two cold models say nothing
    run = beam2vec.Run(texts / "s")
    assert (run.options.start_from, run.options.update) == (None, None)


def test_warm_updates_and_then_trains_on_all_text(texts):
    decided, _ = made(texts, "--mode=warm")
    assert (decided[1].mode, decided[1].parent.name, inputs(texts)) == ("warm", "2026-11-01", 2)
    run = beam2vec.Run(texts / "s")
    assert (run.options.epochs, run.options.learning_rate) == (2, 0.025)
    half = beam2vec.Run(run.options.start_from)
    assert half.uri == f"{texts}/s/updates/2026-11-02"
    assert half.options.update == f"{texts}/s/generations/2026-11-01"
    assert half.options.learning_rate == 0.075


def test_a_retrain_of_cbow_starts_from_its_parent(texts):
    decided, _ = made(texts, "--mode=warm", "--model=cbow")
    assert decided[1].first_options == {}
    assert beam2vec.Run(texts / "s").options.start_from == f"{texts}/s/generations/2026-11-01"


def test_all_gates_have_figures(texts):
    pairs = texts / "pairs.txt"
    pairs.write_text("".join(f"a{i} a{i + 1} {9 - i}\na{i} b{i} {i / 9}\n" for i in range(8)))
    _, promoted = made(texts, "--holdout=0.2", f"--pairs={pairs}")
    figures = {figure.gate: figure.value for figure in promoted[1].figures}
    expected = ["words", "bad_lines", "unknown", "surprise", "seen", "loss", "kept", f"pairs:{pairs}"]
    assert list(figures) == expected
    assert all(value is not None for value in figures.values())
    assert 0 <= figures["unknown"] < 0.1
    assert figures["kept"] > 0.3


def test_options_resolved_stand_in_the_log(texts):
    decided, _ = made(texts, "--epochs=2")
    assert (decided[0].options["epochs"], decided[0].options["learning_rate"]) == (2, 0.05)
    assert (decided[1].options["epochs"], decided[1].options["learning_rate"]) == (2, 0.075)
    assert "update" not in decided[1].options


def test_what_cannot_be_trained_is_refused_and_goes_on_after_a_release(texts):
    outcome = follow(texts / "s", texts / "texts", "--min_count=1000000")
    assert (outcome.status, "training: " in outcome.stdout) == (4, True)
    assert Log.open(str(texts / "s")).state.current == ""
    for day in ("2026-11-01", "2026-11-02"):
        assert run("jobs.promote", f"--series={texts}/s", f"--release={day}").status == 0
    _, promoted = made(texts, "--min_count=2")
    assert [one.name for one in promoted] == ["2026-11-01", "2026-11-02"]
