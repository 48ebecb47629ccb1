"""`beam2vec promote` and `beam2vec log`: what a person decides, and sees."""

from __future__ import annotations

import json
import shutil

import pytest

import beam2vec
from jobs.generation import Maker
from pipeline.series.entries import Promoted
from pipeline.series.log import Log
from tests.helpers.commands import run
from tests.helpers.days import follow, lines_of, write_day


@pytest.fixture(scope="module")
def held_back(tmp_path_factory):
    """Two days, and a third that is refused: it is the second one again."""
    folder = tmp_path_factory.mktemp("held")
    for day, seed in ((1, 1), (2, 2), (3, 2)):
        write_day(folder / "texts", f"2026-11-0{day}", seed)
    assert follow(folder / "series", folder / "texts").status == 4
    return folder


@pytest.fixture
def series(held_back, tmp_path):
    for name in ("texts", "series"):
        shutil.copytree(held_back / name, tmp_path / name)
    return tmp_path


def promote(folder, *arguments: str):
    return run("jobs.promote", f"--series={folder}/series", *arguments)


def again(folder):
    return follow(folder / "series", folder / "texts")


def promoted(folder) -> list[str]:
    return [entry.name for entry in Log.open(f"{folder}/series").entries if isinstance(entry, Promoted)]


def current(folder) -> str:
    return beam2vec.Run(folder / "series").uri.rpartition("/")[2]


def test_what_is_released_is_judged_again(series):
    assert promote(series, "--release=2026-11-03").status == 0
    (series / "texts/dt=2026-11-03/part-0.txt").write_text("\n".join(lines_of(9)))
    assert again(series).status == 0
    assert current(series) == "2026-11-03~2"
    assert beam2vec.Run(f"{series}/series@2026-11-03").uri.endswith("2026-11-03~2")


def test_what_is_released_and_as_bad_as_before_is_refused_again(series):
    promote(series, "--release=2026-11-03")
    assert again(series).status == 4
    assert current(series) == "2026-11-02"


def test_what_is_held_back_is_told_again_when_it_is_asked_for(series):
    outcome = follow(series / "series", series / "texts", "--partition=2026-11-03")
    assert outcome.status == 4
    assert outcome.stdout.startswith("held back 2026-11-03  seen: ")


def test_what_is_dropped_is_never_taken(series):
    assert promote(series, "--drop=2026-11-03").status == 0
    assert again(series).stdout.startswith("nothing new")
    assert "--release=2026-11-03: it is dropped" in promote(series, "--release=2026-11-03").error


def test_a_rollback_is_seen_at_once_and_its_text_waits(series):
    assert promote(series, "--roll_back=2026-11-01").stdout == "current   2026-11-01\n"
    assert current(series) == "2026-11-01"
    assert json.loads((series / "series/current.json").read_text())["name"] == "2026-11-01"
    assert not (series / "series/generations/2026-11-02/_SUCCESS").exists()
    assert again(series).stdout.startswith("nothing new; held back since an earlier call: 2026-11-02, 2026-11-03\n")
    promote(series, "--release=2026-11-02")
    assert again(series).status == 0
    digests = [entry.model for entry in Log.open(f"{series}/series").entries if isinstance(entry, Promoted)]
    assert digests[1] == digests[2]  # the same parent, text and options: the same bytes


def test_force_takes_what_a_relative_gate_would_refuse(series, monkeypatch):
    from pipeline.series import gates

    judged = gates.judged

    def strict(gate, value, *others):
        figure = judged(gate, value, *others)
        return gates.Figure(gate, value, None, -1.0, "refused", "strict") if gate == "unknown" else figure

    monkeypatch.setattr(gates, "judged", strict)
    write_day(series / "texts", "2026-11-04", 4)
    assert again(series).status == 4
    assert promote(series, "--force=2026-11-04").status == 0
    assert again(series).status == 0
    assert current(series) == "2026-11-04~2"


def test_a_rollback_does_not_wait_for_what_is_being_made(series, monkeypatch):
    write_day(series / "texts", "2026-11-04", 4)
    make = Maker.make

    def rolled_back(self, *given):
        entry = make(self, *given)
        if not promoted(series)[2:]:
            assert promote(series, "--roll_back=2026-11-01").status == 0
            monkeypatch.setattr(Maker, "make", make)
        return entry

    monkeypatch.setattr(Maker, "make", rolled_back)
    assert again(series).status == 4
    assert current(series) == "2026-11-01"
    entries = Log.open(f"{series}/series").entries
    assert [type(entry).__name__ for entry in entries[-3:]] == ["Decided", "RolledBack", "Refused"]
    assert entries[-1].why == "withdrawn: what it goes on from is not current any more"
    promote(series, "--release=2026-11-04")
    assert again(series).status == 0
    assert current(series) == "2026-11-04~2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--release=2026-11-01"], "--release=2026-11-01: it is promoted; refused or withdrawn are 2026-11-03"),
        (["--drop=x"], "--drop=x: it is not in the log"),
        (["--roll_back=2026-11-03"], "there is no such generation before the current one; there are 2026-11-02"),
        (["--roll_back=2026-11-02"], "it is current already"),
        ([], "no decision: give one of --release, --force, --drop, --roll_back"),
        (["--drop=x", "--release=x"], "--release and --drop: give one of"),
    ],
)
def test_what_cannot_be_is_one_line(series, arguments, message):
    outcome = promote(series, *arguments)
    assert (outcome.status, message in outcome.error) == (2, True), outcome.error


def test_what_was_removed_is_no_aim_of_a_rollback(series):
    (series / "series/generations/2026-11-01/run.json").unlink()
    assert "--roll_back=2026-11-01: it was removed" in promote(series, "--roll_back=2026-11-01").error


def test_a_current_generation_that_somebody_has_removed_is_one_line_and_can_be_left(series):
    (series / "series/generations/2026-11-02/run.json").unlink()
    write_day(series / "texts", "2026-11-04", 4)
    outcome = again(series)
    assert (outcome.status, "generations/2026-11-02 is not there" in outcome.error) == (2, True)
    assert promote(series, "--roll_back=2026-11-01").status == 0
    assert again(series).status == 0
    assert current(series) == "2026-11-04"


def test_the_log_is_a_table(series):
    promote(series, "--roll_back=2026-11-01")
    promote(series, "--drop=2026-11-03")
    out = run("jobs.log", f"--series={series}/series").stdout.splitlines()
    words = [" ".join(line.split()[3:5]) for line in out[1:-2]]
    assert words[1:] == [
        "decided 2026-11-01",
        "promoted 2026-11-01",
        "decided 2026-11-02",
        "promoted 2026-11-02",
        "decided 2026-11-03",
        "refused 2026-11-03",
        "rolled back",
        "dropped 2026-11-03",
    ]
    assert "seen=1!" in out[7]
    assert out[-2] == "figures of gates: ! refused"
    assert "1 files" not in "".join(out)
    assert out[-1] == "current: 2026-11-01 (generations/2026-11-01), 0 since the last cold one"
    told = json.loads(run("jobs.log", f"--series={series}/series", "--json=-").stdout)
    assert (len(told["entries"]), told["current"]) == (9, "generations/2026-11-01")


def test_the_log_is_a_page(series):
    outcome = run("jobs.log", f"--series={series}/series", f"--to={series}/page.html")
    assert (outcome.status, outcome.stdout.startswith(" entry")) == (0, True)
    assert "<svg" in (series / "page.html").read_text()


def test_no_series_is_one_line(tmp_path):
    for job in ("jobs.log", "jobs.promote"):
        arguments = ["--drop=x"] if job == "jobs.promote" else []
        outcome = run(job, f"--series={tmp_path}/s", *arguments)
        assert (outcome.status, "there is no series" in outcome.error) == (2, True)
