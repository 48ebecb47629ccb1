"""Gates: what is refused, what is warned of, and who may change that."""

from __future__ import annotations

import pytest

from pipeline.errors import InputError
from pipeline.series import gates
from pipeline.series.entries import Figure, Refused
from tests.series.logs import Series

EIGHT = [1000, 1010, 990, 1005, 995, 1002, 998, 1001]


def series_of(gate: str, values, mode: str = "update") -> Series:
    series = Series(retrain_every=0, mode=mode)
    for day, value in enumerate(values, 1):
        series.day(f"2026-11-{day:02}", **{gate: value})
    return series


def judged(series: Series, gate: str, value, mode: str = "update", day: str = "2026-11-20") -> Figure:
    return gates.judged(gate, value, series.state, mode, day)


@pytest.mark.parametrize(
    ("words", "verdict"),
    [(1000, "passed"), (260, "passed"), (249, "refused"), (3990, "passed"), (4010, "refused"), (0, "refused")],
)
def test_words_are_compared_with_what_is_usual(words, verdict):
    assert judged(series_of("words", EIGHT), "words", words).verdict == verdict


def test_words_are_compared_with_the_same_weekday_where_that_is_nearer():
    weekdays = [1000, 1000, 1000, 1000, 1000, 100, 100] * 2
    series = series_of("words", weekdays)
    assert judged(series, "words", 100, day="2026-11-15").verdict == "refused"  # a week before there were 1000
    assert judged(series, "words", 100, day="2026-11-20").verdict == "passed"
    assert judged(series, "words", 100, day="2026-11-20+1").verdict == "passed"
    assert judged(series, "words", 100, day="no date").verdict == "refused"


@pytest.mark.parametrize("gate", ["words", "unknown", "surprise", "seen", "loss", "kept", "pairs:x"])
def test_relative_gates_only_warn_until_there_are_eight(gate):
    bad = {"kept": 0.1, "pairs:x": -0.5}.get(gate, 0.9 if gate != "words" else 1.0)
    usual = {"kept": 0.8, "pairs:x": 0.0, "words": 1000.0}.get(gate, 0.1)
    assert judged(Series(), gate, usual).verdict == "passed"
    days = 7 + (gate.partition(":")[0] in gates.AFTER)  # of which the first is cold, another mode
    assert judged(series_of(gate, [usual] * days), gate, bad).verdict == "warned"
    assert judged(series_of(gate, [usual] * (days + 1)), gate, bad).verdict == "refused"
    assert judged(series_of(gate, [usual] * (days + 1)), gate, usual).verdict == "passed"


@pytest.mark.parametrize(("gate", "value"), [("unknown", -0.2), ("seen", -0.2), ("loss", -0.2), ("kept", 1.3)])
def test_better_than_usual_is_no_fault(gate, value):
    assert judged(series_of(gate, [0.3] * 8), gate, value).verdict == "passed"


def test_the_room_is_five_deviations_or_a_floor():
    figure = judged(series_of("loss", [9.9, 0.1, 0.2, 0.3, 0.0, 0.1, 0.2, 0.3]), "loss", 0.65)
    assert (figure.verdict, figure.high) == ("passed", pytest.approx(0.7))
    assert judged(series_of("loss", [0.1] * 8), "loss", 0.13).high == pytest.approx(0.12)


def test_only_the_last_twenty_count():
    series = series_of("loss", [5.0] * 10 + [0.1] * 20)
    assert judged(series, "loss", 0.5).verdict == "refused"


def test_figures_of_training_are_compared_within_a_mode_and_those_of_text_are_not():
    series = series_of("loss", [0.1] * 8, mode="warm")
    assert judged(series, "loss", 0.9, mode="update") == Figure("loss", 0.9)
    assert judged(series_of("unknown", [0.1] * 8, mode="warm"), "unknown", 0.9, mode="update").verdict == "refused"


@pytest.mark.parametrize(
    ("gate", "value"), [("words", 0), ("seen", 1.0), ("loss", float("nan")), ("surprise", float("inf"))]
)
def test_absolute_bounds_hold_from_the_first_day(gate, value):
    assert judged(Series(), gate, value).verdict == "refused"


def test_what_could_not_be_measured_passes():
    assert judged(series_of("seen", [0.1] * 8), "seen", None) == Figure("seen")


def test_a_gate_that_is_off_only_warns_and_force_leaves_what_is_absolute():
    wrong = [
        Figure("loss", 0.9, None, 0.1, "refused", "worse"),
        Figure("words", 0.0, 1.0, None, "refused", "none"),
        Figure("surprise", None, verdict="refused", why="not finite"),
        Figure("unknown", 0.1),
    ]
    everything = (*gates.GATES, gates.PAIRS)
    assert [one.verdict for one in gates.settled(wrong, everything, False)] == ["refused"] * 3 + ["passed"]
    assert [one.verdict for one in gates.settled(wrong, everything, True)] == ["warned", *["refused"] * 2, "passed"]
    assert [one.verdict for one in gates.settled(wrong, ("words",), False)] == ["warned", "refused", "warned", "passed"]
    assert gates.refusal(wrong) == "loss: worse; words: none; surprise: not finite"


def test_names_of_gates_are_checked():
    assert gates.checked_gates(("kept", "words")) == ("words", "kept")
    with pytest.raises(InputError, match="did you mean surprise"):
        gates.checked_gates(("suprise",))


def test_after_three_refusals_by_one_gate_it_is_said_how_to_accept_a_change():
    series = series_of("unknown", [0.1] * 8)
    figures = (Figure("unknown", 0.9, None, 0.2, "refused", "many"),)
    assert "--release=2026-11-20" in gates.remedy("models/x", series.state, figures, "2026-11-20")
    for day in ("2026-11-11", "2026-11-12"):
        series.files[day] = {day}
        series.decide()
        open_one = series.state.open
        series.add(Refused(name=day, folder=open_one.folder, why="many", figures=figures))
    assert "3 days in a row were refused by unknown" in gates.remedy("models/x", series.state, figures, "2026-11-20")
    other = (Figure("seen", 0.9, None, 0.2, "refused", "many"),)
    assert "in a row" not in gates.remedy("models/x", series.state, other, "2026-11-20")
