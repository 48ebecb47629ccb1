"""SERIES and SERIES@NAME in place of a run."""

from __future__ import annotations

import pytest

from pipeline.errors import ArtifactError, InputError
from pipeline.runs.current import resolved, run_of, what_is_current
from pipeline.runs.directory import split_step
from pipeline.series.entries import path_of, to_json
from pipeline.storage.local import LocalStorage
from pipeline.storage.open_storage import open_storage
from tests.series.logs import Series


def store(series: Series, root: str) -> None:
    for entry in series.entries:
        open_storage(root).put(path_of(entry.number), to_json(entry))


@pytest.fixture
def three():
    series = Series()
    for day in ("20261101", "20261102", "20261103"):
        series.day(day)
    return series


def test_the_last_entry_that_says_so_decides(tmp_path, three):
    store(three, str(tmp_path))
    assert run_of(str(tmp_path)) == f"{tmp_path}/generations/20261103"
    three.roll_back("generations/20261101")
    three.files["20261104"] = {"x"}
    three.decide()
    three.refuse()
    store(three, str(tmp_path))
    assert run_of(str(tmp_path)) == f"{tmp_path}/generations/20261101"
    assert resolved(str(tmp_path)) == f"{tmp_path}/generations/20261101"


def test_a_name_is_that_of_a_generation_that_was_promoted(tmp_path, three):
    store(three, str(tmp_path))
    assert run_of(f"{tmp_path}@20261102") == f"{tmp_path}/generations/20261102"
    assert split_step(f"{tmp_path}@20261102") == (f"{tmp_path}@20261102", None)  # it is no step
    assert split_step(f"{tmp_path}@20261102@7") == (f"{tmp_path}@20261102", 7)
    three.roll_back("generations/20261101")
    store(three, str(tmp_path))
    with pytest.raises(InputError, match="there is no such generation; the last ones are 20261101"):
        run_of(f"{tmp_path}@20261102")


def test_what_is_no_series_stays(tmp_path):
    for given in (str(tmp_path), f"{tmp_path}@x", "@", "a@b/c"):
        assert run_of(given) is None
        assert resolved(given) == given
        assert what_is_current(given) == ""


def test_a_storage_that_lists_nothing_has_no_series(tmp_path, monkeypatch):
    monkeypatch.setattr(LocalStorage, "walk", None)  # as with files that only Beam can reach
    for given in (str(tmp_path), f"{tmp_path}/vectors@2.txt"):
        assert resolved(given) == given


def test_nothing_promoted_is_one_line(tmp_path):
    store(Series(), str(tmp_path))
    with pytest.raises(InputError, match="no generation of this series is promoted yet"):
        run_of(str(tmp_path))


def test_a_damaged_log_is_one_line(tmp_path, three):
    store(three, str(tmp_path))
    open_storage(str(tmp_path)).put(path_of(6), b"{}")
    with pytest.raises(ArtifactError, match=r"6\.json is damaged"):
        run_of(str(tmp_path))


def test_for_a_generation_that_is_gone_it_is_said_what_is_current(tmp_path, three):
    store(three, str(tmp_path))
    assert "generations/20261103 is current" in what_is_current(f"{tmp_path}/generations/20261101")
