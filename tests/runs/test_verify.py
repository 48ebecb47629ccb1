from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pyarrow as pa
import pytest

from pipeline.corpus import digests as input_digests
from pipeline.corpus.files import match_inputs
from pipeline.errors import InputError
from pipeline.model.checkpoints import read_blocks, write_checkpoint
from pipeline.model.model import Model
from pipeline.options import Options
from pipeline.runs import verify
from pipeline.runs.directory import RunDirectory, add_timings, make_identity, open_or_create
from pipeline.runs.verify import verify_run
from pipeline.storage import lock
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Record


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    """A small run as training leaves it: the corpus side, the input's digests, two checkpoints, timings."""
    corpus = tmp_path / "a corpus"
    corpus.mkdir()
    (corpus / "a.txt").write_bytes(b"one two")
    (corpus / "b.txt").write_bytes(b"three")
    (corpus / "empty.txt").write_bytes(b"")
    identity = make_identity(Options(dims=3), match_inputs([str(corpus)]), {"name": "whitespace"})
    run = open_or_create(str(tmp_path / "a run"), identity)
    artifact = run.records.write_artifact("counts/unit-00000.parquet", b"counts")
    run.records.commit(Record("counts", "unit-00000", run.keys["counts"], (artifact,), {"tokens": 3}))
    for stage, name in (("vocabulary", "vocabulary"), ("unigram", "unigram"), ("tokens", "unit-00000")):
        run.records.commit(Record(stage, name, run.keys[stage], (), {"tokens": 3}))
    digests = {
        str(corpus / name): f"0:{hashlib.sha256((corpus / name).read_bytes()).hexdigest()[:32]}"
        for name in ("a.txt", "b.txt")
    }
    run.records.commit(Record(input_digests.STAGE, "unit-00000", run.keys["counts"], (), digests))
    for step in (1, 2):
        matrix = np.full((2, 3), step, np.float32)
        model = Model(pa.array(["a", "b"]), np.array([2, 1]), matrix, matrix)
        write_checkpoint(run.records, run.keys["checkpoints"], step, model, {})
    add_timings(run.records, run.keys["checkpoints"], {"Train": 1.0})
    return run


def digest_of(run: RunDirectory, step: int) -> str:
    (record,) = (r for r in run.records.all("checkpoints") if r.numbers["step"] == step)
    return record.numbers["digest"]


def test_a_sound_run_has_no_problem_and_the_digest_of_its_last_checkpoint(run):
    report = verify_run(run.storage, inputs=True)
    assert report.problems == []
    assert report.digest == digest_of(run, 2)
    assert report.checked == 3


@pytest.mark.parametrize(
    "path",
    [
        "counts/unit-00000.parquet",
        "checkpoints/step=00000001/part-00000-of-00001.parquet",
        "checkpoints/step=00000002/part-00000-of-00001.parquet",
        "records/counts/unit-00000.json",
        "records/vocabulary/vocabulary.json",
        "records/unigram/unigram.json",
        "records/tokens/unit-00000.json",
        "records/checkpoints/step=00000002.json",
    ],
)
@pytest.mark.parametrize("damage", ["bit", "cut", "gone"])
def test_each_damaged_file_is_the_one_that_is_named(run, path, damage):
    data = bytearray(run.storage.read(path))
    data[len(data) // 2] ^= 1
    if damage == "gone":
        run.storage.delete(path)
    else:
        run.storage.put(path, data if damage == "bit" else data[:-3])
    (problem,) = verify_run(run.storage).problems
    if damage == "gone" and path.startswith("records/checkpoints"):
        path = "checkpoints/step=00000002 is named by no record"
    elif damage == "gone" and path.startswith("records/") and "counts" not in path:
        path = path.rpartition("/")[0]
    assert path in problem


def test_what_a_run_at_work_is_about_to_record_is_no_problem(run):
    run.storage.delete("records/checkpoints/step=00000002.json")
    run.storage.put(lock.PATH, b"{}")
    assert verify_run(run.storage).problems == []


def test_parts_of_a_run_that_has_not_ended_may_be_without_a_record(run):
    run.storage.delete("records/timings/seconds.json")
    run.storage.delete("records/checkpoints/step=00000002.json")
    run.records.commit(Record("metrics", "step=00000003", run.keys["checkpoints"], (), {"step": 3}))
    assert verify_run(run.storage).problems == []


def test_a_checkpoint_that_is_pruned_while_it_is_read_is_no_problem(run, monkeypatch):
    def pruned(records, ref):
        if ref.step == 1:
            run.records.remove(next(r for r in run.records.all("checkpoints") if r.numbers["step"] == 1))
        return read_blocks(records, ref)

    monkeypatch.setattr(verify, "read_blocks", pruned)
    report = verify_run(run.storage)
    assert (report.problems, report.digest) == ([], digest_of(run, 2))


def test_a_model_that_was_trained_and_is_gone_is_a_problem(run):
    run.records.commit(Record("metrics", "step=00000003", run.keys["checkpoints"], (), {"step": 3}))
    (problem,) = verify_run(run.storage).problems
    assert "has nothing of step 3, which was trained" in problem


def test_a_last_checkpoint_without_a_record_is_a_problem_wherever_the_run_was_trained(run):
    run.storage.delete("records/timings/seconds.json")  # which only a driver that stays writes
    run.records.commit(Record("training", "end", run.keys["checkpoints"], (), {"step": 2}))
    assert verify_run(run.storage).problems == []
    run.storage.delete("records/checkpoints/step=00000002.json")
    (problem,) = verify_run(run.storage).problems
    assert "records/checkpoints/step=00000002.json is missing, and training ended with this checkpoint: run" in problem


def test_the_digest_is_that_of_the_newest_sound_checkpoint(run):
    run.storage.delete("checkpoints/step=00000002/part-00000-of-00001.parquet")
    assert verify_run(run.storage).digest == digest_of(run, 1)
    run.storage.delete("checkpoints/step=00000001/part-00000-of-00001.parquet")
    assert verify_run(run.storage).digest is None


def test_a_checkpoint_of_other_options_is_checked_and_gives_no_digest(run):
    matrix = np.zeros((2, 3), np.float32)
    model = Model(pa.array(["a", "b"]), np.ones(2), matrix, matrix)
    write_checkpoint(run.records, "another key", 9, model, {})
    report = verify_run(run.storage)
    assert report.problems == []
    assert (report.digest, report.checked) == (digest_of(run, 2), 4)


def test_a_model_digest_that_its_parts_do_not_give_is_a_problem(run):
    (record,) = (r for r in run.records.all("checkpoints") if r.numbers["step"] == 2)
    run.records.commit(dataclasses.replace(record, numbers={**record.numbers, "digest": "0" * 64}))
    (problem,) = verify_run(run.storage).problems
    assert "checkpoints/step=00000002: its model digest is" in problem


@pytest.mark.parametrize("change", ["bytes", "longer", "gone"])
def test_inputs_are_read_only_when_asked_for_and_compared(run, change):
    uri = run.identity["inputs"][0]["uri"]
    root, name = uri.rsplit("/", 1)
    storage = open_storage(root)
    if change == "gone":
        storage.delete(name)
    else:
        storage.put(name, b"one tw0" if change == "bytes" else b"one two and more")
    assert verify_run(run.storage).problems == []
    (problem,) = verify_run(run.storage, inputs=True).problems
    assert uri in problem


def test_input_that_was_not_counted_is_a_problem(run):
    run.storage.delete("records/inputs/unit-00000.json")
    problems = verify_run(run.storage, inputs=True).problems
    assert len(problems) == 2
    assert all("has no content digest" in problem for problem in problems)


def test_what_is_no_run_is_said_to_be_none(tmp_path):
    with pytest.raises(InputError, match="is not the output of a run"):
        verify_run(open_storage(str(tmp_path / "nothing")))
