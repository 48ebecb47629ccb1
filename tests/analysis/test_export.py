"""Exports are read back by the tools they are for, with the same words and the same numbers."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam2vec import Run
from pipeline.analysis.export import FORMATS, Export, PlainWords, export
from pipeline.model.checkpoints import write_checkpoint
from pipeline.model.model import Model
from pipeline.model.neighbors import unit_length
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage, split_uri
from tests.helpers.commands import ALONE, run, train, write_corpus

ODD_WORDS = {
    "New York": "New_York",
    "New_York": "New_York_",
    "tab\tand\nline": "tab_and_line",
    "\n": "_",
    "": "__",
    "\u00a0x": "_x",
    "a\u2028b": "a_b",
    "nul\0l": "nul_l",
    "ä ö": "ä_ö",
    "\x1c": "___",
    '"quoted"': '"quoted"',
    "[UNK]": "[UNK]",
    "😀": "😀",
}
"""Words, and how formats that end a word at white space have them."""
ODD, ODD_WRITTEN = list(ODD_WORDS), list(ODD_WORDS.values())
ODD_STEP = 99_999_000


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose newest checkpoint but one is trained, and whose newest has odd words."""
    folder = tmp_path_factory.mktemp("run")
    outcome = train(f"--input={write_corpus(folder / 'corpus.txt')}", f"--output={folder / 'run'}", *ALONE)
    assert outcome.status == 0, outcome.stderr
    made = Run.open(str(folder / "run"))
    draw = np.random.default_rng(0)
    sides = draw.normal(size=(2, len(ODD), 5)).astype(np.float32)
    sides[0, 3], sides[0, 4] = 0, np.float32([1e-30, -0.0, 3e38, 1 / 3, 1e-45])
    model = Model(pa.array(ODD), np.arange(len(ODD), 0, -1), *sides)
    write_checkpoint(Commits(made.records, "checkpoints", made.key("checkpoints")), ODD_STEP, model, {})
    return made


def exported(trained, format, to, *arguments, step=None):
    step = trained.checkpoint().step if step is None else step
    where = [f"--run={trained.uri}", f"--step={step}", f"--format={format}", f"--to={to}"]
    outcome = run("jobs.export", *where, *arguments)
    assert outcome.status == 0, outcome.stderr
    return outcome.stdout


@pytest.fixture(scope="module")
def last(trained):
    """Step of the last trained checkpoint."""
    return int(trained.metrics()["step"][-1].as_py())


@pytest.mark.parametrize("format", ["word2vec", "word2vec-binary"])
def test_gensim_loads_word2vec(trained, last, tmp_path, format):
    models = pytest.importorskip("gensim.models")
    for step, words in [(last, trained.words(last)), (ODD_STEP, ODD_WRITTEN)]:
        said = exported(trained, format, tmp_path / "v", step=step)
        loaded = models.KeyedVectors.load_word2vec_format(str(tmp_path / "v"), binary=format.endswith("binary"))
        assert loaded.index_to_key == words
        np.testing.assert_array_equal(loaded.vectors, trained.vectors(step=step))
        assert ("10 words hold white space" in said) == (step == ODD_STEP)


def test_npy_and_its_words(trained, tmp_path):
    exported(trained, "npy", tmp_path / "v.npy", "--vectors=mean")
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), trained.vectors("mean"))
    assert json.loads((tmp_path / "v.words.json").read_text("utf-8")) == ODD


def test_projector_tables_have_a_row_a_word(trained, tmp_path):
    exported(trained, "projector", tmp_path / "p", "--vectors=output", "--top=8")
    rows = (tmp_path / "p" / "vectors.tsv").read_bytes().decode().split("\n")
    vectors = np.array([[float(number) for number in row.split("\t")] for row in rows[:-1]], np.float32)
    np.testing.assert_array_equal(vectors, trained.vectors("output")[:8])
    header, *lines = (tmp_path / "p" / "metadata.tsv").read_text("utf-8").splitlines()
    assert header == "word\tcount"
    assert lines == [f"{word}\t{len(ODD) - i}" for i, word in enumerate(ODD_WRITTEN[:8])]
    config = (tmp_path / "p" / "projector_config.pbtxt").read_text()
    named = re.findall(r'_path: "(.*)"', config)
    assert sorted([*named, "projector_config.pbtxt"]) == sorted(path.name for path in (tmp_path / "p").iterdir())


def test_safetensors_and_its_tokenizer(trained, last, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    exported(trained, "safetensors", tmp_path / "s")
    weights = safetensors.load_file(tmp_path / "s" / "model.safetensors")["embedding.weight"]
    np.testing.assert_array_equal(weights[:-1], trained.vectors())
    assert not weights[-1].any(), "the vector of unknown words"
    assert json.loads((tmp_path / "s" / "words.json").read_text("utf-8")) == [*ODD, "[UNK]_"]
    tokenizers = pytest.importorskip("tokenizers")
    exported(trained, "safetensors", tmp_path / "s", step=last)
    loaded = tokenizers.Tokenizer.from_file(str(tmp_path / "s" / "tokenizer.json"))
    words = trained.words(last)
    assert loaded.encode(f"{words[3]}  {words[1]} neverseen").ids == [3, 1, len(words)]


def test_numbers_of_safetensors_begin_at_a_multiple_of_eight_bytes(trained, tmp_path):
    for top in (1, 2, 10, 13):  # headers of several lengths
        exported(trained, "safetensors", tmp_path / "s", f"--top={top}", step=ODD_STEP)
        assert int.from_bytes((tmp_path / "s" / "model.safetensors").read_bytes()[:8], "little") % 8 == 0


def test_the_tokenizer_brings_text_into_the_form_of_the_corpus(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    (tmp_path / "text.txt").write_text("Café new york\nCafé new york tea\n" * 60, "utf-8")
    options = ("--normalize=nfc", "--lowercase", "--phrases=1", "--dims=4", "--min_count=1", "--no_report")
    outcome = train(f"--input={tmp_path / 'text.txt'}", f"--output={tmp_path / 'run'}", *options)
    assert outcome.status == 0, outcome.stderr
    run = Run.open(str(tmp_path / "run"))
    said = exported(run, "safetensors", tmp_path / "s")
    assert "joins no words" in said
    loaded = tokenizers.Tokenizer.from_file(str(tmp_path / "s" / "tokenizer.json"))
    assert loaded.encode("CAFE\u0301").ids == [run.words().index("café")]


def test_sentence_transformers_load_the_folder(trained, last, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    exported(trained, "safetensors", tmp_path / "s", step=last)
    model = sentence_transformers.SentenceTransformer(str(tmp_path / "s"), device="cpu")
    words, vectors = trained.words(last), trained.vectors(step=last)
    found = model.encode([words[2], f"{words[0]} {words[1]}"])
    np.testing.assert_allclose(found, [vectors[2], (vectors[0] + vectors[1]) / 2], rtol=1e-5, atol=1e-6)


def test_parquet_of_unit_vectors(trained, tmp_path):
    exported(trained, "parquet", tmp_path / "v.parquet", "--normalize")
    table = pq.read_table(tmp_path / "v.parquet")
    assert table["word"].to_pylist() == ODD
    vectors = np.array(table["vector"].to_pylist(), np.float32)
    np.testing.assert_array_equal(vectors, unit_length(trained.vectors().astype(np.float64)).astype(np.float32))
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, [1.0 if i != 3 else 0.0 for i in range(len(ODD))], atol=1e-6)
    assert json.loads(table.schema.metadata[b"beam2vec"])["digest"] == trained.checkpoint().digest


@pytest.mark.parametrize("format", FORMATS)
def test_any_storage_takes_an_export(trained, format):
    to = f"memory://exports/{format}/v.npy"
    written = export(Export(trained, trained.checkpoint()), format, to)
    for uri in written.uris:
        root, path = split_uri(uri)
        assert open_storage(root).info(path).size > 0


def test_blocks_join_without_seams(trained, last, tmp_path, monkeypatch):
    whole = trained.checkpoint(last)
    export(Export(trained, whole), "word2vec", str(tmp_path / "whole"))
    monkeypatch.setattr("pipeline.analysis.export.ROWS", 7)
    export(Export(trained, whole), "word2vec", str(tmp_path / "parts"))
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "parts").read_bytes()


def test_what_was_there_is_replaced_whole_or_not_at_all(trained, tmp_path, monkeypatch):
    (tmp_path / "v").write_text("before")
    monkeypatch.setattr("pipeline.analysis.export._rows_as_text", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(Export(trained, trained.checkpoint()), "word2vec", str(tmp_path / "v"))
    assert [path.name for path in tmp_path.iterdir()] == ["v"]
    assert (tmp_path / "v").read_text() == "before"


def test_plain_words_stay_apart_over_blocks():
    plain = PlainWords()
    assert plain.of(pa.array(["a b", "a_b"])).to_pylist() == ["a_b", "a_b_"]
    assert plain.of(pa.array(["a\tb", "c"])).to_pylist() == ["a_b__", "c"]
    assert plain.changed == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format=glove", "--to=x"], "invalid choice: 'glove'"),
        (["--format=word2vec"], "--to"),
        (["--format=word2vec", "--to=."], "--to=. is a folder"),
        (["--format=projector", f"--to={__file__}"], "is a file"),
        (["--format=npy", "--to=x", "--top=0"], "'0' is not a whole number of at least 1"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(trained, arguments, message):
    outcome = run("jobs.export", f"--run={trained.uri}", *arguments)
    assert outcome.status == 2
    assert message in outcome.error
