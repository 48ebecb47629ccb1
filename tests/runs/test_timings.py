"""What commands tell of a run adds up: the seconds of its stages, and warnings, each once."""

from __future__ import annotations

import pytest

from pipeline.runs.timings import MOST_WARNINGS, add_timings, add_warnings, read_timings, read_warnings
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records

KEY = "0" * 32


@pytest.fixture
def records(tmp_path):
    return Records(open_storage(str(tmp_path)))


def test_timings_add_up_over_resumed_runs(records):
    commits = Commits(records, "checkpoints", KEY)
    add_timings(commits, {"Count words": 1.5, "Train": 2})
    add_timings(commits, {"Train": 3.25})
    assert read_timings(records, KEY) == {"Count words": 1.5, "Train": 5.25}
    assert read_timings(records, "1" * 32) == {}


def test_warnings_are_kept_once_and_not_without_end(records):
    commits = Commits(records, "checkpoints", KEY)
    add_warnings(commits, ["a", "b", "a"])
    add_warnings(commits, ["b", "c"])
    assert read_warnings(records, KEY) == ["a", "b", "c"]
    add_warnings(commits, map(str, range(100)))
    assert len(read_warnings(records, KEY)) == MOST_WARNINGS
    assert read_warnings(records, "1" * 32) == []
