"""The documentation says what the code says, and what it shows runs."""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
import re
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import beam2vec
from jobs.cli import options_reference
from jobs.cli.parser import parser, read
from pipeline import errors
from pipeline.model.checkpoints import write_checkpoint
from pipeline.model.model import Model
from pipeline.options import Options
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
START = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", START, re.MULTILINE | re.DOTALL)
KEY = "0123456789abcdef" * 2
"""Of the checkpoints that the snippets of docs/start.md read."""
OTHERS = {"scratch", "input", "corpus", "output", "config", "overwrite", "no_report", "help", "run", "editable"}
OTHERS |= {"neighbors", "format", "to", "against", "skip_taken", "accept_tokenizer", "chain"}
OTHERS |= {"take_over", "minutes", "planted", "log_format", "only"}
OF_BEAM = {"dry_run", "runner", "direct_num_workers", "direct_running_mode", "setup_file"}


def test_options_reference_is_up_to_date():
    written = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert written == options_reference.reference(), "run: make docs"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_named_files_exist(document):
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!\w+:)([^)#]+)", text)
    files = re.findall(r"`((?:pipeline|transforms|jobs|tests|examples|benchmarks|tools|deploy|docs)/[\w/.-]*)`", text)
    missing = [link for link in links if not (document.parent / link).exists()]
    missing += [file for file in files if not (ROOT / file).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_that_are_named_exist(document):
    named = set(
        re.findall(r"python3? +-m\s+((?:jobs|benchmarks|tools|deploy|examples|tests)\.[\w.]*\w)", document.read_text())
    )
    assert not [name for name in named if importlib.util.find_spec(name) is None]


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "ARCHITECTURE.md",
        "docs/start.md",
        "docs/definition.md",
        "docs/mental-model.md",
        "docs/reliability.md",
        "docs/reproducibility.md",
    ],
)
def test_options_named_are_those_of_training(document):
    ours = {field.name for field in dataclasses.fields(Options)}
    named = set(re.findall(r"(?<![\w-])--(?:no-)?([a-z_]+)\b", (ROOT / document).read_text(encoding="utf-8")))
    assert named - OTHERS - OF_BEAM <= ours


def test_every_public_name_is_on_the_page_of_the_api():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: beam2vec\.(\w+)$", page, re.MULTILINE)) == sorted(
        set(beam2vec.__all__) - {"__version__"}
    )


def test_exit_statuses_of_errors_are_those_of_the_page():
    page = (ROOT / "docs" / "statuses.md").read_text(encoding="utf-8")
    written = {
        name: int(status)
        for status, row in re.findall(r"^\| (\d+) \| (.*Error.*) \|$", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    raised = {name: error for name, error in vars(errors).items() if name in beam2vec.__all__}
    del raised["InterruptedRunError"]  # which a call from Python raises as the KeyboardInterrupt that it was
    assert written == {name: error.exit_status for name, error in raised.items()}
    assert f"| {errors.InterruptedRunError.exit_status} | `KeyboardInterrupt`" in page


def test_training_commands_of_readme_guide_and_makefile_parse():
    commands = re.findall(r"^ {4}beam2vec train (.*)", README + START, re.MULTILINE)
    assert len(commands) > 3
    options = re.search(r"^TOPICS_OPTIONS := (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in [*commands, f"--input=a --output=b {options[1]}"]:
        read(command.replace("'", "").split(), parser("jobs.train", ""))


@pytest.fixture
def topics(tmp_path, monkeypatch):
    """A run with two checkpoints as the snippets of docs/start.md expect it: in runs/topics."""
    words = ["the", "class", "instance", "string", "far"]
    vectors = np.float32([[0, 0, 1], [1, 0, 0], [0.9, 0.1, 0], [0.5, 0.5, 0], [-1, 0, 0]])
    commits = Commits(Records(open_storage(str(tmp_path / "runs" / "topics"))), "checkpoints", KEY)
    counts = np.arange(5, 0, -1)
    for step, factor in ((9, -1), (12, 1)):
        mixed = np.where(np.array([[True], [False], [True], [True], [True]]), factor * vectors, vectors)
        write_checkpoint(commits, step, Model(pa.array(words), counts, mixed, vectors), {}, steps=2000)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("snippet", [text for text in SNIPPETS if "newest" in text], ids=["duckdb", "pandas"])
def test_neighbor_snippets_of_the_guide_run(topics, snippet, capsys):
    exec(compile(snippet, "start.md", "exec"), {})
    shown = re.findall(r"\b(the|instance|string|far)\b", capsys.readouterr().out)
    assert shown == ["instance", "string", "the", "far"]


def test_tokenizer_of_the_guide_runs():
    names: dict = {}
    (snippet,) = (text for text in SNIPPETS if "def split" in text)
    exec(snippet, names)
    assert names["split"]("Don't stop, the 2nd") == ["Don", "t", "stop", "the", "2nd"]


def test_neighbors_example_takes_the_newest_checkpoint(topics, capsys):
    neighbors = _example("neighbors")
    assert neighbors.main("runs/topics/checkpoints", ["class", "nothing"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "step 12 of 2,000",
        "class: instance 0.99, string 0.71, the 0.00, far -1.00",
        "nothing: not in the vocabulary",
    ]
    assert neighbors.main("runs/nowhere", ["class"]) == 2


def test_neighbors_example_takes_the_means_of_cbow(topics, capsys):
    words, commits = ["a", "b", "c"], Commits(Records(open_storage("runs/cbow")), "checkpoints", KEY)
    sides = np.float32([[1, 0], [0, 1], [1, 0.1]]), np.float32([[0, 2], [0, 1], [1, -2]])
    write_checkpoint(commits, 1, Model(pa.array(words), np.array([3, 2, 1]), *sides), {"model": {"model": "cbow"}})
    assert _example("neighbors").main("runs/cbow/checkpoints", ["a"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "a: b 0.89, c -0.29"


def test_neighbors_example_shows_what_would_act_on_a_terminal_as_escapes():
    shown = _example("neighbors").shown
    assert shown("\x1b[2Jevil\u202e\U000e0041") == r"\x1b[2Jevil\u202e\U000e0041"
    assert shown("می\u200cخواهم 語") == "می\u200cخواهم 語"
    assert len(shown("z" * 100_000)) == 200


def test_neighbors_example_misses_words_that_are_gone(topics, capsys):
    part = pathlib.Path(f"runs/topics/checkpoints/{KEY[:8]}/step=000000000012/part-000000-of-000001.parquet")
    table = pq.read_table(part, partitioning=None)
    pq.write_table(table.slice(0, 3), part)
    assert _example("neighbors").main("runs/topics/checkpoints", ["class"]) == 1
    assert "step=000000000012 holds 3 of 5 words: a part is missing" in capsys.readouterr().err


def test_topics_example_writes_a_corpus(tmp_path):
    _example("python_topics").main(str(tmp_path / "new" / "topics.txt"))
    lines = (tmp_path / "new" / "topics.txt").read_text().splitlines()
    assert len(lines) > 1000
    assert all(re.fullmatch(r"[a-z_]{2,}( [a-z_]{2,})*", line) for line in lines)


def _example(name: str):
    """The example as a module, from its file alone: as it would be after copying it elsewhere."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    before = set(sys.modules)
    spec.loader.exec_module(module)
    assert not [m for m in set(sys.modules) - before if m.split(".")[0] in ("pipeline", "jobs", "transforms")]
    return module
