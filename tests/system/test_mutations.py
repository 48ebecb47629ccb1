"""Whatever happens to a file of a run: verify tells it, and the same command makes it sound again."""

from __future__ import annotations

import itertools
import pathlib
import re
import shutil
from collections.abc import Iterator

import pytest

from tests.helpers.commands import Outcome, run, train
from tests.helpers.whole_runs import EVERY_STAGE, write_every_kind

DAMAGES = ("flip", "cut", "delete")
NOTHING_IS_MISSED = ("records/timings",)
"""Without these a run is as sound as with them."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pathlib.Path:
    """A folder with a corpus and a run that has something of every stage; `digest` holds the model's."""
    folder = tmp_path_factory.mktemp("whole")
    write_every_kind(folder / "corpus")
    trained = again(folder / "run", folder / "corpus")
    assert trained.status == 0, trained.stderr
    (folder / "digest").write_text(trained.digest)
    return folder


def again(output: pathlib.Path, corpus: pathlib.Path, *more: str) -> Outcome:
    return train(f"--input={corpus}", f"--output={output}", *EVERY_STAGE, "--threads=1", "--holdout=0.1", *more)


def kinds(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The last file of each kind: paths are of a kind that differ in their digits only."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {re.sub(r"[0-9a-f]{8}|\d+", "#", str(path.relative_to(folder))): path for path in files}


def damage(path: pathlib.Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "delete":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


def mutations(folder: pathlib.Path) -> Iterator[tuple[str, str]]:
    """(kind, damage): each damage of each kind of file."""
    yield from itertools.product(kinds(folder), DAMAGES)


def check(whole: pathlib.Path, output: pathlib.Path, kind: str, how: str) -> str | None:
    """What is wrong after a mutation; None where all is well."""
    shutil.rmtree(output, ignore_errors=True)
    shutil.copytree(whole / "run", output)
    damage(kinds(output)[kind], how)
    verified = run("jobs.verify", f"--run={output}")
    missed = how != "delete" or not kind.startswith(NOTHING_IS_MISSED)
    if (verified.status == 0 and missed) or "Traceback" in verified.stderr:
        return f"verify: status {verified.status}, {verified.stdout}{verified.stderr}"
    mended = again(output, whole / "corpus", *(["--overwrite"] if kind == "run.json" else []))
    if mended.status != 0 or mended.digest != (whole / "digest").read_text():
        return f"train: status {mended.status}, {mended.stderr}"
    verified = run("jobs.verify", f"--run={output}")
    if verified.status != 0:
        return f"verify after train: {verified.stderr}"
    return None


def failures(whole: pathlib.Path, output: pathlib.Path, chosen: list[tuple[str, str]]) -> list[str]:
    found = [(kind, how, check(whole, output, kind, how)) for kind, how in chosen]
    return [f"{how} {kind}: {what}" for kind, how, what in found if what]


def test_the_run_has_a_file_of_every_stage(whole):
    stages = {kind.partition("/")[0] for kind in kinds(whole / "run")}
    assert stages >= {
        "batches", "checkpoints", "counts", "dead_letters", "metrics", "phrases", "records", "run.json", "text",
        "tokens", "unigram", "vocabulary",
    }  # fmt: skip
    assert len(kinds(whole / "run")) > 25


def test_a_damaged_file_is_told_and_made_again(whole, tmp_path):
    """Every seventh of the slow test below."""
    chosen = list(mutations(whole / "run"))[::7]
    assert {how for _, how in chosen} == set(DAMAGES)
    assert failures(whole, tmp_path / "run", chosen) == []


@pytest.mark.parametrize("how", DAMAGES)
def test_an_older_checkpoint_that_is_damaged_is_told_once_and_dropped(whole, tmp_path, how):
    output = shutil.copytree(whole / "run", tmp_path / "run")
    older, newest = sorted(output.glob("checkpoints/*/*/part-*"))
    damage(older, how)
    assert run("jobs.verify", f"--run={output}").status == 1
    mended = again(output, whole / "corpus")
    assert mended.digest == (whole / "digest").read_text()
    assert "the checkpoint of step 10 is removed" in mended.stderr
    assert sorted(output.glob("checkpoints/*/*/part-*")) == [newest]
    assert run("jobs.verify", f"--run={output}").status == 0
    assert "is removed" not in again(output, whole / "corpus").stderr


@pytest.mark.slow
def test_every_damage_of_every_kind_of_file_is_told_and_made_again(whole, tmp_path):
    assert failures(whole, tmp_path / "run", list(mutations(whole / "run"))) == []
