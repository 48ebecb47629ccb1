"""--start_from: first vectors by word, from another run or a file; everything else is a fresh run's."""

from __future__ import annotations

import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pytest

import beam2vec
from beam2vec import Run
from pipeline.model.initial_vectors import initial_vectors
from pipeline.runs.start_vectors import start_ref
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from tests.helpers.commands import TINY, run, train, write_corpus


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A parent, and text with some words that it does not have."""
    folder = tmp_path_factory.mktemp("start")
    write_corpus(folder / "old.txt", lines=60, words=60)
    text = write_corpus(folder / "new.txt", lines=60, words=60, seed=1).read_text()
    (folder / "new.txt").write_text(text + (folder / "old.txt").read_text())
    assert started(folder, "old.txt", "parent", "--checkpoint_every=10", "--batch_size=100").status == 0
    return folder


def started(folder: pathlib.Path, text: str, name: str, *options: str):
    return train(f"--input={folder / text}", f"--output={folder / name}", *TINY, "--no_report", *options)


def test_words_begin_with_the_parents_vectors_and_others_as_ever(folder):
    """With a rate of nearly nothing the first vectors stay."""
    outcome = started(folder, "new.txt", "child", f"--start_from={folder / 'parent'}", "--learning_rate=1e-30")
    parent, child = Run(folder / "parent"), Run(folder / "child")
    theirs = {word: row for row, word in enumerate(parent.words())}
    known = [word in theirs for word in child.words()]
    assert 0 < sum(known) < len(known)
    assert f"{sum(known):,} of {len(known):,} words begin with the vectors of {folder / 'parent'}" in outcome.stderr
    fresh = initial_vectors(child.words(), 12, 7)
    for side, others in (("input", fresh), ("output", np.zeros_like(fresh))):
        first = child.vectors(side)
        for row, word in enumerate(child.words()):
            wanted = parent.vectors(side)[theirs[word]] if word in theirs else others[row]
            np.testing.assert_allclose(first[row], wanted, atol=1e-12)


def test_the_digest_depends_on_the_vectors_and_not_on_where_they_lie(folder):
    options = ("--epochs=1",)
    wanted = started(folder, "new.txt", "one", f"--start_from={folder / 'parent'}", *options).digest
    shutil.copytree(folder / "parent", folder / "moved")
    assert started(folder, "new.txt", "two", f"--start_from={folder / 'moved'}", *options).digest == wanted
    again = started(folder, "new.txt", "one", f"--start_from={folder / 'moved'}", *options)
    assert again.digest == wanted  # the same run, whose parent has moved
    last = Run(folder / "parent").checkpoint().step
    step = started(folder, "new.txt", "three", f"--start_from={folder / 'parent'}@{last}", "--threads=1", *options)
    assert step.digest == wanted
    other = started(folder, "new.txt", "four", f"--start_from={folder / 'parent'}@10", *options)
    assert other.digest not in (wanted, started(folder, "new.txt", "five", *options).digest)
    assert run("jobs.verify", f"--run={folder / 'one'}").status == 0


@pytest.mark.parametrize("format", ["word2vec", "word2vec-binary", "parquet", "npy"])
def test_an_exported_file_gives_the_input_vectors(folder, tmp_path, format):
    path = tmp_path / "vectors"
    path = path.with_suffix(".NPY") if format == "npy" else path
    assert run("jobs.export", f"--run={folder / 'parent'}", f"--format={format}", f"--to={path}").status == 0
    outcome = started(folder, "old.txt", f"of {format}", f"--start_from={path}", "--learning_rate=1e-30")
    child, parent = Run(folder / f"of {format}"), Run(folder / "parent")
    assert outcome.status == 0
    np.testing.assert_allclose(child.vectors(), parent.vectors(), atol=1e-12)
    assert np.abs(child.vectors("output")).max() < 1e-12


def test_replicas_and_a_corpus_begin_alike(folder):
    whole = ("--epochs=1", f"--start_from={folder / 'parent'}")
    replicas = (*whole, "--replicas=2", "--learning_rate=1e-30")
    assert started(folder, "old.txt", "replicas", *replicas).status == 0
    np.testing.assert_allclose(Run(folder / "replicas").vectors(), Run(folder / "parent").vectors(), atol=1e-12)
    wanted = started(folder, "new.txt", "direct", *whole).digest
    options = [option for option in TINY if not option.startswith(("--min_count", "--window"))]
    taken = train(f"--corpus={folder / 'direct'}", f"--output={folder / 'taken'}", "--no_report", *options, *whole)
    assert taken.digest == wanted


def test_a_run_in_python_and_words_that_only_the_parent_knows(folder, tmp_path):
    parent = Run(folder / "parent")
    (tmp_path / "list").write_text("\n".join([*parent.words(), "nowhere"]) + "\n")
    text = write_corpus(tmp_path / "text.txt", lines=9, words=9)
    child = beam2vec.train(
        text, tmp_path / "run", start_from=str(folder / "parent"), dims=12, vocabulary=str(tmp_path / "list"), epochs=1
    )
    absent = child.absent()
    assert absent.tolist() == [False] * len(parent.words()) + [True]
    assert child.nearest(parent.words()[-1], 3)  # it does not occur, and has the parent's vector


def test_the_parent_may_go_once_there_is_a_checkpoint(folder, tmp_path):
    shutil.copytree(folder / "parent", tmp_path / "parent")
    options = (f"--start_from={tmp_path / 'parent'}", "--checkpoint_every=10", "--batch_size=64")
    wanted = started(folder, "new.txt", "whole", *options).digest
    shutil.rmtree(tmp_path / "parent")
    last = Run(folder / "whole").checkpoint().step
    for path in sorted((folder / "whole").rglob(f"*step={last:012}*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(folder / "whole" / "records" / "training")
    assert started(folder, "new.txt", "whole", *options).digest == wanted
    shutil.rmtree(folder / "whole" / "records" / "checkpoints")
    outcome = started(folder, "new.txt", "whole", *options)
    assert (outcome.status, "--start_from=" in outcome.error) == (2, True)


def test_words_that_were_never_trained_in_the_parent_do_not_begin_with_its_vectors(folder, tmp_path):
    """They stand in its --vocabulary alone. Their random vectors became neighbours of others."""
    words = ["nowhere", *Run(folder / "parent").words()[:20]]
    (tmp_path / "list").write_text("\n".join(words) + "\n")
    options = (f"--vocabulary={tmp_path / 'list'}", "--epochs=1")
    first, second = tmp_path / "first", tmp_path / "second"
    assert started(folder, "old.txt", str(first), *options).status == 0
    outcome = started(folder, "old.txt", str(second), *options, f"--start_from={first}", "--seed=8")
    assert f"20 of 21 words begin with the vectors of {first}" in outcome.stderr
    assert Run(second).absent().tolist() == [True] + [False] * 20
    assert "nowhere" not in dict(Run(second).nearest(words[1], 100))
    np.testing.assert_array_equal(Run(second).vectors()[:1], initial_vectors(["nowhere"], 12, 8))


@pytest.mark.parametrize("block", [1, 3, 1 << 16])
def test_of_a_word_that_a_file_has_twice_the_first_vector_counts(tmp_path, monkeypatch, block):
    """Within a block the last one did, so the digest depended on where blocks end."""
    monkeypatch.setattr("pipeline.model.vector_files.BLOCK_WORDS", block)
    (tmp_path / "v.txt").write_text("a 1 1\nb 2 2\na 3 3\nc 4 4\nb 5 5\n")
    commits = Commits(Records(open_storage(f"memory://twice/{block}")), "checkpoints", "ab" * 16)
    w_in, _ = start_ref(str(tmp_path / "v.txt"), 2).load(commits, pa.array(["b", "a"]), 1)
    assert w_in.tolist() == [[2, 2], [1, 1]]


def test_what_cannot_be_started_from_is_one_line(folder, tmp_path):
    parent = folder / "parent"
    unfinished = tmp_path / "unfinished"
    shutil.copytree(parent, unfinished)
    last = Run(parent).checkpoint().step
    for path in [*unfinished.glob(f"*/*/*{last:012}*"), *unfinished.glob(f"*/*/*/*{last:012}*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(unfinished / "records" / "training")
    (tmp_path / "other.txt").write_text("1 12\nnobody " + " ".join(["1"] * 12) + "\n")
    cases = [
        ((f"--start_from={parent}", "--dims=8"), f"--start_from={parent} has 12 dims, and --dims is 8: set --dims=12"),
        ((f"--start_from={parent}@7",), f"--start_from={parent}@7: {parent} has no such checkpoint"),
        ((f"--start_from={unfinished}",), f"--start_from={unfinished} has not ended (its newest checkpoint is step"),
        ((f"--start_from={tmp_path / 'none'}",), f"--start_from={tmp_path / 'none'} cannot be read"),
        ((f"--start_from={tmp_path / 'other.txt'}",), "has none of the"),
        ((f"--start_from={folder / 'old.txt'}",), "numbers in line 1, and --dims is 12"),
    ]
    for options, message in cases:
        outcome = started(folder, "new.txt", "bad", *options, "--overwrite")
        assert outcome.status == 2, outcome.stderr
        assert message in outcome.error
    assert started(folder, "new.txt", "bad", f"--start_from={parent}", "--overwrite").status == 0
    changed = started(folder, "new.txt", "bad", f"--start_from={parent}@10")
    assert f"--start_from is {parent}@10, the run has {parent}" in changed.error
