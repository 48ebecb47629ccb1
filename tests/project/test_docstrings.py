"""The examples in docstrings run, and give what they show. Each module of the product that has some."""

from __future__ import annotations

import doctest
import importlib
import pathlib

import pytest

import beam2vec

ROOT = pathlib.Path(__file__).parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("beam2vec", "pipeline", "transforms")
    for path in (ROOT / folder).rglob("*.py")
    if ">>> " in path.read_text()
)
NEWCOMERS = (
    "batches.rows",
    "batches.sampling",
    "batches.schedule",
    "corpus.spans",
    "corpus.work_units",
    "layers",
    "model.neighbors",
    "options",
    "runs.run",
    "words.unigram",
    "words.vocabulary",
)
"""Modules of the types that a newcomer meets first."""


@pytest.fixture(autouse=True)
def face() -> None:
    """Messages speak of Python's arguments: examples are what a program sees."""


@pytest.fixture
def names(request, tmp_path) -> dict[str, str]:
    """What examples may name besides the module's own: `uri`, the output of a training command."""
    if request.node.callspec.params["module"] != "pipeline.runs.run":
        return {}
    text = tmp_path / "text.txt"
    text.write_text("a rose is a rose is a rose\n" * 20)
    return {"uri": beam2vec.train(input=text, output=tmp_path / "run", dims=8, batch_size=32).uri}


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_they_show(module, names):
    results = doctest.testmod(importlib.import_module(module), extraglobs=names)
    assert results.attempted
    assert not results.failed


def test_the_types_that_a_newcomer_meets_have_examples():
    assert {f"pipeline.{name}" for name in NEWCOMERS} <= set(MODULES)
