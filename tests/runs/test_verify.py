"""What `jobs.verify` says of a run that is whole, at work, unfinished, or has lost something."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import pathlib
import shutil

import pytest

from pipeline.batches.schedule import step_name
from pipeline.errors import InputError
from pipeline.model.checkpoints import CheckpointNumbers, read_blocks
from pipeline.runs import verify
from pipeline.runs.directory import RunDirectory, open_run
from pipeline.runs.verify import verify_run
from pipeline.storage.commits import Commits
from pipeline.storage.lock import Lock
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Record, sealed_json
from tests.helpers.commands import Outcome, train
from tests.helpers.commands import run as run_job
from tests.helpers.whole_runs import EVERY_STAGE, write_every_kind

FIRST, LAST = 10, 14
"""Steps of the two checkpoints."""
OF_LAST = (f"checkpoints/*/step=*{LAST}/*", f"metrics/*/step=*{LAST}-*")
"""Artefacts of the last step; digits of a hash, which follow, are of no step."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> pathlib.Path:
    """A run with something of every stage, and its corpus: a file with a bad line, a packed one and an empty one."""
    folder = tmp_path_factory.mktemp("verify")
    corpus = folder / "a corpus"
    write_every_kind(corpus)
    outcome = train(f"--input={corpus}", f"--output={folder / 'a run'}", *EVERY_STAGE)
    assert outcome.status == 0, outcome.stderr
    return folder


@pytest.fixture
def run(trained, tmp_path) -> RunDirectory:
    """A copy of the run."""
    return open_run(str(shutil.copytree(trained / "a run", tmp_path / "a run")))


def verified(run: RunDirectory, *more: str) -> Outcome:
    return run_job("jobs.verify", f"--run={run.storage.root}", *more)


def place(outcome: Outcome) -> str:
    """The line that says how far the run is."""
    return outcome.stdout.splitlines()[1]


def paths(run: RunDirectory, pattern: str) -> list[str]:
    found = [info.path for info in run.storage.list() if fnmatch.fnmatch(info.path, pattern)]
    assert found, f"nothing is called {pattern}"
    return found


def remove(run: RunDirectory, *patterns: str) -> None:
    for path in [path for pattern in patterns for path in paths(run, pattern)]:
        run.storage.delete(path)


def checkpoint(run: RunDirectory, step: int) -> Record:
    record = run.records.load("checkpoints", step_name(step), run.keys["checkpoints"])
    assert record
    return record


def digest_of(run: RunDirectory, step: int) -> str:
    return checkpoint(run, step).read(CheckpointNumbers).digest


def part(step: int) -> str:
    return f"checkpoints/*/step=*{step}/part-*.parquet"


def test_a_sound_run_has_no_problem_and_the_digest_of_its_last_checkpoint(run):
    outcome = verified(run, "--input")
    assert (outcome.status, outcome.stderr) == (0, "")
    artefacts = len(run.storage.list()) - len(paths(run, "records/*")) - 1  # run.json
    assert outcome.stdout.splitlines()[0] == f"{artefacts} artefacts and 3 input files checked, 0 differ"
    assert place(outcome) == f"finished: step {LAST} of {LAST}"
    assert outcome.digest == digest_of(run, LAST)


ARTEFACTS = (
    "text/*.txt", "dead_letters/*.parquet", "phrases/pass=1/counts/*.parquet", "phrases/pass=1/*/words.parquet",
    "phrases/pass=1/*/pairs/*.parquet", "phrases/pass=1/*/phrases.parquet", "counts/*.parquet",
    "vocabulary/*.parquet", "unigram/*.parquet", "tokens/*.parquet", "batches/*/epoch=00001/*.parquet",
    part(FIRST), part(LAST), f"metrics/*{LAST}-*.parquet",
)  # fmt: skip
RECORDS = (
    "records/text/*", "records/words-1/*", "records/phrases-1/*/words.json", "records/phrases-1/*/unit-*",
    "records/phrases-1/*/phrases.json", "records/counts/*", "records/vocabulary/*", "records/unigram/*",
    "records/tokens/*", "records/batches/*/epoch=00001-*", f"records/checkpoints/*{LAST}.json", "records/training/*",
)  # fmt: skip


@pytest.mark.parametrize(
    "pattern",
    [
        *ARTEFACTS,
        *RECORDS,
        f"records/metrics/*{LAST}.json",
        "records/timings/*seconds.json",
        "records/timings/*warnings.json",
    ],
)
@pytest.mark.parametrize("damage", ["bit", "cut"])
def test_each_damaged_file_is_named_once_with_what_to_do(run, pattern, damage):
    (path,) = paths(run, pattern)
    data = bytearray(run.storage.read(path))
    data[len(data) // 2] ^= 1
    run.storage.put(path, data if damage == "bit" else data[:-3])
    outcome = verified(run)
    assert outcome.status == 1
    (problem,) = (line for line in outcome.stderr.splitlines() if path in line)
    assert "start the run again" in problem


def test_a_damaged_checkpoint_is_named_with_what_becomes_of_it(run):
    (path,) = paths(run, OF_LAST[0])
    size = len(run.storage.read(path))
    run.storage.put(path, b"no Parquet")
    assert verified(run).stderr == (
        f"{run.storage.uri(path)} has 10 bytes where its record says {size}: start the run again, which makes it again"
        " if it is the newest checkpoint, and else removes it\n"
    )


def test_a_damaged_record_is_named_once_whatever_the_run_is_called(trained, tmp_path):
    run = open_run(str(shutil.copytree(trained / "a run", tmp_path / "missing")))
    (path,) = paths(run, f"records/checkpoints/*{LAST}.json")
    run.storage.put(path, b"{}")
    assert len([line for line in verified(run).stderr.splitlines() if path in line]) == 1


@pytest.mark.parametrize("pattern", [*ARTEFACTS, *RECORDS])
def test_each_missing_file_is_named_once_with_what_to_do(run, pattern):
    (path,) = paths(run, pattern)
    run.storage.delete(path)
    outcome = verified(run)
    assert outcome.status == 1
    # A packed file has a record of its own, which is named as the file that it is of.
    told = "b.txt.gz was read" if pattern.startswith("records/text") else f"{path} is missing"
    (problem,) = (line for line in outcome.stderr.splitlines() if told in line)
    assert "start the run again" in problem


@pytest.mark.parametrize(
    ("removed", "told"),
    [
        (["records/*"], "vocabulary/"),
        (["records/checkpoints/*", "records/metrics/*", "records/timings/*"], f"step={LAST:012d}.json is missing"),
        ([f"records/*{LAST}.json", *OF_LAST], f"step={LAST:012d}.json is missing"),
        (["records/metrics/*"], "metrics/"),
        (["records/batches/*"], "epoch=00000-shard-000000000.json is missing"),
        (["records/batches/*", "batches/*"], "epoch=00000-shard-000000000.json is missing"),
        (["records/counts/*"], "a.txt was read"),
        (["records/text/*"], "b.txt.gz was read"),
        (["records/text/*", "text/*"], "b.txt.gz was read"),
        (["records/words-1/*", "phrases/pass=1/counts/*"], "records/words-1/"),
        (["records/phrases-1/*"], "phrases.json is missing"),
        (["records/vocabulary/*", "vocabulary/*"], "vocabulary.json is missing"),
        (["records/tokens/*", "tokens/*"], "records/tokens/"),
        (["records/unigram/*", "unigram/*"], "unigram.json is missing"),
        (["records/training/*"], "end.json is missing"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_a_run_that_has_lost_records_is_not_sound(run, removed, told):
    remove(run, *removed)
    outcome = verified(run)
    assert outcome.status == 1
    problems = outcome.stderr.splitlines()
    assert any(told in line and "start the run again" in line for line in problems), problems
    assert f"{len(problems)} differ" in outcome.stdout


def test_batches_are_missed_only_where_they_are_stored_and_text_only_where_files_are_packed(run, trained, tmp_path):
    other = f"--output={tmp_path / 'other'}"
    assert train(f"--input={trained / 'a corpus' / 'a.txt'}", other, *EVERY_STAGE, "--batches=stream").status == 0
    outcome = run_job("jobs.verify", f"--run={tmp_path / 'other'}")
    assert (outcome.status, outcome.stderr) == (0, "")


def other_run_json(run: RunDirectory, **change: object) -> None:
    """Puts the run.json of a run with other input or other options in the place of this one's."""
    identity = run.identity | {"inputs": change.pop("inputs", run.identity["inputs"])}
    model = identity["options"]["model"] | change
    run.storage.put("run.json", sealed_json(identity | {"options": identity["options"] | {"model": model}}))


def test_a_run_json_of_another_run_is_told(run):
    other_run_json(run, inputs=run.identity["inputs"][:1])
    outcome = verified(run)
    assert outcome.status == 1
    (problem,) = (line for line in outcome.stderr.splitlines() if "records in" in line)
    assert problem == (
        f"{len(paths(run, 'records/*'))} records in {run.storage.uri('records')} are not of this run's options:"
        " run.json is of another run, put it back"
    )
    assert outcome.stdout.endswith("no digest: the run has no whole checkpoint\n")


def test_a_run_json_of_a_run_with_the_same_corpus_is_told(run):
    other_run_json(run, dims=6)
    outcome = verified(run)
    assert outcome.status == 1
    (problem,) = (line for line in outcome.stderr.splitlines() if "records in" in line)
    assert problem.startswith("7 records in ")
    assert problem.endswith("or run.json is of another run: then put it back")
    assert outcome.stdout.endswith("no digest: the run has no whole checkpoint\n")


def test_records_that_a_command_without_its_lock_has_left_are_told(run):
    left = Commits(run.records, "checkpoints", "9" * 32)
    left.commit(step_name(99), [left.put("step=000000000099/part-000000-of-000001.parquet", b"late")])
    outcome = verified(run)
    assert outcome.status == 1
    about_records, about_files = outcome.stderr.splitlines()
    assert "1 records in" in about_records
    assert "a command that lost its lock has left them: start the run again, it removes them" in about_records
    assert "checkpoints/99999999/step=000000000099 has 1 file that no record names" in about_files
    assert outcome.digest == digest_of(run, LAST)


@pytest.mark.parametrize("folder", ["counts", "checkpoints/12345678", "dead_letters", "slices/notes"])
def test_files_that_no_record_names_are_told_with_their_folder(run, folder):
    for name in ("a", "b"):
        run.storage.put(f"{folder}/{name}", b"?")
    run.storage.put("thesis/chapter.tex", b"not in a folder of ours")
    outcome = verified(run)
    assert outcome.status == 1
    (problem,) = outcome.stderr.splitlines()
    assert problem == (
        f"{run.storage.uri(folder)} has 2 files that no record names: start the run again, or delete them"
    )


@pytest.mark.parametrize("path", ["records/a.json", "records/counts/a.json", "records/a/b/c/d.json"])
def test_what_is_no_record_among_the_records_is_told(run, path):
    run.storage.put(path, b"{}")
    outcome = verified(run)
    assert outcome.status == 1
    assert outcome.stderr == f"{run.storage.uri(path)} is damaged: delete it and start the run again\n"


def unfinished(run: RunDirectory) -> None:
    """Leaves what a kill after the first checkpoint leaves."""
    remove(run, f"records/*/step=*{LAST}.json", *OF_LAST, "records/training/*", "records/timings/*")


def test_a_run_that_has_not_ended_is_unfinished(run):
    unfinished(run)
    outcome = verified(run)
    assert (outcome.status, outcome.stderr) == (1, "")
    assert place(outcome) == f"unfinished: step {FIRST} of {LAST}"
    assert outcome.digest == digest_of(run, FIRST)


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        (("checkpoints", "metrics", "timings"), "there is no checkpoint yet"),
        (("tokens",), "0 of 1,750 tokens are encoded"),
        (("vocabulary",), "1 unit of work is counted"),
    ],
)
def test_a_run_that_has_no_checkpoint_says_how_far_it_is(run, stages, told):
    unfinished(run)
    gone = {"checkpoints", "metrics", *stages}
    remove(
        run, *(f"records/{stage}/*" for stage in gone - {"timings"}), *(f"{stage}/*" for stage in gone - {"timings"})
    )
    outcome = verified(run)
    assert (outcome.status, outcome.stderr) == (1, "")
    assert place(outcome) == f"unfinished: {told}"


def test_a_run_at_work_is_told_as_such(run):
    unfinished(run)
    run.storage.put(f"checkpoints/{run.keys['checkpoints'][:8]}/step=000000000012/part-000000-of-000001.parquet", b"?")
    with Lock(run.storage):
        outcome = verified(run)
        assert (outcome.status, outcome.stderr) == (0, "")
        assert place(outcome) == f"at work: step {FIRST} of {LAST}"
    assert verified(run).status == 1


def test_what_is_damaged_is_told_of_a_run_at_work_too(run):
    (path,) = paths(run, "tokens/*.parquet")
    run.storage.delete(path)
    with Lock(run.storage):
        outcome = verified(run)
    assert outcome.status == 1
    assert path in outcome.stderr


def test_a_lock_that_a_dead_process_has_left_is_no_sign_of_work(run):
    unfinished(run)
    child = os.fork()
    if not child:
        Lock(run.storage).acquire()
        os._exit(0)
    os.waitpid(child, 0)
    assert run.storage.find("lock.json")
    outcome = verified(run)
    assert outcome.status == 1
    assert place(outcome) == f"unfinished: step {FIRST} of {LAST}"


def test_a_checkpoint_that_is_pruned_while_it_is_read_is_no_problem(run, monkeypatch):
    def pruned(records, ref):
        if ref.step == FIRST:
            run.records.remove(checkpoint(run, FIRST))
        return read_blocks(records, ref)

    monkeypatch.setattr(verify, "read_blocks", pruned)
    report = verify_run(run.storage)
    assert (report.problems, report.digest) == ([], digest_of(run, LAST))


def test_the_digest_is_that_of_the_newest_sound_checkpoint(run):
    remove(run, part(LAST))
    assert verified(run).digest == digest_of(run, FIRST)
    remove(run, part(FIRST))
    assert verified(run).stdout.endswith("no digest: the run has no whole checkpoint\n")


def test_a_model_digest_that_its_parts_do_not_give_is_a_problem(run):
    record = checkpoint(run, LAST)
    run.records.commit(dataclasses.replace(record, numbers={**record.numbers, "digest": "0" * 64}))
    (problem,) = verified(run).stderr.splitlines()
    assert f"/step={LAST:012d}: its model digest is" in problem


@pytest.mark.parametrize("change", ["bytes", "longer", "gone"])
@pytest.mark.parametrize("name", ["a.txt", "b.txt.gz"])
def test_inputs_are_read_only_when_asked_for_and_compared(run, trained, change, name):
    file = trained / "a corpus" / name
    before = file.read_bytes()
    try:
        if change == "gone":
            file.unlink()
        else:
            file.write_bytes(before[:-1] + b"0" if change == "bytes" else before + b"more")
        assert verified(run).status == 0
        outcome = verified(run, "--input")
    finally:
        file.write_bytes(before)
    assert outcome.status == 1
    (problem,) = outcome.stderr.splitlines()
    assert str(file) in problem


def test_input_that_was_not_counted_is_a_problem(run, trained):
    remove(run, "records/counts/*")
    problems = verified(run, "--input").stderr.splitlines()
    (problem,) = (line for line in problems if "has no content digest" in line)
    assert str(trained / "a corpus" / "a.txt") in problem


def test_what_is_no_run_is_said_to_be_none(tmp_path):
    with pytest.raises(InputError, match="is not the output of a run"):
        verify_run(open_storage(str(tmp_path / "nothing")))
