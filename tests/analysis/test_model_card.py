"""The model card of a folder for the Hugging Face Hub."""

from __future__ import annotations

import json
import re

import pytest
import yaml

import beam2vec
from beam2vec import Run
from pipeline.analysis.model_card import ModelCard, _caveats, _cell, published
from pipeline.errors import InputError
from pipeline.options import Options
from tests.helpers.commands import TINY, run, train, write_corpus


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secret-user")
    text = write_corpus(folder / "private-corpus.txt", lines=60, words=50)
    (folder / "words.txt").write_text(
        "".join(f"{word}\n" for word in sorted(set(text.read_text("utf-8").lower().split()))[:40])
    )
    options = (
        "--dims=6",
        "--epochs=2",
        "--batch_size=64",
        f"--vocabulary={folder}/words.txt",
        "--lowercase",
        "--seed=7",
    )
    outcome = train(f"--input={text}", f"--output={folder / 'run'}", *options, "--model=cbow", "--no_report")
    assert outcome.status == 0, outcome.stderr
    return folder


def card(folder, *options) -> str:
    outcome = run("jobs.export", f"--run={folder / 'run'}", "--format=safetensors", f"--to={folder / 'hub'}", *options)
    assert outcome.status == 0, outcome.stderr
    return (folder / "hub" / "README.md").read_text("utf-8")


def test_it_says_what_the_vectors_are_and_how_to_make_them_again(folder):
    text, opened = card(folder), Run(folder / "run")
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "other"
    assert opened.checkpoint().digest in text
    assert "word vectors of 6 dims: CBOW" in text
    assert "They are the means of input and output vectors." in text
    (command,) = re.findall(r"^    beam2vec train --input=TEXT --output=RUN (.*)$", text, re.MULTILINE)
    assert sorted(command.split()) == sorted(
        [
            "--dims=6",
            "--epochs=2",
            "--batch_size=64",
            "--vocabulary=words.txt",
            "--lowercase",
            "--seed=7",
            "--model=cbow",
        ]
    )
    assert "Evaluation" not in text
    assert "has to be" not in text
    assert yaml.safe_load(card(folder, "--license=mit").split("---\n")[1])["license"] == "mit"


def test_the_command_makes_the_same_vectors(folder, tmp_path):
    (command,) = re.findall(r"--output=RUN (.*)$", card(folder), re.MULTILINE)
    options = command.replace("=words.txt", f"={folder}/words.txt").split()
    again = train(f"--input={folder / 'private-corpus.txt'}", f"--output={tmp_path}", *options, "--no_report")
    assert again.digest == Run(folder / "run").checkpoint().digest


def test_nothing_of_the_folder_tells_where_it_was_made(folder):
    card(folder)
    for path in (folder / "hub").iterdir():
        assert b"secret-user" not in path.read_bytes(), path.name
        assert b"private-corpus" not in path.read_bytes(), path.name


def test_an_evaluation_is_shown_if_it_is_of_these_vectors(folder, tmp_path):
    words = Run(folder / "run").words()
    (tmp_path / "judged.tsv").write_text("".join(f"{words[i]}\t{words[i + 9]}\t{i % 7}.5\n" for i in range(20)))
    of_run = ("jobs.evaluate", f"--run={folder / 'run'}", f"--pairs={tmp_path / 'judged.tsv'}")
    assert run(*of_run, f"--json={tmp_path / 'e.json'}").status == 0
    spearman = json.loads((tmp_path / "e.json").read_text())["pairs"][0]["spearman"]
    assert f"| judged.tsv | Spearman {spearman:.3f} | 20 | 0 |" in card(folder, f"--evaluation={tmp_path / 'e.json'}")
    assert run(*of_run, "--vectors=input", f"--json={tmp_path / 'e.json'}").status == 0
    (tmp_path / "x.json").write_text("[1]")
    for name, message in (
        ("e.json", "--evaluation is of other vectors: its vectors is input, not mean"),
        ("x.json", f"--evaluation={tmp_path}/x.json is not what beam2vec evaluate --json writes"),
        ("none.json", "--evaluation="),
    ):
        to = (f"--to={tmp_path / 'hub'}", f"--evaluation={tmp_path / name}")
        outcome = run("jobs.export", f"--run={folder / 'run'}", "--format=safetensors", *to)
        assert (outcome.status, message in outcome.error) == (2, True), outcome.error
    assert not (tmp_path / "hub").exists()


def test_what_text_needs_first_is_told():
    said = _caveats(Options(tokenizer="unicode_words", phrases=1))
    assert said[::2] == [
        "Text has to be split into words by `unicode_words` first.",
        "Phrases such as new_york have to be joined in the text first.",
    ]


@pytest.mark.parametrize("license", ["", "#", "a: b", "mit\nevil: yes", "../mit"])
def test_a_license_is_a_name_and_no_yaml(license):
    with pytest.raises(InputError, match=r"^--license=.* is no name of the Hub's"):
        ModelCard(license)


def test_a_bar_stays_within_its_cell():
    assert _cell("a|b") == r"a\|b"


def test_of_paths_the_last_part_is_published():
    options = {
        "vocabulary": "/home/me/words.txt",
        "stopwords": "/a/b,c/d",
        "start_from": "s3://bucket/run@20",
        "dims": 5,
    }
    assert published(options | {"update": None}) == {
        "vocabulary": "words.txt", "stopwords": "b,d", "start_from": "run@20", "dims": 5, "update": None
    }  # fmt: skip


def test_given_sentences_are_made_again_by_a_call(tmp_path):
    sentences = [["one", "two", "three", "two"]] * 30
    given = beam2vec.train(sentences=sentences, output=tmp_path / "run", dims=4, epochs=2, min_count=1, report=False)
    beam2vec.export(given, "safetensors", tmp_path / "hub")
    text = (tmp_path / "hub" / "README.md").read_text("utf-8")
    assert "120 tokens of sentences that a program passed" in text
    assert "input file" not in text
    (call,) = re.findall(r"^    (beam2vec\.train\(sentences=SENTENCES, .*)$", text, re.MULTILINE)
    known = {"beam2vec": beam2vec, "SENTENCES": sentences, "RUN": tmp_path / "again"}
    again = eval(call.replace("train(", "train(report=False, "), known)
    assert again.checkpoint().digest == given.checkpoint().digest
    assert f"`{given.checkpoint().digest}`" in text


def test_the_digest_of_an_earlier_checkpoint_is_not_said_to_be_what_the_command_prints(tmp_path):
    text = write_corpus(tmp_path / "corpus.txt", lines=60, words=50)
    options = (*TINY, "--batch_size=64", "--checkpoint_every=5", "--keep_checkpoints=9", "--no_report")
    assert train(f"--input={text}", f"--output={tmp_path / 'run'}", *options).status == 0
    assert "that the command prints" in card(tmp_path)
    early = card(tmp_path, "--step=5")
    assert "that the command prints" not in early
    assert "of that checkpoint, which `--checkpoint_every` and `--keep_checkpoints` decide to keep" in early


@pytest.mark.parametrize("how", ["update", "start_from"])
def test_what_the_vectors_began_with_is_said(tmp_path, how):
    sentences = [["one", "two", "three", "two"]] * 30
    options = {"dims": 4, "min_count": 1, "subsample": 0, "report": False}
    parent = beam2vec.train(sentences=sentences, output=tmp_path / "parent", **options)
    beam2vec.export(parent, "safetensors", tmp_path / "hub")
    assert "Training began with" not in (tmp_path / "hub" / "README.md").read_text("utf-8")
    child = beam2vec.train(sentences=sentences[:20], output=tmp_path / "run", **options, **{how: parent.uri})
    beam2vec.export(child, "safetensors", tmp_path / "hub")
    text = (tmp_path / "hub" / "README.md").read_text("utf-8")
    (named, digest) = re.findall(r"^Training began with the vectors of `(.*?)`, digest `(.*?)`", text, re.MULTILINE)[0]
    assert named == "parent"
    assert digest == (parent.checkpoint().digest if how == "update" else child.identity["start_from"])
    assert str(tmp_path) not in text
