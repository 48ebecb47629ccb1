"""A finished run, made again from its inputs and compared stage by stage."""

from __future__ import annotations

import json
import pathlib
import shutil

import numpy as np
import pytest

from beam2vec import Run
from pipeline.batches.sampling import POLICIES
from pipeline.runs.contents import contents
from tests.helpers.commands import TINY, preprocess, run, train, write_corpus
from tests.helpers.whole_runs import EVERY_STAGE, write_every_kind


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A run with something of every stage."""
    folder = tmp_path_factory.mktemp("reproduce")
    write_every_kind(folder / "texts")
    assert train(f"--input={folder / 'texts'}", f"--output={folder / 'run'}", *EVERY_STAGE).status == 0
    return folder


@pytest.fixture
def small(tmp_path) -> pathlib.Path:
    """A run of one file, text.txt beside it."""
    text = write_corpus(tmp_path / "text.txt", lines=60)
    assert train(f"--input={text}", f"--output={tmp_path / 'run'}", *TINY, "--no_report").status == 0
    return tmp_path / "run"


def reproduced(path: pathlib.Path, *options: str):
    outcome = run("jobs.reproduce", f"--run={path}", "--json=-", *options)
    return outcome, json.loads(outcome.stdout) if outcome.stdout else None


def files_of(path: pathlib.Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_run_is_made_again_and_stays_as_it_is(folder, tmp_path):
    before = files_of(folder / "run")
    outcome = run("jobs.reproduce", f"--run={folder / 'run'}", f"--scratch={tmp_path / 'again'}", "--threads=1")
    assert outcome.status == 0, outcome.stderr
    first, *lines = outcome.stdout.splitlines()
    assert first.startswith("needs 3 input files of ")
    stages = ["text", "phrases, pass 1", "vocabulary", "unigram distribution", "tokens", "batches", "model"]
    assert [line.split("  ")[0] for line in lines[:-1]] == stages
    assert all(" same " in line for line in lines[:-1])
    assert lines[-1] == "reproduced: all stages agree"
    assert files_of(folder / "run") == before
    assert Run(tmp_path / "again").checkpoint().digest == Run(folder / "run").checkpoint().digest


def test_copied_inputs_and_another_place_are_the_same_content(folder, tmp_path):
    """Times of files are others, and so are all keys; what is read is not."""
    shutil.copytree(folder / "run", tmp_path / "moved")
    for file in (folder / "texts").iterdir():
        file.touch()
    outcome, told = reproduced(tmp_path / "moved")
    assert (outcome.status, told["reproduced"]) == (0, True)
    assert any("input changed" in line for line in told["not_as_it_was"])


def test_text_that_has_changed_is_the_first_difference(small):
    text = small.parent / "text.txt"
    content = text.read_text()
    text.write_text(content.replace(content.split()[3], "other", 1))
    outcome, told = reproduced(small)
    assert (outcome.status, told["reproduced"], told["first_difference"]) == (1, False, "text")
    assert "NOT reproduced: text is the first stage that differs" in outcome.stderr
    assert "what may have caused it: input changed: " in outcome.stderr


def test_a_model_that_was_made_otherwise_is_told_though_all_before_it_agrees(small, monkeypatch):
    def ones(words, dims, seed):
        return np.full((len(words), dims), 0.01, np.float32)

    monkeypatch.setattr("pipeline.training.trainer.initial_vectors", ones)
    outcome, told = reproduced(small)
    assert (outcome.status, told["first_difference"]) == (1, "model")
    assert [entry["same"] for entry in told["stages"]] == [True, True, True, True, False]
    assert "nothing that is recorded has changed" in outcome.stderr


def test_a_preprocessed_corpus_and_a_run_that_takes_it(tmp_path):
    text = write_corpus(tmp_path / "text.txt", lines=60)
    stored = ("--min_count=2", "--batches=stored", "--epochs=2")
    assert preprocess(f"--input={text}", f"--output={tmp_path / 'corpus'}", *stored).status == 0
    outcome, told = reproduced(tmp_path / "corpus")
    assert (outcome.status, [entry["stage"] for entry in told["stages"]][-2:]) == (0, ["tokens", "batches"])
    options = ("--dims=8", "--epochs=1", "--no_report")
    assert train(f"--corpus={tmp_path / 'corpus'}", f"--output={tmp_path / 'model'}", *options).status == 0
    outcome, told = reproduced(tmp_path / "model")
    assert (outcome.status, [entry["stage"] for entry in told["stages"]][-1]) == (0, "model")
    assert told["not_as_it_was"] == []
    shutil.rmtree(tmp_path / "corpus" / "counts")
    shutil.rmtree(tmp_path / "corpus" / "records" / "counts")
    content = text.read_text()
    text.write_text(content.replace(content.split()[3], "other", 1))
    outcome, told = reproduced(tmp_path / "model")
    assert (outcome.status, told["first_difference"]) == (1, "vocabulary"), "the text is read again, not the corpus"


def test_what_cannot_be_made_again_is_one_line(small):
    scratch = run("jobs.reproduce", f"--run={small}", f"--scratch={small}")
    assert (scratch.status, "is the run itself" in scratch.error) == (2, True)
    (small.parent / "text.txt").unlink()
    gone = run("jobs.reproduce", f"--run={small}")
    assert (gone.status, "text.txt" in gone.error) == (2, True)
    shutil.rmtree(small / "records" / "checkpoints")
    shutil.rmtree(small / "records" / "training")
    unfinished = run("jobs.reproduce", f"--run={small}")
    assert (unfinished.status, "has no checkpoint yet" in unfinished.error) == (2, True)


def test_the_content_of_a_run_does_not_depend_on_its_place(folder, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "moved")
    assert list(contents(Run(tmp_path / "moved"), 1)) == list(contents(Run(folder / "run"), 1))


def test_batches_that_were_made_otherwise_are_told(tmp_path, monkeypatch):
    text = write_corpus(tmp_path / "text.txt", lines=60)
    with monkeypatch.context() as other:
        other.setattr("pipeline.batches.rows.POLICIES", dict.fromkeys(POLICIES, 0))
        options = ("--min_count=2", "--batches=stored", "--epochs=1")
        assert preprocess(f"--input={text}", f"--output={tmp_path / 'corpus'}", *options).status == 0
    outcome, told = reproduced(tmp_path / "corpus")
    assert (outcome.status, told["first_difference"]) == (1, "batches")
