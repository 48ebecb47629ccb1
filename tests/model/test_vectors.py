"""Which of a word's two vectors: one answer for whatever reads a run."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from beam2vec import Run
from tests.helpers.commands import TINY, run, train

USUAL = {"skipgram": "input", "cbow": "mean"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each model."""
    folder = tmp_path_factory.mktemp("runs")
    draw = random.Random(0)
    names = ["".join(draw.choices("abcdefg", k=5)) for _ in range(60)]
    text = folder / "corpus.txt"
    text.write_text("".join(" ".join(draw.choices(names, range(60, 0, -1), k=12)) + "\n" for _ in range(150)))
    for model in USUAL:
        outcome = train(f"--input={text}", f"--output={folder / model}", f"--model={model}", *TINY, "--batch_size=32")
        assert outcome.status == 0, outcome.stderr
        word, near = re.search(r"^near ['\"](.*)['\"]: (.*)", outcome.stdout, re.MULTILINE).groups()
        assert near.split(", ") == [other for other, _ in Run(folder / model).nearest(word, 5, USUAL[model])]
    return folder


@pytest.mark.parametrize("model", USUAL)
def test_run_takes_the_usual_side_unless_one_is_named(runs, model):
    opened, usual = Run(runs / model), USUAL[model]
    word, other = opened.words(top=2)
    assert opened.side() == usual
    np.testing.assert_array_equal(opened.vectors(), opened.vectors(usual))
    np.testing.assert_array_equal(opened.vector(word), opened.vectors(usual)[0])
    np.testing.assert_array_equal(opened.keyed_vectors().vectors, opened.vectors(usual))
    assert opened.similarity(word, other) == opened.similarity(word, other, usual)
    assert opened.nearest(word) == opened.nearest(word, side=usual)
    for side in {"input", "output", "mean"} - {usual}:
        assert opened.side(side) == side
        assert not np.array_equal(opened.vectors(), opened.vectors(side))
        assert opened.similarity(word, other) != opened.similarity(word, other, side)


@pytest.mark.parametrize("vectors", ["usual", "input", "output", "mean"])
@pytest.mark.parametrize("model", USUAL)
def test_commands_take_it_too_and_name_it(runs, tmp_path, model, vectors):
    opened, side = Run(runs / model), USUAL[model] if vectors == "usual" else vectors
    word, named = opened.words()[5], [] if vectors == "usual" else [f"--vectors={vectors}"]
    shown = {"input": "input vectors", "output": "output vectors", "mean": "means of input and output vectors"}[side]
    of_run, to = f"--run={opened.uri}", tmp_path / "v.parquet"
    outcome = run("jobs.export", of_run, "--format=parquet", f"--to={to}", *named)
    assert f", {shown}\n" in outcome.stdout
    table = pq.read_table(to)
    np.testing.assert_array_equal(np.stack(table["vector"].to_numpy()), opened.vectors(side))
    assert json.loads(table.schema.metadata[b"beam2vec"])["vectors"] == side
    outcome = run("jobs.evaluate", of_run, f"--neighbors={word}", f"--json={tmp_path / 'e.json'}", *named)
    assert f", {shown}\n" in outcome.stdout
    told = json.loads((tmp_path / "e.json").read_text())
    assert told["vectors"] == side
    assert [near for near, _ in told["neighbors"][word]] == [near for near, _ in opened.nearest(word, 10, side)]
    both = [str(runs / name) for name in USUAL]
    outcome = run("jobs.compare", *both, f"--json={tmp_path / 'c.json'}", *named)
    told = json.loads((tmp_path / "c.json").read_text())
    assert [told[name]["vectors"] for name in ("before", "after")] == [
        USUAL[name] if vectors == "usual" else vectors for name in USUAL
    ]
    assert f"step {opened.checkpoint().step} of {opened.checkpoint().steps}, {shown}\n" in outcome.stdout


@pytest.mark.parametrize("model", USUAL)
def test_the_report_shows_the_neighbours_of_the_usual_side(runs, model):
    page = (runs / model / "report.html").read_text("utf-8")
    opened = Run(runs / model)
    data = json.loads(page.split('type="application/json">')[1].split("</script>")[0])["runs"][0]
    assert data["facts"]["vectors"] == {"skipgram": "input vectors", "cbow": "means of input and output vectors"}[model]
    entry = data["neighbors"]["frequent"][0]
    assert [near for near, _ in entry["near"]] == [near for near, _ in opened.nearest(entry["word"], 6, USUAL[model])]
