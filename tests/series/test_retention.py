"""What of a series is kept."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.series.entries import Policy
from pipeline.series.retention import kept, prune
from pipeline.storage.open_storage import open_storage
from tests.series.logs import Series, numbered

DAY = 86_400.0


def series_of(days: int, hours: float = 24, **policy) -> Series:
    """So many days, a promotion every `hours`."""
    series = Series(**policy)
    for day in range(1, days + 1):
        series.day(f"2026-11-{day:02}")
        at = day * hours * 3600
        series.entries[-1] = msgspec.structs.replace(series.entries[-1], at=at)
    return series


def days_of(folders) -> list[int]:
    return sorted(int(folder.removeprefix("generations/2026-11-")) for folder in folders if "~" not in folder)


def test_those_of_the_last_days_are_kept():
    assert days_of(kept(series_of(20).state)) == list(range(13, 21))


@pytest.mark.parametrize("keep_days", [0, 1, 2])
def test_three_are_kept_at_least(keep_days):
    assert days_of(kept(series_of(20, keep_days=keep_days).state)) == [18, 19, 20]


def test_a_clock_that_jumps_removes_no_more_than_all_but_three():
    series = series_of(20)
    series.entries[-1] = msgspec.structs.replace(series.entries[-1], at=1e12)
    assert days_of(kept(series.state)) == [18, 19, 20]


def test_an_outage_removes_nothing():
    assert days_of(kept(series_of(6, hours=1).state)) == [1, 2, 3, 4, 5, 6]


def test_the_open_generation_and_a_refused_one_stay():
    series = series_of(20)
    series.files["2026-11-21"] = {"x"}
    series.decide()
    assert 21 in days_of(kept(series.state))
    series.refuse()
    series.entries[-1] = msgspec.structs.replace(series.entries[-1], at=20 * DAY)
    assert 21 in days_of(kept(series.state))


def test_of_what_is_forgotten_nothing_stays():
    series = series_of(5)
    series.add(Policy(root="/texts", by="dt=*", forget=("x",)))
    assert days_of(kept(series.state)) == [1, 2, 3, 4, 5]  # until there is a generation without it
    series.decide()
    series.promote()
    assert kept(series.state) == {"generations/2026-11-05~2"}


def test_run_json_is_removed_first(tmp_path, monkeypatch):
    series, storage = series_of(20), open_storage(str(tmp_path))
    removed = []
    for folder in ("generations/2026-11-01", "generations/2026-11-20", "updates/2026-11-01", "checks/2026-11-20"):
        for name in ("a/part.parquet", "run.json", "records/x.json"):
            storage.put(f"{folder}/{name}", b"x")
    delete = type(storage).delete
    monkeypatch.setattr(type(storage), "delete", lambda self, path: (removed.append(path), delete(self, path)))
    assert prune(storage, series.state) == ["generations/2026-11-01"]
    assert removed[0] == "generations/2026-11-01/run.json"
    left = sorted({info.path.rpartition("/")[0].split("/")[1] for info in storage.list()})
    assert left == ["2026-11-20"]
    assert storage.info("checks/2026-11-20/run.json") is None
    assert numbered(series.entries) == series.entries
