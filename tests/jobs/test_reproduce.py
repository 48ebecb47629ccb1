"""A finished run, made again from its inputs and compared stage by stage."""

from __future__ import annotations

import json
import pathlib
import shutil

import numpy as np
import pytest

from beam2vec import Run
from pipeline.batches.sampling import POLICIES
from pipeline.model.checkpoints import recorded
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
    stages = ["text", "phrases, pass 1", "totals", "vocabulary", "unigram distribution"]
    stages += ["tokens", "reservoir", "batches", "model"]
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
    assert [entry["same"] for entry in told["stages"]] == [True] * 6 + [False]
    assert "nothing that is recorded has changed" in outcome.stderr


def test_a_preprocessed_corpus_and_a_run_that_takes_it(tmp_path):
    text = write_corpus(tmp_path / "text.txt", lines=60)
    stored = ("--min_count=2", "--batches=stored", "--epochs=2")
    assert preprocess(f"--input={text}", f"--output={tmp_path / 'corpus'}", *stored).status == 0
    outcome, told = reproduced(tmp_path / "corpus")
    assert (outcome.status, [entry["stage"] for entry in told["stages"]][-2:]) == (0, ["reservoir", "batches"])
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
    assert (outcome.status, told["first_difference"]) == (1, "totals"), "the text is read again, not the corpus"


@pytest.mark.parametrize("inner", ["", "/again"])
def test_nothing_is_made_again_in_the_run_itself_by_a_link(small, tmp_path, inner):
    (tmp_path / "link").symlink_to(small)
    outcome = run("jobs.reproduce", f"--run={small}", f"--scratch={tmp_path}/link{inner}")
    assert (outcome.status, "is the run itself, or in it" in outcome.error) == (2, True)


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


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> pathlib.Path:
    """A cold run, two updates of it, and a run over all text that starts from the last."""
    folder = tmp_path_factory.mktemp("chain")
    lines = write_corpus(folder / "all.txt", lines=240, words=120).read_text().splitlines(keepends=True)
    for day in range(3):
        (folder / f"{day}.txt").write_text("".join(lines[80 * day : 80 * (day + 1)]))
    assert train(f"--input={folder}/0.txt", f"--output={folder}/run-0", *TINY, "--no_report").status == 0
    for day in (1, 2):
        arguments = f"--input={folder}/{day}.txt", f"--output={folder}/run-{day}", f"--update={folder}/run-{day - 1}"
        assert train(*arguments, "--threads=1", "--no_report", "--epochs=2").status == 0
    start = f"--start_from={folder}/run-2", "--epochs=1", "--learning_rate=0.025"
    assert train(f"--input={folder}/[012].txt", f"--output={folder}/run-3", *TINY, *start, "--no_report").status == 0
    return folder


def test_a_chain_is_made_again_from_the_first_run_on(chain, tmp_path):
    outcome, told = reproduced(chain / "run-3", "--chain", f"--scratch={tmp_path}/again")
    assert outcome.status == 0, outcome.stderr
    assert [result["run"] for result in told["generations"]] == [f"{chain}/run-{day}" for day in range(4)]
    assert (told["reproduced"], told["because"]) == (True, None)
    stages = [entry["stage"] for entry in told["generations"][1]["stages"]]
    assert {"totals", "reservoir", "replay", "model"} <= set(stages)
    for number in range(4):
        again = Run(tmp_path / "again" / f"generation-{number:05d}")
        assert again.checkpoint().digest == Run(chain / f"run-{number}").checkpoint().digest
    assert Run(tmp_path / "again" / "generation-00002").options.update == f"{tmp_path}/again/generation-00001"
    assert [result["not_as_it_was"] for result in told["generations"]] == [[]] * 4, "the command has named the parents"


def test_an_update_alone_is_made_again_from_its_parent(chain):
    outcome, told = reproduced(chain / "run-1")
    assert outcome.status == 0, outcome.stderr
    assert told["reproduced"]


def test_a_chain_begins_where_inputs_are_left(chain, tmp_path):
    (chain / "0.txt").rename(tmp_path / "away")
    try:
        outcome, told = reproduced(chain / "run-2", "--chain")
    finally:
        (tmp_path / "away").rename(chain / "0.txt")
    assert outcome.status == 0, outcome.stderr
    assert told["begins_with"] == f"{chain}/run-1"
    assert told["because"] == f"{chain}/run-0 lacks 1 input file, such as {chain}/0.txt"


def test_the_first_run_of_a_chain_that_differs_is_named(chain, tmp_path, monkeypatch):
    monkeypatch.setitem(POLICIES, "exclude_target", POLICIES["any"])
    outcome, told = reproduced(chain / "run-1", "--chain")
    assert outcome.status == 1
    assert not told["reproduced"]
    assert told["generations"][0]["first_difference"] == "model"
    assert "the run of --update=" in told["generations"][1]["not_as_it_was"][0]


@pytest.mark.parametrize("kind", [("--checkpoint_every=7", "--keep_checkpoints=99"), ("--replicas=2", "--rounds=3")])
def test_a_chain_over_a_checkpoint_that_was_not_the_last(tmp_path, kind):
    text = write_corpus(tmp_path / "text.txt", lines=60)
    parent, child = tmp_path / "parent", tmp_path / "child"
    arguments = (f"--input={text}", *TINY, "--no_report")
    assert train(*arguments, f"--output={parent}", "--batch_size=64", *kind).status == 0
    step, *_, last = recorded(Run(parent).records, Run(parent).key("checkpoints"))
    assert step < last
    assert train(*arguments, f"--output={child}", f"--start_from={parent}@{step}").status == 0
    outcome, told = reproduced(child, "--chain")
    assert outcome.status == 0, outcome.stderr
    assert told["reproduced"]
    assert [result["not_as_it_was"] for result in told["generations"]] == [[], []]
