"""The fold over a log: what is true after some entries."""

from __future__ import annotations

import itertools

import pytest

from pipeline.errors import ArtifactError
from pipeline.series.entries import Dropped, Policy, Promoted, Refused, Released, RolledBack, Void
from pipeline.series.state import DROPPED, DUE, OPEN, PROMOTED, REFUSED, WITHDRAWN, fold
from tests.series.logs import DIGEST, Series, numbered, random_history


def test_a_promoted_generation_is_current():
    series = Series()
    series.day("2026-11-01")
    series.day("2026-11-02")
    state = series.state
    assert state.current == "generations/2026-11-02"
    assert [one.name for one in state.promoted()] == ["2026-11-01", "2026-11-02"]
    assert {name: held.status for name, held in state.partitions.items()} == {
        "2026-11-01": PROMOTED,
        "2026-11-02": PROMOTED,
    }
    assert state.depth() == 1


def test_a_refused_generation_leaves_what_was_current():
    series = Series()
    series.day("2026-11-01")
    series.files["2026-11-02"] = {"dt=2026-11-02/part-0"}
    series.decide()
    series.refuse()
    assert series.state.current == "generations/2026-11-01"
    assert series.state.partitions["2026-11-02"].status == REFUSED
    assert series.state.open is None


def test_a_rollback_withdraws_what_came_after():
    series = Series()
    for day in ("2026-11-01", "2026-11-02", "2026-11-03"):
        series.day(day)
    series.roll_back("generations/2026-11-01")
    state = series.state
    assert state.current == "generations/2026-11-01"
    assert [held.status for held in state.partitions.values()] == [PROMOTED, WITHDRAWN, WITHDRAWN]


def test_what_is_released_is_due_and_what_is_dropped_is_not():
    series = Series()
    for day in ("2026-11-01", "2026-11-02", "2026-11-03"):
        series.day(day)
    series.roll_back("generations/2026-11-01")
    series.add(Released(partition="2026-11-02", forced=True))
    series.add(Dropped(partition="2026-11-03"))
    assert series.state.partitions["2026-11-02"].status == DUE
    assert series.state.partitions["2026-11-03"].status == DROPPED
    assert series.decide().folder == "generations/2026-11-02~2"
    assert series.state.open.decided.forced
    series.promote()
    assert series.decide() is None


def _wrong_entries(series: Series):
    folder = "generations/2026-11-01"
    yield Promoted(name="x", folder="generations/x", model=DIGEST)
    yield Promoted(name="2026-11-01", folder=folder, model=DIGEST)
    yield Refused(name="2026-11-01", folder=folder, why="")
    yield Void(folder=folder, why="")
    yield Released(partition="2026-11-01")
    yield Dropped(partition="2026-12-01")
    yield RolledBack(name="x", folder="generations/x", withdrawn=())
    yield series.entries[1]


@pytest.mark.parametrize("place", range(8))
def test_an_entry_that_does_not_follow_is_damage(place):
    series = Series()
    series.day("2026-11-01")
    wrong = list(_wrong_entries(series))[place]
    with pytest.raises(ArtifactError, match="does not follow from those before it"):
        fold(numbered([*series.entries, wrong]))


def test_a_log_begins_with_a_policy_and_has_no_gap():
    with pytest.raises(ArtifactError, match="first one has to be a policy"):
        fold([Void(folder="generations/a", why="")])
    with pytest.raises(ArtifactError, match="the one before it is 0"):
        fold([Policy(root="/"), Policy(root="/", number=2)])


@pytest.mark.parametrize("seed", range(60))
def test_of_any_history_no_partition_is_in_two_live_generations_and_none_is_lost(seed):
    series = random_history(seed)
    state = series.state
    assert fold(list(series.entries)) == state  # equal logs, equal states
    live = [one for one in state.generations.values() if one.status in (OPEN, PROMOTED)]
    paths = [path for one in live for path in series.taken[one.folder]]
    assert len(paths) == len(set(paths))
    held = {path for one in state.partitions.values() if one.status != DUE for path in series.taken[one.folder]}
    due = {file.path for arrived in series.listing().arrived.values() for file in arrived.files}
    assert held | due == set(itertools.chain.from_iterable(series.files.values()))
    assert not held & due
    assert {one.folder for one in state.chain()} == {one.folder for one in live if one.status == PROMOTED}


@pytest.mark.parametrize("seed", range(20))
def test_a_history_that_goes_on_takes_all_that_is_due(seed):
    series = random_history(seed)
    while True:
        if series.state.open:
            (series.promote if series.state.open.decided.follows == series.state.current else series.refuse)()
        elif series.decide() is None:
            break
    assert not any(arrived.files for arrived in series.listing().arrived.values())
