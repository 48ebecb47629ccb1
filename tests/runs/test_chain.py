"""Which runs of a chain can be made again, and where it begins."""

from __future__ import annotations

import json
import pathlib

import pytest

from beam2vec import Run
from pipeline.errors import InputError
from pipeline.runs.chain import chain_of, lacking
from tests.helpers.commands import TINY, run, train, write_corpus


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A cold run and two updates, 0 <- 1 <- 2, whose parents are named in full; and `near`, an update of "0"."""
    folder = tmp_path_factory.mktemp("chain")
    for day in range(3):
        write_corpus(folder / f"{day}.txt", lines=80, words=60, seed=day)
    assert train(f"--input={folder}/0.txt", f"--output={folder}/0", *TINY, "--no_report").status == 0
    options = ("--threads=1", "--no_report", "--epochs=1")
    for day in (1, 2):
        update = f"--input={folder}/{day}.txt", f"--output={folder}/{day}", f"--update={folder}/{day - 1}"
        assert train(*update, *options).status == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train("--input=1.txt", "--output=near", "--update=0", *options).status == 0
    return folder


def chain(folder: pathlib.Path, name: str) -> tuple[list[str], str]:
    runs, why = chain_of(Run(folder / name))
    return [run.uri.rpartition("/")[2] for run in runs], why


def test_a_whole_chain(folder):
    assert chain(folder, "2") == (["0", "1", "2"], "")
    assert chain(folder, "0") == (["0"], "")


def test_a_run_whose_parent_is_gone_is_not_made_again(folder, tmp_path):
    (folder / "0").rename(tmp_path / "away")
    try:
        names, why = chain(folder, "2")
        outcome = run("jobs.reproduce", f"--run={folder}/2", "--chain", "--json=-")
    finally:
        (tmp_path / "away").rename(folder / "0")
    assert names == ["2"]
    assert why.startswith(f"{folder}/1 cannot be made again ({folder}/0/run.json does not exist")
    assert outcome.status == 0, outcome.stderr
    told = json.loads(outcome.stdout)
    assert (told["reproduced"], told["begins_with"], told["because"]) == (True, f"{folder}/2", why)


def test_a_parent_that_has_not_ended_stands_as_it_is(folder, monkeypatch):
    def refuse(run):
        raise InputError("has not ended")

    monkeypatch.setattr("pipeline.runs.chain.check_ended", refuse)
    assert chain(folder, "1") == (["1"], f"{folder}/0 cannot be made again (has not ended)")


def test_a_relative_name_is_said_to_be_one(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    assert chain(folder, "near") == (["0", "near"], "")
    monkeypatch.chdir(tmp_path)
    where = f"relative to the folder in which the run was trained: if that is not {tmp_path}, give the command there"
    remedy = f"; 0 is {where}"
    assert remedy in lacking(Run(folder / "near"))
    for chained in ((), ("--chain",)):
        outcome = run("jobs.reproduce", f"--run={folder}/near", *chained)
        assert (outcome.status, remedy in outcome.error) == (2, True), outcome.stderr
        assert outcome.error.startswith(f"{folder}/near cannot be made again: ")
