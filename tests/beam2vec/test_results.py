"""Evaluating and exporting from Python gives what the commands give."""

from __future__ import annotations

import inspect
import json

import pytest

import beam2vec
from tests.helpers.commands import ALONE, train, write_corpus
from tests.helpers.commands import run as command
from tests.runtime.test_wording import in_python


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    corpus = write_corpus(folder / "corpus.txt")
    outcome = train(f"--input={corpus}", f"--output={folder / 'run'}", *ALONE, "--no_report", "--model=cbow")
    assert outcome.status == 0, outcome.stderr
    run = beam2vec.Run(folder / "run")
    words = run.words()
    (folder / "pairs.tsv").write_text("".join(f"{words[i]}\t{words[i + 1]}\t{i % 5}\n" for i in range(20)), "utf-8")
    (folder / "analogies.txt").write_text(f": some\n{' '.join(words[:4])}\n{' '.join(words[4:8])}\n", "utf-8")
    return folder, run


@pytest.mark.parametrize(("more", "options"), [({}, []), ({"vectors": "input"}, ["--vectors=input"])])
def test_scores_are_those_of_the_command(trained, tmp_path, more, options):
    folder, run = trained
    scores = beam2vec.evaluate(run, pairs=folder / "pairs.tsv", analogies=[folder / "analogies.txt"], **more)
    asked = [f"--pairs={folder / 'pairs.tsv'}", f"--analogies={folder / 'analogies.txt'}", *options]
    outcome = command("jobs.evaluate", f"--run={folder / 'run'}", *asked, f"--json={tmp_path / 'scores.json'}")
    assert outcome.status == 0, outcome.stderr
    told = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    assert scores == {kind: told[kind] for kind in ("pairs", "analogies")}


def test_an_export_has_the_bytes_of_the_command(trained, tmp_path):
    folder, run = trained
    written = beam2vec.export(folder / "run", "word2vec", tmp_path / "ours.txt", top=30, normalize=True)
    assert written == [str(tmp_path / "ours.txt")]
    asked = ["--format=word2vec", f"--to={tmp_path / 'theirs.txt'}", "--top=30", "--normalize"]
    assert command("jobs.export", f"--run={folder / 'run'}", *asked).status == 0
    assert (tmp_path / "ours.txt").read_bytes() == (tmp_path / "theirs.txt").read_bytes()
    assert (tmp_path / "ours.txt").read_text("utf-8").startswith("30 12\n")
    files = beam2vec.export(run, "npy", tmp_path / "vectors.npy")
    assert files == [str(tmp_path / "vectors.npy"), str(tmp_path / "vectors.words.json")]


def test_an_export_has_all_that_the_command_can_do(trained, tmp_path):
    folder, run = trained
    scores = tmp_path / "scores.json"
    judged = ["jobs.evaluate", f"--run={folder / 'run'}", f"--pairs={folder / 'pairs.tsv'}", f"--json={scores}"]
    assert command(*judged).status == 0
    for format, more in [
        ("npy", {"precision": "int8"}),
        ("safetensors", {"precision": "float16", "license": "mit", "evaluation": scores}),
        ("parquet", {"leave_out_absent": True, "vectors": "output"}),
    ]:
        ours, theirs = tmp_path / "ours" / format, tmp_path / "theirs" / format
        beam2vec.export(run, format, ours, **more)
        options = [f"--{name}" if value is True else f"--{name}={value}" for name, value in more.items()]
        outcome = command("jobs.export", f"--run={folder / 'run'}", f"--format={format}", f"--to={theirs}", *options)
        assert outcome.status == 0, outcome.stderr
    written = {path.relative_to(tmp_path / "ours"): path for path in (tmp_path / "ours").rglob("*") if path.is_file()}
    assert len(written) == 3 + 5 + 1
    for name, path in written.items():
        assert path.read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    assert "license: mit" in (tmp_path / "ours" / "safetensors" / "README.md").read_text("utf-8")


def test_an_option_that_is_an_argument_is_named_as_one():
    others = {"run", "vectors", "sentences", "options", "progress", "beam_options"}
    for function in (beam2vec.evaluate, beam2vec.export, beam2vec.train, beam2vec.preprocess):
        for name in set(inspect.signature(function).parameters) - others:
            assert not in_python(f"--{name}=1").startswith("--"), name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: beam2vec.export(run, "exe", "vectors"), "format='exe': allowed are word2vec, "),
        (lambda run: beam2vec.export(run, "npy", "vectors", top=0), "top='0': give a whole number of at least 1"),
        (lambda run: beam2vec.evaluate(run, pairs=[], most_frequent=0), "most_frequent='0': give a whole number"),
        (lambda run: beam2vec.evaluate(run), "nothing to evaluate: give pairs or analogies"),
        (lambda run: beam2vec.evaluate(run, pairs="x", analogy="guess"), "analogy='guess': allowed are 3cosadd"),
        (lambda run: beam2vec.evaluate("/nowhere", pairs=[]), "nothing to evaluate"),
        (
            lambda run: beam2vec.evaluate(run, pairs="x", vectors="both"),
            "vectors='both': allowed are input, output, mean",
        ),
        (
            lambda run: beam2vec.export(run, "npy", "v", vectors="both"),
            "vectors='both': allowed are input, output, mean",
        ),
        (lambda run: beam2vec.export(run, "npy", "v", precision="int4"), "precision='int4': allowed are float32, "),
        (
            lambda run: beam2vec.export(run, "glove", "v", precision="int8"),
            "precision=int8 goes with format=npy, parquet",
        ),
        (
            lambda run: beam2vec.export(run, "safetensors", "v", license="my own"),
            "license=my own is no name of the Hub",
        ),
        (lambda run: beam2vec.export(run, "glove", "v", license="mit"), "license has no effect with format=glove"),
        (lambda run: beam2vec.export(run, "safetensors", "v", evaluation="/no"), "evaluation=/no"),
        (lambda run: beam2vec.export(run, "npy", "."), "to=. is a folder"),
    ],
)
def test_mistakes_are_told(trained, call, message):
    with pytest.raises(beam2vec.InputError, match=r"^" + message):
        call(trained[1])
