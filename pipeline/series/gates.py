"""Gates: what a generation's figures are compared with, and what follows.

Absolute bounds always hold. Relative ones are of the series itself: the median of its last promoted generations, more
or less 5 times the median deviation from it, or a floor where that is larger. They only warn until there are eight. A
false alarm costs a day, so there are seven figures and no more, and the change of each evaluation set.
"""

from __future__ import annotations

import datetime
import math
import re
import statistics
from collections.abc import Iterable, Sequence

from pipeline.errors import InputError
from pipeline.model.spelling import suggestions
from pipeline.series.entries import Figure
from pipeline.series.partitions import base_of
from pipeline.series.state import REFUSED, Generation, State

PASSED, WARNED, REFUSES = "passed", "warned", "refused"
WORDS, BAD_LINES, UNKNOWN, SURPRISE, SEEN, LOSS, KEPT = GATES = (
    "words",
    "bad_lines",
    "unknown",
    "surprise",
    "seen",
    "loss",
    "kept",
)
"""In the order in which they are computed."""
PAIRS = "pairs"
"""The gate of evaluation sets; a figure is called pairs:FILE."""
EXPLAINED = {
    WORDS: "words of new text",
    BAD_LINES: "share of bad lines",
    UNKNOWN: "share of words that the parent does not know",
    SURPRISE: "the parent's loss on the new text",
    SEEN: "share of new sentences that were there before",
    LOSS: "loss after training less the parent's",
    KEPT: "share of nearest words that are the same",
    PAIRS: "change of the score of an evaluation set",
}
AFTER = (LOSS, KEPT, PAIRS)
"""Gates that compare a trained generation; these depend on its mode."""
_LAST = 20
_FEWEST = 8
_DEVIATIONS = 5
_FLOORS = {UNKNOWN: 0.03, SURPRISE: 0.1, SEEN: 0.2, LOSS: 0.02, KEPT: 0.1, PAIRS: 0.05}
_UPPER = (UNKNOWN, SURPRISE, SEEN, LOSS)
_LOWER = (SURPRISE, KEPT, PAIRS)
_FEWER, _MORE = 0.25, 4.0
_WEEK = 7
_SAME_GATE = 3
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")


def checked_gates(names: Sequence[str]) -> tuple[str, ...]:
    """The gates that refuse; InputError for a name that there is not."""
    known = (*GATES, PAIRS)
    for name in names:
        if name not in known:
            near = suggestions(name, known, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise InputError(f"--gates={name}: there is no such gate; there are {', '.join(known)}{hint}")
    return tuple(name for name in known if name in names)


def judged(gate: str, value: float | None, state: State, mode: str, partition: str) -> Figure:
    """The figure of a gate with its verdict, before the policy and --force have their say.

    Args:
      gate: one of GATES, or pairs:FILE.
      value: None where nothing could be measured: that passes.
      state: of the series before this generation.
    """
    if value is None:
        return Figure(gate)
    if not math.isfinite(value):
        return Figure(gate, None, verdict=REFUSES, why=f"{_explained(gate)} is not a finite number")
    if gate == WORDS:
        return _judged_words(value, state, partition)
    if gate == BAD_LINES:
        return Figure(gate, value)  # more than --max_bad_lines end the run
    if gate == SEEN and value >= 1.0:
        return Figure(gate, value, None, 1.0, REFUSES, "all sentences were there before: it is the same text again")
    return _judged_by_history(gate, value, state, mode)


def _judged_words(value: float, state: State, partition: str) -> Figure:
    if not value:
        return Figure(WORDS, value, 1.0, None, REFUSES, "there are no words")
    history = _history(WORDS, state, "")
    if not history:
        return Figure(WORDS, value)
    usual = [statistics.median(history[-_WEEK:])]
    if (last_week := _a_week_before(state, partition)) is not None:
        usual.append(last_week)
    nearest = min(usual, key=lambda one: abs(math.log(value / one)))
    low, high = _FEWER * nearest, _MORE * nearest
    if low <= value <= high:
        return Figure(WORDS, value, low, high)
    verdict = REFUSES if len(history) >= _FEWEST else WARNED
    return Figure(WORDS, value, low, high, verdict, f"there are {value:,.0f} words where {nearest:,.0f} are usual")


def _judged_by_history(gate: str, value: float, state: State, mode: str) -> Figure:
    kind = gate.partition(":")[0]
    history = _history(gate, state, mode if kind in AFTER else "")
    if not history:
        return Figure(gate, value)
    middle = statistics.median(history)
    deviation = statistics.median(abs(one - middle) for one in history)
    room = max(_DEVIATIONS * deviation, _FLOORS[kind])
    low = middle - room if kind in _LOWER else None
    high = middle + room if kind in _UPPER else None
    if (low is None or value >= low) and (high is None or value <= high):
        return Figure(gate, value, low, high)
    verdict = REFUSES if len(history) >= _FEWEST else WARNED
    return Figure(gate, value, low, high, verdict, f"{_explained(gate)} is {value:.3f} where {middle:.3f} is usual")


def settled(figures: Iterable[Figure], gates: Sequence[str], forced: bool) -> tuple[Figure, ...]:
    """The figures with the verdicts that count: gates that are off, and all relative ones under --force, only warn."""
    return tuple(_settled(figure, gates, forced) for figure in figures)


def _settled(figure: Figure, gates: Sequence[str], forced: bool) -> Figure:
    is_off = figure.gate.partition(":")[0] not in gates
    is_absolute = figure.value is None or figure.gate in (BAD_LINES,) or (figure.gate == WORDS and not figure.value)
    if figure.verdict != REFUSES or not (is_off or (forced and not is_absolute)):
        return figure
    return Figure(figure.gate, figure.value, figure.low, figure.high, WARNED, figure.why)


def refusal(figures: Iterable[Figure]) -> str:
    """Why they refuse, in one line; "" where they do not."""
    return "; ".join(f"{figure.gate}: {figure.why}" for figure in figures if figure.verdict == REFUSES)


def remedy(series: str, state: State, figures: Iterable[Figure], partition: str) -> str:
    """What a person may do about a refusal; after three by one gate, how a lasting change is accepted.

    Args:
      series: as the user has named it.
    """
    promote = f"beam2vec promote --series={series}"
    gates = {figure.gate for figure in figures if figure.verdict == REFUSES}
    refused = [one for one in state.generations.values() if one.status == REFUSED][-(_SAME_GATE - 1) :]
    again = [gate for gate in gates if all(gate in _refusing(one) for one in refused)]
    if len(refused) == _SAME_GATE - 1 and again:
        return (
            f"{_SAME_GATE} days in a row were refused by {', '.join(sorted(again))}: if the text has changed for good,"
            f" {promote} --force={partition} takes this day, and the next ones are compared with it"
        )
    return f"{promote} --release={partition} tries again, --force={partition} takes it, --drop={partition} never does"


def _refusing(generation: Generation) -> set[str]:
    return {figure.gate for figure in generation.figures if figure.verdict == REFUSES}


def _history(gate: str, state: State, mode: str) -> list[float]:
    """Values of the last promoted generations (of a mode, if one is given), the oldest first."""
    values = []
    for generation in state.chain():
        if not mode or generation.decided.mode == mode:
            values += [one.value for one in generation.figures if one.gate == gate and one.value is not None]
        if len(values) >= _LAST:
            break
    return values[::-1]


def _a_week_before(state: State, partition: str) -> float | None:
    """The words of the partition seven days before, where names are dates."""
    day = _day(partition)
    for generation in state.chain():
        if day and _day(generation.decided.partition) == day - datetime.timedelta(_WEEK):
            words = [one.value for one in generation.figures if one.gate == WORDS and one.value]
            return words[0] if words else None
    return None


def _day(partition: str) -> datetime.date | None:
    match = _DATE.search(base_of(partition))
    try:
        return datetime.date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def _explained(gate: str) -> str:
    name, _, file = gate.partition(":")
    return EXPLAINED[name] + (f" {file}" if file else "")
