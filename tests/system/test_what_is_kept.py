"""What a run was made from is never harmed by it, and what was made is not removed where it cannot be made again."""

from __future__ import annotations

import pathlib
import shutil

import numpy as np
import pytest

from jobs import sources
from pipeline.batches.tokens import is_kept_back
from pipeline.errors import InputError
from pipeline.runs.parent import ParentRef
from pipeline.runs.run import Run
from tests.helpers.commands import ALONE, train, write_corpus

OWN = ("--threads=1", "--no_report", "--epochs=1")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> pathlib.Path:
    """A run, and one of each kind that was made from it."""
    folder = tmp_path_factory.mktemp("made")
    lines = write_corpus(folder / "all", lines=120, words=80).read_text().splitlines(keepends=True)
    for day in (0, 1):
        (folder / f"{day}.txt").write_text("".join(lines[60 * day : 60 * day + 60]))
    assert train(f"--input={folder}/0.txt", f"--output={folder}/parent", *ALONE, "--no_report").status == 0
    for kind in KINDS:
        outcome = train(f"--input={folder}/1.txt", f"--output={folder}/{kind}", f"--{kind}={folder}/parent", *OF[kind])
        assert outcome.status == 0, outcome.stderr
    return folder


KINDS = ("update", "start_from")
OF = {"update": OWN, "start_from": (*OWN, "--dims=12", "--min_count=2")}


@pytest.fixture
def copied(made, tmp_path) -> pathlib.Path:
    shutil.copytree(made, tmp_path / "made")
    return tmp_path / "made"


def digest_of(run: pathlib.Path) -> str:
    return Run(run).checkpoint().digest


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_made_of_something_that_is_gone_is_not_overwritten(made, tmp_path, kind):
    shutil.copytree(made / kind, tmp_path / "run")
    shutil.copytree(made / "parent", tmp_path / "parent")
    options = [f"--input={made}/1.txt", f"--output={tmp_path}/again", f"--{kind}={tmp_path}/parent", *OF[kind]]
    wanted = train(*options).digest
    shutil.rmtree(tmp_path / "parent")
    outcome = train(*options, "--seed=8", "--overwrite")
    assert outcome.status == 2
    assert "--overwrite would remove what" in outcome.error
    assert digest_of(tmp_path / "again") == wanted
    assert train(*options, "--overwrite").digest == wanted  # the same options remove nothing
    named_otherwise = [option.replace(f"={tmp_path}/parent", f"={tmp_path}/./parent/") for option in options]
    assert train(*named_otherwise).digest == wanted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output", ["parent", "link", "parent/inner", "link/inner"])
def test_the_output_is_never_what_is_only_read(copied, kind, output):
    (copied / "link").symlink_to(copied / "parent")
    before = digest_of(copied / "parent")
    outcome = train(
        f"--input={copied}/1.txt", f"--output={copied}/{output}", f"--{kind}={copied}/parent", *OF[kind], "--overwrite"
    )
    assert outcome.status == 2
    assert "which is only read: choose another" in outcome.error
    assert digest_of(copied / "parent") == before


def test_the_output_is_never_the_corpus(copied):
    (copied / "link").symlink_to(copied / "parent")
    outcome = train(f"--corpus={copied}/parent", f"--output={copied}/link", *OWN, "--dims=4", "--overwrite")
    assert (outcome.status, "which is only read" in outcome.error) == (2, True)


def test_a_store_that_is_down_is_not_needed_once_training_has_begun(copied, monkeypatch):
    def down(given):
        raise InputError(f"{given} cannot be reached")

    options = [f"--input={copied}/1.txt", f"--output={copied}/update", f"--update={copied}/parent", *OF["update"]]
    wanted = train(*options[:1], f"--output={copied}/other", *options[2:]).digest
    monkeypatch.setattr(sources, "resolved", down)
    monkeypatch.setattr(ParentRef, "of", down)
    assert train(*options[:1], f"--output={copied}/other", *options[2:]).digest == wanted
    refused = train(*options[:1], f"--output={copied}/new", *options[2:])
    assert (refused.status, "cannot be reached" in refused.error) == (2, True)


@pytest.mark.parametrize("option", ["--skip_taken", "--accept_tokenizer"])
def test_what_an_update_alone_takes_is_refused_elsewhere(made, tmp_path, option):
    outcome = train(f"--input={made}/1.txt", f"--output={tmp_path}/run", option)
    assert (outcome.status, "has no effect without --update" in outcome.error) == (2, True)


def test_sentences_that_the_child_keeps_back_leave_the_reservoir(copied):
    options = [f"--input={copied}/1.txt", f"--output={copied}/held", f"--update={copied}/parent", *OF["update"]]
    assert train(*options, "--holdout=0.5").status == 0
    keys = ParentRef.of(Run(copied / "held")).open_reservoir().keys
    before = ParentRef.of(Run(copied / "parent")).open_reservoir().keys
    assert is_kept_back(before, 0.5).any()
    assert not is_kept_back(keys, 0.5).any()
    assert np.isin(before[~is_kept_back(before, 0.5)], keys).all()
