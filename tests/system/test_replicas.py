"""Several trainers on a runner: one digest, whatever is killed when, and each lost piece done again alone."""

from __future__ import annotations

import pathlib

import pytest

from pipeline.runs.verify import verify_run
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import sealed_json, unsealed_json
from tests.helpers.commands import TINY, digest_of, train, write_corpus
from tests.helpers.crashing import Moment, interrupt, kill, run_until, terminate

SEVERAL = ("--replicas=2", "--rounds=2", "--epochs=1", "--no_report")
KILLS = {
    "a replica in training": Moment("train", nth=3),
    "before a replica's record": Moment("put", "records/slices/", 3),
    "before a partition's record": Moment("put", "records/merges/", 2),
    "between round and checkpoint": Moment("put", "records/checkpoints/", 2),
}
MORE_KILLS = {
    "the first checkpoint": Moment("put", "records/checkpoints/", 1),
    "a replica's part, half written": Moment("put", "slices/", 4, "inside"),
    "after a replica's record": Moment("put", "records/slices/", 3, "after"),
    "a partition, half written": Moment("put", "checkpoints/", 3, "inside"),
    "after a partition's record": Moment("put", "records/merges/", 1, "after"),
    "metrics": Moment("put", "metrics/", 2, "after"),
    "after a checkpoint's record": Moment("put", "records/checkpoints/", 2, "after"),
    "while records of partitions are removed": Moment("delete", "records/merges/", 1, "after"),
    "while slices are removed": Moment("delete", "slices/", 2),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text.txt", lines=250)


@pytest.fixture(scope="module")
def digest(corpus, tmp_path_factory) -> str:
    return digest_of(corpus, tmp_path_factory.mktemp("whole") / "run", *SEVERAL)


def command(corpus: pathlib.Path, output: pathlib.Path) -> list[str]:
    return [f"--input={corpus}", f"--output={output}", *TINY, *SEVERAL]


def check_killed(output: pathlib.Path) -> None:
    """Every record that is there tells the truth; besides, files that were to get one are there."""
    report = verify_run(open_storage(str(output)))
    assert [problem for problem in report.problems if "that no record names" not in problem] == []
    assert report.state == "unfinished"


def check_sound(output: pathlib.Path) -> None:
    report = verify_run(open_storage(str(output)))
    assert (report.problems, report.state) == ([], "finished")


@pytest.mark.parametrize(
    "layout",
    [
        ("--direct_num_workers=1", "--threads=1", "--block_bytes=9000"),
        ("--direct_num_workers=3", "--threads=4", "--batches=stored", "--block_bytes=20000", "--keep_checkpoints=1"),
    ],
    ids=["one worker", "three workers, batches stored"],
)
def test_digest_does_not_depend_on_workers_threads_or_layout(corpus, digest, tmp_path, layout):
    assert digest_of(corpus, tmp_path / "run", *SEVERAL, *layout) == digest
    check_sound(tmp_path / "run")
    assert not list((tmp_path / "run").glob("slices/*/*/*"))


def test_digest_depends_on_replicas_and_rounds(corpus, digest, tmp_path):
    found = [
        digest_of(corpus, tmp_path / f"{i}", *SEVERAL, other) for i, other in enumerate(("--rounds=1", "--replicas=3"))
    ]
    assert len({digest, *found}) == 3


@pytest.mark.parametrize(
    "moment",
    [
        *(pytest.param(moment, id=name) for name, moment in KILLS.items()),
        *(pytest.param(moment, id=name, marks=pytest.mark.slow) for name, moment in MORE_KILLS.items()),
    ],
)
def test_resume_after_kill_gives_the_same_digest(corpus, digest, tmp_path, moment):
    output = tmp_path / "run"
    assert run_until(moment, kill, command(corpus, output), tmp_path / "log") == -9
    check_killed(output)
    again = train(*command(corpus, output))
    assert (again.status, again.digest) == (0, digest), again.stderr
    check_sound(output)
    left = [info.path for info in open_storage(str(output)).list()]
    assert not any(path.startswith(("slices/", "records/slices/", "records/merges/")) for path in left)


@pytest.mark.parametrize(("act", "status"), [(terminate, 143), (interrupt, 130)])
def test_a_signal_stops_replicas_at_once(corpus, digest, tmp_path, act, status):
    output = tmp_path / "run"
    assert run_until(Moment("train", nth=2), act, command(corpus, output), tmp_path / "log") == status
    said = (tmp_path / "log").read_text()
    assert "stopped; run the same command again to go on" in said
    assert "a checkpoint is written first" not in said
    check_killed(output)
    assert train(*command(corpus, output)).digest == digest
    check_sound(output)


def test_a_finished_run_is_not_trained_again(corpus, digest, tmp_path):
    output = tmp_path / "run"
    assert digest_of(corpus, output, *SEVERAL) == digest
    made = {path: path.stat().st_mtime_ns for path in output.glob("checkpoints/*/*/*")}
    again = train(*command(corpus, output))
    assert (again.status, again.digest) == (0, digest)
    assert f"{output} had ended before, at step " in again.stderr
    assert {path: path.stat().st_mtime_ns for path in output.glob("checkpoints/*/*/*")} == made
    other = train(*command(corpus, output), "--rounds=3")
    assert other.status == 2
    assert "--rounds is 3, the run has 2" in other.error


def test_a_run_from_before_there_were_replicas_goes_on(corpus, tmp_path):
    output = tmp_path / "run"
    found = digest_of(corpus, output)
    saved = unsealed_json((output / "run.json").read_bytes())
    del saved["options"]["model"]["replicas"], saved["options"]["model"]["rounds"]
    (output / "run.json").write_bytes(sealed_json(saved))
    made = {path: path.stat().st_mtime_ns for path in output.glob("checkpoints/*/*/*")}
    assert digest_of(corpus, output, "--replicas=1") == found
    assert {path: path.stat().st_mtime_ns for path in output.glob("checkpoints/*/*/*")} == made
    other = train(f"--input={corpus}", f"--output={output}", *TINY, *SEVERAL)
    assert other.status == 2
    assert "--replicas is 2, the run has 1" in other.error


def test_too_many_slices_for_the_corpus_are_a_usage_error(corpus, tmp_path):
    outcome = train(*command(corpus, tmp_path / "run"), "--batch_size=4096")
    assert outcome.status == 2
    assert "--replicas=2 in --rounds=2 need an epoch of at least 4 training steps, and" in outcome.error
