"""`beam2vec follow`: partitions become generations, each once, and a bad day is held back."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest

import beam2vec
from pipeline.errors import InputError
from pipeline.series.entries import Decided, Promoted, Refused, Void
from pipeline.series.log import Log
from tests.helpers.commands import run
from tests.helpers.days import OPTIONS, follow, lines_of, write_day


@pytest.fixture(scope="module")
def three_days(tmp_path_factory):
    """A series of three days, and its input."""
    folder = tmp_path_factory.mktemp("three")
    for day in (1, 2, 3):
        write_day(folder / "texts", f"2026-11-0{day}", day)
    outcome = follow(folder / "series", folder / "texts")
    assert outcome.status == 0, outcome.stderr
    return folder


@pytest.fixture
def series(three_days, tmp_path):
    """A copy of it, in another place: paths in a series are relative."""
    for name in ("texts", "series"):
        shutil.copytree(three_days / name, tmp_path / name)
    return tmp_path


def follow_in(folder, *arguments):
    return follow(folder / "series", folder / "texts", *arguments)


def names(folder, kind=Promoted) -> list[str]:
    return [entry.name for entry in Log.open(str(folder / "series")).entries if isinstance(entry, kind)]


def digests(folder) -> list[str]:
    return [entry.model for entry in Log.open(str(folder / "series")).entries if isinstance(entry, Promoted)]


def test_each_partition_becomes_a_generation(three_days):
    log = Log.open(str(three_days / "series"))
    made = [entry for entry in log.entries if isinstance(entry, Decided)]
    assert [(entry.name, entry.mode) for entry in made] == [
        ("2026-11-01", "cold"),
        ("2026-11-02", "update"),
        ("2026-11-03", "update"),
    ]
    assert names(three_days) == ["2026-11-01", "2026-11-02", "2026-11-03"]
    assert made[1].parent.model == digests(three_days)[0]
    current = json.loads((three_days / "series/current.json").read_text())
    assert (current["name"], current["folder"]) == ("2026-11-03", "generations/2026-11-03")
    marker = json.loads((three_days / "series/generations/2026-11-03/_SUCCESS").read_text())
    assert marker["model"] == digests(three_days)[2]


def test_a_generation_is_what_train_with_update_makes(three_days, tmp_path):
    arguments = [f"--update={three_days}/series/generations/2026-11-01", *OPTIONS]
    text = three_days / "texts/dt=2026-11-02/part-0.txt"
    outcome = run("jobs.train", f"--input={text}", f"--output={tmp_path}/run", "--no_report", *arguments)
    assert outcome.digest == digests(three_days)[1]


def test_nothing_new_is_status_0_and_no_entry(series):
    before = Log.open(str(series / "series")).entries
    outcome = follow_in(series, "--input_root=" + str(series / "texts"))
    assert (outcome.status, outcome.stdout.splitlines()[0]) == (0, "nothing new"), outcome.stderr
    moved = Log.open(str(series / "series")).entries[len(before) :]
    assert [type(entry).__name__ for entry in moved] == ["Policy"]  # the input has moved, which is said
    assert follow_in(series).stdout.splitlines() == ["nothing new", "current   2026-11-03"]
    assert len(Log.open(str(series / "series")).entries) == len(before) + 1


def test_a_series_is_a_run_wherever_a_run_is_accepted(series, tmp_path):
    path = str(series / "series")
    now = beam2vec.Run(path)
    assert now.uri == f"{path}/generations/2026-11-03"
    assert beam2vec.Run(f"{path}@2026-11-02").uri == f"{path}/generations/2026-11-02"
    compared = run("jobs.compare", f"{path}@2026-11-01", path)
    assert compared.status == 0, compared.stderr
    assert run("jobs.verify", f"--run={path}").status == 0
    text = write_day(tmp_path / "more", "2026-11-09", 9) / "part-0.txt"
    outcome = run("jobs.train", f"--input={text}", f"--output={tmp_path}/run", f"--update={path}", "--threads=1")
    assert outcome.status == 0, outcome.stderr
    assert beam2vec.Run(tmp_path / "run").options.update == now.uri
    for wrong in ("2026-12-24", "x"):
        with pytest.raises(InputError, match="there is no such generation; the last ones are 2026-11-01"):
            beam2vec.Run(f"{path}@{wrong}")


def test_a_late_file_becomes_a_generation_of_its_own(series):
    (series / "texts/dt=2026-11-02/late.txt").write_text("\n".join(lines_of(20)))
    assert follow_in(series).status == 0
    assert names(series)[3:] == ["2026-11-02+1"]


def test_a_day_without_its_marker_waits(series):
    folder = write_day(series / "texts", "2026-11-04", 4)
    os.remove(folder / "_SUCCESS")
    outcome = follow_in(series)
    assert (outcome.status, "not closed yet: 2026-11-04" in outcome.stderr) == (0, True)
    (folder / "_SUCCESS").touch()
    follow_in(series)
    assert names(series)[3:] == ["2026-11-04"]


@pytest.mark.parametrize(
    ("name", "lines", "gate"),
    [
        ("empty", [], "words"),
        ("no files", None, "words"),
        ("the third day again", lines_of(3), "seen"),
        ("the third day in another order", lines_of(3)[::-1], "seen"),
        ("binary", None, "bad_lines"),
    ],
)
def test_a_bad_day_is_refused_and_the_next_one_is_not(series, name, lines, gate):
    folder = write_day(series / "texts", "2026-11-04", 4, lines)
    if name == "no files":
        os.remove(folder / "part-0.txt")
    elif name == "binary":
        (folder / "part-0.txt").write_bytes(bytes(range(256)) * 300)
    write_day(series / "texts", "2026-11-05", 5)
    outcome = follow_in(series)
    assert outcome.status == 4, outcome.stderr
    refused = [entry for entry in Log.open(str(series / "series")).entries if isinstance(entry, Refused)]
    assert [(entry.name, entry.figures[-1].gate) for entry in refused if entry.figures] == [("2026-11-04", gate)]
    assert names(series)[3:] == ["2026-11-05"]
    marker = json.loads((series / "series/generations/2026-11-04/_REFUSED").read_text())
    assert gate in marker["why"]
    assert follow_in(series).status == 0  # it is refused once


def test_a_file_that_changes_after_it_was_decided_voids(series, monkeypatch):
    folder = write_day(series / "texts", "2026-11-04", 4)
    log = Log.open(str(series / "series"))
    follow_in(series, "--partition=2026-11-03")
    original = Log.append

    def append(self, entry):
        made = original(self, entry)
        if isinstance(entry, Decided) and "~" not in entry.folder:
            (folder / "part-0.txt").write_text("\n".join(lines_of(40)))
        return made

    monkeypatch.setattr(Log, "append", append)
    assert follow_in(series).status == 0
    added = Log.open(str(series / "series")).entries[len(log.entries) :]
    assert [type(entry).__name__ for entry in added][-4:] == ["Decided", "Void", "Decided", "Promoted"]
    assert added[-1].folder == "generations/2026-11-04~2"
    assert next(entry for entry in added if isinstance(entry, Void)).why.startswith("dt=2026-11-04/part-0.txt changed")


@pytest.mark.slow
def test_a_week_of_outage_gives_seven_generations(tmp_path):
    for day in range(1, 8):
        write_day(tmp_path / "texts", f"2026-11-0{day}", day)
    assert follow_in(tmp_path, "--retrain_every=4").status == 0
    assert names(tmp_path) == [f"2026-11-0{day}" for day in range(1, 8)]
    modes = [entry.mode for entry in Log.open(str(tmp_path / "series")).entries if isinstance(entry, Decided)]
    assert modes == ["cold", "update", "update", "update", "warm", "update", "update"]


def test_most_files_gone_at_once_stops(series):
    follow_in(series)
    for day in ("1", "2"):
        shutil.rmtree(series / f"texts/dt=2026-11-0{day}")
    write_day(series / "texts", "2026-11-04", 4)
    outcome = follow_in(series)
    assert (outcome.status, "2 of 3 files that this series has taken are gone" in outcome.error) == (2, True)
    assert names(series)[3:] == []
    assert follow_in(series, "--accept_loss").status == 0
    assert names(series)[3:] == ["2026-11-04"]


def test_forgetting_begins_the_chain_anew_and_removes_what_was_before(series):
    follow_in(series)
    outcome = follow_in(series, "--forget=*2026-11-02/*")
    assert outcome.status == 0, outcome.stderr
    log = Log.open(str(series / "series"))
    made = log.entries[-2]
    assert (made.name, made.mode, made.forget) == ("2026-11-03", "cold", ("*2026-11-02/*",))
    assert os.listdir(series / "series/generations") == ["2026-11-03~2"]
    inputs = beam2vec.Run(series / "series").identity["inputs"]
    assert [os.path.basename(os.path.dirname(file["uri"])) for file in inputs] == ["dt=2026-11-01", "dt=2026-11-03"]
    with pytest.raises(InputError, match=r"generations/2026-11-02 is not there.*generations/2026-11-03~2 is current"):
        beam2vec.Run(series / "series/generations/2026-11-02")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gates=wrods"], r"there is no such gate; there are words.*did you mean words"),
        (["--mode=lukewarm"], "allowed are update, warm, cold"),
        (["--model=cbow"], "--mode=update is for skip-gram, this is cbow: --mode=warm"),
        (["--model=cbow", "--mode=warm"], "--model is cbow, it was skipgram"),
        (["--by=day=*"], "stay as they are"),
        (["--update=x"], "--update: a series sets it itself"),
        (["--input=x"], "a series has --input_root"),
        (["--partition=2026-12-24"], "there is no such partition"),
        (["--dims=9"], "--dims is 9, it was 8"),
    ],
)
def test_what_cannot_be_is_one_line_and_changes_nothing(series, arguments, message):
    follow_in(series)
    before = Log.open(str(series / "series")).entries
    own = ["--series=" + str(series / "series"), "--once", *arguments]
    outcome = run("jobs.follow", *own)
    assert outcome.status == 2
    assert re.search(message, outcome.error), outcome.error
    assert Log.open(str(series / "series")).entries == before


def test_a_series_is_begun_with_root_and_by(tmp_path):
    assert "--input_root and --by begin one" in run("jobs.follow", f"--series={tmp_path}/s", "--once").error
    assert "give --once" in run("jobs.follow", f"--series={tmp_path}/s").error
    assert not (tmp_path / "s/log").exists()
    (tmp_path / "s").mkdir(exist_ok=True)
    (tmp_path / "s/run.json").write_text("{}")
    assert "is a run: choose another folder" in run("jobs.follow", f"--series={tmp_path}/s", "--once").error


def test_json_says_what_was_done(series):
    follow_in(series)
    write_day(series / "texts", "2026-11-04", 4)
    write_day(series / "texts", "2026-11-05", 5, [])
    outcome = follow_in(series, "--json=-")
    told = json.loads(outcome.stdout)
    assert (told["promoted"], told["current"]) == (["2026-11-04"], "2026-11-04")
    assert [one["name"] for one in told["refused"]] == ["2026-11-05"]
