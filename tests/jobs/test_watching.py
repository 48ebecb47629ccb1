"""What those who watch a series get: statuses, metrics, events."""

from __future__ import annotations

import json
import time

import pytest

from pipeline.storage.lock import Lock
from pipeline.storage.open_storage import open_storage
from tests.helpers.commands import run
from tests.helpers.days import OPTIONS, follow, lines_of, write_day


@pytest.fixture(scope="module")
def one_day(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    write_day(folder / "texts", "2026-11-01", 1)
    assert follow(folder / "s", folder / "texts", f"--metrics={folder}/topics.prom").status == 0
    return folder


def again(folder, *arguments):
    return run("jobs.follow", f"--series={folder}/s", "--once", *arguments)


def test_nothing_new_has_the_status_that_was_asked_for(one_day):
    assert again(one_day).status == 0
    assert again(one_day, "--nothing_new=99").status == 99


def test_overdue_is_status_5(one_day, monkeypatch):
    assert again(one_day, "--expect_every=1d").status == 0
    monkeypatch.setattr("pipeline.storage.world.World.time", lambda self: time.time() + 90_000)
    outcome = again(one_day, "--expect_every=1d", "--json=-")
    assert (outcome.status, json.loads(outcome.stdout)["status"]) == (5, 5)
    assert again(one_day, "--expect_every=26h").status == 0


@pytest.mark.parametrize("wrong", ["1", "d", "1y", "-1d"])
def test_a_time_has_a_unit(one_day, wrong):
    assert "write 90s, 30m, 36h or 1d" in again(one_day, f"--expect_every={wrong}").error


def test_busy_is_nothing_new_unless_strict(one_day, monkeypatch):
    monkeypatch.setattr("jobs.series_job.LIFETIME", 0.0)
    with Lock(open_storage(str(one_day / "s"))):
        outcome = again(one_day, "--nothing_new=99")
        assert (outcome.status, outcome.stdout) == (99, "nothing new\ncurrent   2026-11-01\n")
        assert again(one_day, "--strict").status == 3
    assert again(one_day).status == 0


def test_metrics_are_written_whole(one_day):
    again(one_day, f"--metrics={one_day}/topics.prom")
    lines = (one_day / "topics.prom").read_text().splitlines()
    numbers = {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}
    assert time.time() - numbers["beam2vec_last_success_timestamp_seconds"] < 3600
    assert numbers["beam2vec_loss"] > 0
    assert [path.name for path in one_day.iterdir() if "prom" in path.name] == ["topics.prom"]


def test_each_attempt_left_its_events(one_day):
    names = sorted(path.name for path in (one_day / "s/events").iterdir())
    assert names == ["0001-COMPLETE.json", "0001-START.json"]


def test_a_partition_that_waits_for_a_person_is_status_4_at_each_call(tmp_path):
    write_day(tmp_path / "texts", "2026-11-01", 1)
    write_day(tmp_path / "texts", "2026-11-02", 2, [])
    assert follow(tmp_path / "s", tmp_path / "texts").status == 4
    assert again(tmp_path).status == 0
    assert again(tmp_path, "--partition=2026-11-02").status == 4
    assert again(tmp_path, "--partition=2026-11-01").status == 0
    assert run("jobs.promote", f"--series={tmp_path}/s", "--drop=2026-11-02").status == 0
    assert again(tmp_path, "--partition=2026-11-02").status == 0


@pytest.mark.parametrize("what", ["files", "bytes", "rows"])
def test_a_partition_that_is_not_what_its_marker_says_is_refused(tmp_path, what):
    folder = write_day(tmp_path / "texts", "2026-11-01", 1)
    text = (folder / "part-0.txt").read_bytes()
    there = {"files": 1, "bytes": len(text), "rows": text.count(b"\n")}
    (folder / "_SUCCESS").write_text(json.dumps({**there, what: there[what] + 1}))
    outcome = follow(tmp_path / "s", tmp_path / "texts")
    assert (outcome.status, f"{there[what]:,}" in outcome.stdout) == (4, True)
    (folder / "_SUCCESS").write_text(json.dumps(there))
    assert run("jobs.promote", f"--series={tmp_path}/s", "--release=2026-11-01").status == 0
    assert follow(tmp_path / "s", tmp_path / "texts").status == 0


def test_a_folder_without_partitions(tmp_path):
    write_day(tmp_path, "x", 1).rename(tmp_path / "texts")
    begin = [f"--input_root={tmp_path}/texts", "--by=", *OPTIONS]
    assert again(tmp_path, *begin).stdout == "nothing new\ncurrent   nothing yet\n"
    assert again(tmp_path).stdout.startswith("promoted  files  cold")
    (tmp_path / "texts/part-1.txt").write_text("\n".join(lines_of(2)))
    assert again(tmp_path).stdout.startswith("nothing new")
    assert again(tmp_path).stdout.startswith("promoted  files+1  update")
    assert again(tmp_path).stdout.startswith("nothing new")
