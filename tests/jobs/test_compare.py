"""The command that compares two models."""

from __future__ import annotations

import json
import pathlib

import pyarrow.parquet as pq
import pytest

from beam2vec import Run
from tests.helpers.commands import TINY, run, train, write_corpus


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Two runs; the second went on from the first, on text with other words."""
    folder = tmp_path_factory.mktemp("compare")
    write_corpus(folder / "old.txt", lines=60, words=60)
    text = write_corpus(folder / "new.txt", lines=30, words=30, seed=1).read_text()
    (folder / "new.txt").write_text(text + (folder / "old.txt").read_text())
    going_on = (f"--start_from={folder / 'first'}", "--learning_rate=0.005")
    made = [
        ("old", "first", ("--checkpoint_every=10", "--keep_checkpoints=9", "--batch_size=64")),
        ("new", "second", going_on),
    ]
    for name, output, options in made:
        command = (f"--input={folder / name}.txt", f"--output={folder / output}", *TINY, "--no_report", *options)
        assert train(*command).status == 0
    return folder


def compared(*arguments) -> tuple[int, str, str]:
    outcome = run("jobs.compare", *map(str, arguments))
    return outcome.status, outcome.stdout, outcome.stderr


def test_two_runs_word_by_word(folder, tmp_path):
    (tmp_path / "pairs.tsv").write_text("\n".join(f"{a}\t{b}\t{i}.5" for i, (a, b) in enumerate(pairs(folder))))
    files = (f"--json={tmp_path / 'm.json'}", f"--to={tmp_path / 'm.parquet'}", f"--pairs={tmp_path / 'pairs.tsv'}")
    status, out, _ = compared(folder / "first", folder / "second", *files)
    assert status == 0
    told = json.loads((tmp_path / "m.json").read_text())
    first, second = (set(Run(folder / name).words()) for name in ("first", "second"))
    assert told["shared"] == len(first & second) > 20
    assert told["new"]["words"] == len(second - first) > 0
    assert told["gone"]["words"] == len(first - second)
    assert told["cosine"] > 0.9
    assert f"{told['shared']} shared words: mean cosine {told['cosine']:.3f}" in out
    assert f"new: {told['new']['words']:,} words, {told['new']['most_frequent'][0][0]}" in out
    assert "pairs.tsv: Spearman " in out
    table = pq.read_table(tmp_path / "m.parquet")
    assert sorted(table["word"].to_pylist()) == sorted(first & second)


def pairs(folder):
    words = Run(folder / "first").words()
    return zip(words[:8], words[8:16])


def test_steps_of_one_run_and_json_alone(folder):
    status, out, _ = compared(f"{folder / 'first'}@10", folder / "first", "--json=-")
    told = json.loads(out)
    assert (status, told["before"]["step"]) == (0, 10)
    assert told["after"]["step"] > 10
    status, out, _ = compared(folder / "first", folder / "first")
    assert "the models are the same, to the bit" in out


def test_runs_of_two_spaces_are_told(folder):
    command = (f"--input={folder / 'old'}.txt", f"--output={folder / 'other'}", *TINY, "--no_report", "--seed=9")
    assert train(*command).status == 0
    _, out, _ = compared(folder / "first", folder / "other")
    assert "--align turns one onto the other" in out
    _, out, _ = compared(folder / "first", folder / "other", "--align")
    assert "--align turns one onto the other" not in out


@pytest.mark.parametrize(
    ("second", "message"),
    [("none", "is not the output of a run"), ("first@7", "first@7: "), ("small", "vectors of 12 and of 5 dims")],
)
def test_what_cannot_be_compared_is_one_line(folder, second, message):
    if second == "small":
        command = (f"--input={folder / 'old'}.txt", f"--output={folder / 'small'}", *TINY, "--no_report", "--dims=5")
        assert train(*command).status == 0
    status, out, error = compared(folder / "first", folder / second)
    assert (status, out) == (2, "")
    assert message in error
    assert len(error.splitlines()) == 1
