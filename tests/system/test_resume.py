"""A run that is killed anywhere, and started again by the same command, makes the same bytes."""

from __future__ import annotations

import gzip
import pathlib
import re
import time

import pytest

from beam2vec import Run
from pipeline.runs.verify import verify_run
from pipeline.storage.lock import Lock
from pipeline.storage.open_storage import open_storage
from tests.helpers import crashing
from tests.helpers.commands import TINY, digest_of, finish, run, start, train, write_corpus
from tests.helpers.crashing import (
    Moment,
    interrupt,
    interrupt_twice,
    kill,
    run_until,
    terminate,
    terminate_another_thread,
)

LAYOUT = ("--block_bytes=12000", "--batches=stored", "--checkpoint_every=5", "--keep_checkpoints=2", "--no_report")

MOMENTS = {
    "unpacking": Moment("put", "text/", 2, "inside"),
    "counting": Moment("put", "counts/", 4, "inside"),
    "vocabulary, before the record": Moment("put", "records/vocabulary/"),
    "unigram": Moment("put", "unigram/", when="inside"),
    "encoding": Moment("put", "tokens/", 2, "inside"),
    "storing batches, before a record": Moment("put", "records/batches/", 4),
    "training": Moment("train", nth=6),
    "between checkpoint parts and record": Moment("put", "records/checkpoints/", 2),
    "pruning, between record and parts": Moment("delete", "checkpoints/", 1),
}
MORE_MOMENTS = {
    "run.json": Moment("create", "run.json", when="after"),
    "unpacking, before the record": Moment("put", "records/text/"),
    "counting, before a record": Moment("put", "records/counts/", 3),
    "vocabulary": Moment("put", "vocabulary/", when="inside"),
    "unigram, before the record": Moment("put", "records/unigram/"),
    "encoding, before a record": Moment("put", "records/tokens/", 2),
    "storing batches": Moment("put", "batches/", 7, "inside"),
    "first checkpoint, half a part": Moment("put", "checkpoints/", 1, "inside"),
    "after a checkpoint": Moment("put", "records/checkpoints/", 3, "after"),
    "metrics": Moment("put", "metrics/", 2, "after"),
    "pruning, before a record": Moment("delete", "records/checkpoints/", 2),
    "the lock's release": Moment("delete", "lock.json"),
}


small_pieces = crashing.small_pieces


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("corpus")
    text = write_corpus(folder / "text", lines=250).read_bytes()
    (folder / "text").unlink()
    half = text.index(b"\n", len(text) // 2) + 1
    (folder / "a.txt").write_bytes(text[:half])
    (folder / "b.txt.gz").write_bytes(gzip.compress(text[half:]))
    return folder


@pytest.fixture(scope="module")
def digest(corpus, tmp_path_factory) -> str:
    return digest_of(corpus, tmp_path_factory.mktemp("whole") / "run")


def command(corpus: pathlib.Path, output: pathlib.Path) -> list[str]:
    return [f"--input={corpus}", f"--output={output}", *TINY, *LAYOUT]


def check_killed(output: pathlib.Path, state: str) -> None:
    """Every record that is there tells the truth; besides, files that were to get one are there."""
    report = verify_run(open_storage(str(output)))
    assert [problem for problem in report.problems if "that no record names" not in problem] == []
    assert report.state == state


def check_stopped(output: pathlib.Path, inputs: bool = False) -> None:
    """Nothing is wrong but that the run has not ended."""
    report = verify_run(open_storage(str(output)), inputs)
    assert (report.problems, report.state) == ([], "unfinished")


def check_sound(output: pathlib.Path) -> None:
    report = verify_run(open_storage(str(output)), inputs=True)
    assert (report.problems, report.state) == ([], "finished")
    assert list(output.rglob(".beam2vec-tmp-*")) == []


def check_resumes(corpus: pathlib.Path, output: pathlib.Path, digest: str) -> None:
    again = train(*command(corpus, output))
    assert again.status == 0, again.stderr
    assert again.digest == digest
    check_sound(output)
    assert not (output / "lock.json").exists()
    assert len({part.parent for part in output.glob("checkpoints/*/*/part-*")}) == 2


@pytest.mark.parametrize(
    "moment",
    [
        *(pytest.param(moment, id=name) for name, moment in MOMENTS.items()),
        *(pytest.param(moment, id=name, marks=pytest.mark.slow) for name, moment in MORE_MOMENTS.items()),
    ],
)
def test_resume_after_kill_gives_the_same_digest(corpus, digest, tmp_path, moment):
    output = tmp_path / "run"
    assert run_until(moment, kill, command(corpus, output), tmp_path / "log") == -9
    assert (output / "lock.json").exists()
    check_killed(output, "finished" if moment.prefix == "lock.json" else "unfinished")
    check_resumes(corpus, output, digest)


def test_killed_again_and_again_a_run_still_ends_with_the_same_digest(corpus, digest, tmp_path):
    output = tmp_path / "run"
    second_checkpoint = Moment("put", "records/checkpoints/", 2, "after")
    for moment in (MOMENTS["counting"], MOMENTS["encoding"], second_checkpoint, second_checkpoint):
        assert run_until(moment, kill, command(corpus, output), tmp_path / "log") == -9
    check_resumes(corpus, output, digest)


def test_killed_while_text_is_kept_back_it_ends_with_the_same_loss_on_that_text(corpus, tmp_path):
    held = "--holdout=0.1"
    whole = train(*command(corpus, tmp_path / "whole"), held)
    output = tmp_path / "run"
    moment = Moment("put", "records/checkpoints/", 2, "after")
    assert run_until(moment, kill, [*command(corpus, output), held], tmp_path / "log") == -9
    again = train(*command(corpus, output), held)
    assert again.digest == whole.digest
    losses = [Run.open(str(folder)).metrics()["holdout_loss"].to_pylist() for folder in (tmp_path / "whole", output)]
    assert losses[0][-1] == losses[1][-1] is not None
    kept_back = [re.findall("^kept back .*$", outcome.stdout, re.MULTILINE) for outcome in (whole, again)]
    assert kept_back[0] == kept_back[1]
    assert len(kept_back[0]) == 1
    check_sound(output)


def test_a_resumed_run_makes_nothing_twice(corpus, tmp_path):
    output = tmp_path / "run"
    after_a_checkpoint = Moment("put", "records/checkpoints/", 3, "after")
    assert run_until(after_a_checkpoint, kill, command(corpus, output), tmp_path / "log") == -9
    before = times(output)
    assert train(*command(corpus, output)).status == 0
    after = times(output)
    made = {path for path in after if before.get(path) != after[path]}
    assert {path.partition("/")[0] for path in made} <= {"checkpoints", "metrics", "records", "timings"}
    assert {path.split("/")[1] for path in made if path.startswith("records/")} == {
        "checkpoints",
        "metrics",
        "timings",
        "training",
    }


def times(output: pathlib.Path) -> dict[str, int]:
    return {str(p.relative_to(output)): p.stat().st_mtime_ns for p in output.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("act", "status"), [(terminate, 143), (interrupt, 130)])
def test_a_signal_during_training_leaves_a_checkpoint(corpus, digest, tmp_path, act, status):
    output = tmp_path / "run"
    arguments = [*command(corpus, output), "--checkpoint_every=1000"]
    assert run_until(Moment("train", nth=3), act, arguments, tmp_path / "log") == status
    said = (tmp_path / "log").read_text()
    assert "run the same command again to go on" in said
    assert "Traceback" not in said
    assert len(list(output.glob("records/checkpoints/*/*"))) == 1
    assert not (output / "lock.json").exists()
    check_stopped(output)
    check_resumes(corpus, output, digest)


def test_a_second_signal_does_not_wait(corpus, digest, tmp_path):
    output = tmp_path / "run"
    arguments = [*command(corpus, output), "--checkpoint_every=1000"]
    assert run_until(Moment("train", nth=3), interrupt_twice, arguments, tmp_path / "log") == 130
    assert not (output / "lock.json").exists()
    assert not (output / "checkpoints").exists()
    check_resumes(corpus, output, digest)


@pytest.mark.parametrize(
    ("name", "act", "status", "next_stage"),
    [
        ("unpacking", terminate, 143, "counts"),
        ("counting", interrupt, 130, "vocabulary"),
        ("encoding", terminate, 143, "batches"),
    ],
)
def test_a_signal_before_training_is_obeyed_at_once(corpus, digest, tmp_path, name, act, status, next_stage):
    output = tmp_path / "run"
    assert run_until(MOMENTS[name], act, command(corpus, output), tmp_path / "log") == status
    assert "run the same command again to go on" in (tmp_path / "log").read_text()
    assert not (output / next_stage).exists()
    assert not (output / "lock.json").exists()
    check_killed(output, "unfinished")
    check_resumes(corpus, output, digest)


def test_a_second_run_in_the_same_output_is_refused(corpus, tmp_path):
    output = tmp_path / "run"
    with Lock(open_storage(str(output))):
        second = train(*command(corpus, output))
    assert second.status == 3
    assert "is in use by process" in second.error
    assert train(*command(corpus, output)).status == 0


def test_the_command_itself_stops_well(corpus, digest, tmp_path):
    """Without any help of the tests: a process of its own, a second one beside it, and SIGTERM.

    The system may hand a signal to any thread, and Python runs handlers in the main one.
    """
    output = tmp_path / "run"
    arguments = [*command(corpus, output), "--epochs=60000", "--batches=stream", "--checkpoint_every=10"]
    first = start("jobs.train", *arguments)
    try:
        while not (output / "checkpoints").exists() and first.poll() is None:
            time.sleep(0.05)
        second = run("jobs.train", *arguments)
        assert second.status == 3, second.stderr
    finally:
        if first.poll() is None:
            terminate_another_thread(first)
    outcome = finish(first)
    assert outcome.status == 143, outcome.stderr
    assert "run the same command again to go on" in outcome.error
    assert not (output / "lock.json").exists()
    check_stopped(output, inputs=True)
