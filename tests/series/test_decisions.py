"""What a series does next."""

from __future__ import annotations

import pytest

from pipeline.errors import InputError
from pipeline.series.decisions import check_partition, decide, mode_of_next
from pipeline.series.entries import Policy
from pipeline.series.partitions import Arrived, File, Listing
from tests.series.logs import Series


def arrived(*names: str, closed: bool = True) -> Listing:
    return Listing({name: Arrived(closed, (File(name, f"dt={name}/a", 1, "1"),)) for name in names})


def test_the_oldest_closed_partition_is_first():
    series = Series()
    decision = decide(arrived("2026-11-03", "2026-11-01", "2026-11-02"), series.state)
    assert (decision.name, decision.mode, decision.parent) == ("2026-11-01", "cold", None)
    assert [file.partition for file in decision.files] == ["2026-11-01"]


def test_what_is_not_closed_waits():
    assert decide(arrived("2026-11-03", closed=False), Series().state) is None


def test_a_late_file_is_a_partition_of_its_own():
    series = Series()
    series.day("2026-11-01")
    series.day("2026-11-02")
    series.files["2026-11-01"].add("dt=2026-11-01/late")
    decision = series.decide()
    assert (decision.name, [file.path for file in decision.files]) == ("2026-11-01+1", ["dt=2026-11-01/late"])
    series.promote()
    series.files["2026-11-01"].add("dt=2026-11-01/later")
    assert series.decide().name == "2026-11-01+2"


def test_each_seventh_is_a_retrain_over_all_text():
    series = Series()
    modes = []
    for day in range(1, 17):
        series.day(f"2026-11-{day:02}")
        modes.append(series.state.generations[series.state.current].decided.mode)
    assert modes == ["cold", *["update"] * 6, "warm", *["update"] * 6, "warm", "update"]


def test_a_retrain_reads_the_text_of_the_chain():
    series = Series(mode="warm")
    series.day("2026-11-01")
    series.day("2026-11-02")
    series.files["2026-11-03"] = {"x"}
    decision = decide(series.listing(), series.state)
    assert [one.name for one in decision.text] == ["2026-11-01", "2026-11-02"]
    assert decision.parent.name == "2026-11-02"


@pytest.mark.parametrize(("mode", "expected"), [("cold", "cold"), ("warm", "warm"), ("update", "update")])
def test_the_mode_is_the_policys_after_the_first(mode, expected):
    series = Series(mode=mode, retrain_every=0)
    assert mode_of_next(series.state) == "cold"
    for day in range(1, 10):
        series.day(f"2026-11-{day:02}")
    assert mode_of_next(series.state) == expected


def test_a_refused_day_is_in_no_text():
    series = Series(mode="cold")
    series.day("2026-11-01")
    series.files["2026-11-02"] = {"x"}
    series.decide()
    series.refuse()
    series.files["2026-11-03"] = {"y"}
    assert [one.name for one in decide(series.listing(), series.state).text] == ["2026-11-01"]


def test_forgetting_comes_before_new_text_and_happens_once():
    series = Series()
    series.day("2026-11-01")
    series.add(Policy(root="/texts", by="dt=*", forget=("*/part-0",)))
    series.files["2026-11-02"] = {"x"}
    decision = series.decide()
    assert (decision.name, decision.partition, decision.mode) == ("2026-11-01", "", "cold")
    assert decision.folder == "generations/2026-11-01~2"
    series.promote()
    assert series.decide().name == "2026-11-02"


def test_one_partition_alone():
    series, listing = Series(), arrived("2026-11-01", "2026-11-02")
    assert decide(listing, series.state, "2026-11-02").name == "2026-11-02"
    with pytest.raises(InputError, match="there is no such partition"):
        check_partition(listing, series.state, "2026-12-24")
    with pytest.raises(InputError, match="is not closed: it has no _SUCCESS"):
        check_partition(arrived("2026-11-01", closed=False), series.state, "2026-11-01")


def test_nothing_is_decided_beside_an_open_generation():
    series = Series()
    series.files["2026-11-01"] = {"x"}
    series.decide()
    with pytest.raises(ValueError, match="open"):
        decide(arrived("2026-11-02"), series.state)
