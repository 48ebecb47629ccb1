"""The examples run, on a small run, as a user would start them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys

import pytest

import beam2vec
from tests.helpers.commands import ALONE, ROOT, train, write_corpus

NEEDS = {"torch_training.py": "torch"}
"""Example -> what has to be installed even for its --help."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    corpus = write_corpus(folder / "corpus.txt")
    outcome = train(f"--input={corpus}", f"--output={folder / 'run'}", *ALONE, "--no_report")
    assert outcome.status == 0, outcome.stderr
    return str(folder / "run")


def example(name, *arguments):
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_look_at_a_run(trained):
    said = example("look_at_a_run.py", trained)
    for wanted in ("words, 12 dims", "half of all tokens", "loss", "near '", "target '", "gensim"):
        assert wanted in said


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("[a-z]*.py")))
def test_help_is_shown(name):
    if needed := NEEDS.get(name):
        pytest.importorskip(needed)
    assert f"examples/{name}" in (said := example(name, "--help")) or f"examples.{name[:-3]}" in said


def test_torch_learns_from_the_batches(trained):
    pytest.importorskip("torch")
    assert "loss: 0.69" in example("torch_training.py", trained)


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "examples" / "first_vectors.ipynb").read_text("utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(re.search(r"^(import|from) (pipeline|jobs|transforms|numpy)", cell, re.MULTILINE) for cell in cells)
    assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
    names: dict = {}
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        for number, cell in enumerate(cells):
            exec(compile(cell.replace("epochs=30", "epochs=12"), f"cell {number}", "exec"), names)
    for wanted in ("string -> ", "the odd one out: while", "(819, 50) float32", "Spearman 0.", "['vectors.parquet']"):
        assert wanted.replace("819", str(len(names["run"].words()))) in said.getvalue()
    assert names["run"].similarity("string", "strings") > names["run"].similarity("string", "while")
    assert (tmp_path / "runs" / "first_vectors" / "report.html").stat().st_size > 50_000
    assert (tmp_path / "vectors.txt.gz").exists()


def test_an_index_of_usearch_finds_the_nearest_words(trained, tmp_path):
    pytest.importorskip("usearch")
    said = example("usearch_index.py", trained, str(tmp_path / "words.usearch"))
    words, recall = re.search(r"^([\d,]+) words of .*, recall@10 (\d\.\d+)$", said, re.MULTILINE).groups()
    run = beam2vec.Run(trained)
    assert int(words.replace(",", "")) == len(run.words())
    assert float(recall) > 0.95
    word = run.words()[3]
    asked = example("usearch_index.py", trained, str(tmp_path / "words.usearch"), word, "nobody")
    found = re.findall(r"(\S+) -?\d\.\d\d", asked.splitlines()[0].partition(": ")[2])
    assert len(set(found) & {near for near, _ in run.nearest(word)}) >= 8
    assert asked.splitlines()[1] == "nobody: not in the vocabulary"


def test_mlflow_gets_options_curve_and_digest(trained, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    (logged,) = re.findall(r"^logged as (\w+) to ", example("mlflow_logging.py", trained), re.MULTILINE)
    client, run = mlflow.MlflowClient((tmp_path / "mlruns").as_uri()), beam2vec.Run(trained)
    data = client.get_run(logged).data
    assert (data.params["dims"], data.tags["digest"]) == ("12", run.checkpoint().digest)
    losses = client.get_metric_history(logged, "loss")
    assert [point.value for point in sorted(losses, key=lambda one: one.step)] == run.metrics()["loss"].to_pylist()
