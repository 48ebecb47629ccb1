"""The examples run, on a small run, as a user would start them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helpers.commands import ALONE, ROOT, train, write_corpus


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    corpus = write_corpus(folder / "corpus.txt")
    outcome = train(f"--input={corpus}", f"--output={folder / 'run'}", *ALONE, "--no_report")
    assert outcome.status == 0, outcome.stderr
    return str(folder / "run")


def example(name, *arguments):
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_look_at_a_run(trained):
    said = example("look_at_a_run.py", trained)
    for wanted in ("words, 12 dims", "half of all tokens", "loss", "near '", "target '", "gensim"):
        assert wanted in said


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("[a-z]*.py")))
def test_help_is_shown(name):
    if name.startswith("torch"):
        pytest.importorskip("torch")
    assert f"examples/{name}" in (said := example(name, "--help")) or f"examples.{name[:-3]}" in said


def test_torch_learns_from_the_batches(trained):
    pytest.importorskip("torch")
    assert "loss: 0.69" in example("torch_training.py", trained)
