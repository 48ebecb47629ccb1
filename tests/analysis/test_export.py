"""Exports are read back by the tools they are for, with the same words and the same numbers."""

from __future__ import annotations

import gzip
import json
import os
import re
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam2vec import Run
from jobs.cli.entry import run_command
from jobs.export import main as export_main
from pipeline.analysis.export import FORMATS, Export, export
from pipeline.analysis.export_files import ENDINGS
from pipeline.analysis.plain_words import PlainWords
from pipeline.analysis.precision import rounded
from pipeline.corpus.decompression import compression_name, decompress
from pipeline.model.checkpoints import write_checkpoint
from pipeline.model.model import Model
from pipeline.model.neighbors import unit_length
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage, split_uri
from tests.helpers.commands import ALONE, TINY, finish, run, start, train, write_corpus
from tests.helpers.warm import WarmProcess

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


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_fewer_bits_are_read_back_as_they_should_be(trained, last, tmp_path, precision):
    wanted = rounded(trained.vectors(step=last), precision)
    exported(trained, "npy", tmp_path / "v.npy", f"--precision={precision}", step=last)
    exported(trained, "parquet", tmp_path / "v.parquet", f"--precision={precision}", step=last)
    array, table = np.load(tmp_path / "v.npy"), pq.read_table(tmp_path / "v.parquet")
    assert str(array.dtype) == precision
    assert table["vector"].type.value_type == {"float16": pa.float16(), "int8": pa.int8()}[precision]
    assert json.loads(table.schema.metadata[b"beam2vec"])["precision"] == precision
    in_table = np.stack(table["vector"].to_numpy())
    if precision == "int8":
        array = array * np.load(tmp_path / "v.scales.npy")[:, None]
        in_table = in_table * table["scale"].to_numpy()[:, None]
    np.testing.assert_array_equal(array.astype(np.float32), wanted)
    np.testing.assert_array_equal(in_table.astype(np.float32), wanted)
    assert table["word"].to_pylist() == json.loads((tmp_path / "v.words.json").read_text("utf-8"))


@pytest.mark.parametrize("format", [name for name, format in FORMATS.items() if "int8" not in format.precisions])
def test_formats_without_fewer_bits_say_so(trained, tmp_path, format):
    outcome = run(
        "jobs.export", f"--run={trained.uri}", f"--format={format}", f"--to={tmp_path / 'v'}", "--precision=int8"
    )
    assert (outcome.status, "goes with --format=npy, parquet, not with" in outcome.error) == (2, True)


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


def test_safetensors_of_two_bytes_a_number(trained, last, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    exported(trained, "safetensors", tmp_path / "folder", "--precision=float16", step=last)
    weights = safetensors.load_file(tmp_path / "folder" / "model.safetensors")["embedding.weight"]
    wanted = trained.vectors(step=last).astype(np.float16)
    assert weights.dtype == np.float16
    np.testing.assert_array_equal(weights, np.vstack([wanted, np.zeros_like(wanted[:1])]))


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
    to = f"memory://exports/{format}/v{(*ENDINGS[format], '')[0]}"
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
        (["--format=fasttext", "--to=x"], "invalid choice: 'fasttext'"),
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


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zst"])
@pytest.mark.parametrize("format", ["word2vec", "word2vec-binary", "glove"])
def test_the_ending_of_the_name_compresses_to_the_same_bytes(trained, tmp_path, format, ending):
    exported(trained, format, tmp_path / "v")
    for name in ("one", "two"):
        exported(trained, format, tmp_path / f"{name}.{ending}")
    data = (tmp_path / f"one.{ending}").read_bytes()
    assert data == (tmp_path / f"two.{ending}").read_bytes()
    name = compression_name(data[:16])
    assert name.startswith({"zst": "zstd", "gz": "gzip", "bz2": "bzip2"}.get(ending, ending))
    assert b"".join(decompress(name, [data])) == (tmp_path / "v").read_bytes()


@pytest.mark.parametrize("format", ["word2vec", "word2vec-binary", "glove"])
def test_gensim_loads_compressed_files(trained, last, tmp_path, format):
    models = pytest.importorskip("gensim.models")
    exported(trained, format, tmp_path / "v.gz", step=last)
    settings = {"binary": format == "word2vec-binary", "no_header": format == "glove"}
    loaded = models.KeyedVectors.load_word2vec_format(str(tmp_path / "v.gz"), **settings)
    assert loaded.index_to_key == trained.words(last)
    np.testing.assert_array_equal(loaded.vectors, trained.vectors(step=last))


def test_tables_of_the_projector_are_compressed_in_a_folder_that_says_so(trained, tmp_path):
    exported(trained, "projector", tmp_path / "p")
    said = exported(trained, "projector", f"{tmp_path / 'p.gz'}/")
    assert "TensorBoard reads plain files alone: unpack vectors.tsv and metadata.tsv (gzip) for it" in said
    names = ["metadata.tsv.gz", "projector_config.pbtxt", "vectors.tsv.gz"]
    assert sorted(path.name for path in (tmp_path / "p.gz").iterdir()) == names
    for name in ("vectors.tsv", "metadata.tsv"):
        assert gzip.decompress((tmp_path / "p.gz" / f"{name}.gz").read_bytes()) == (tmp_path / "p" / name).read_bytes()


def test_the_ending_behind_a_link_counts_too(trained, tmp_path):
    for name, target in (("plain", "v.gz"), ("v.txt", "v.npy"), ("v.xz", "object"), ("v.gz", "w.gz")):
        (tmp_path / name).symlink_to(tmp_path / "behind" / target)
    for name, why in (("plain", "v.gz, whose ending asks for gzip"), ("v.txt", ".npy is the ending of --format=npy")):
        outcome = run("jobs.export", f"--run={trained.uri}", "--format=word2vec", f"--to={tmp_path / name}")
        assert (outcome.status, why in outcome.error) == (2, True)
    for name in ("v.xz", "v.gz"):
        exported(trained, "word2vec", tmp_path / name)
        assert compression_name((tmp_path / name).read_bytes()[:16]) == {"v.xz": "xz", "v.gz": "gzip"}[name]


def test_npy_has_the_name_that_was_asked_for(trained, tmp_path):
    said = exported(trained, "npy", tmp_path / "v").splitlines()
    assert said[:2] == [f"{tmp_path}/v", f"{tmp_path}/v.words.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v", "v.words.json"]
    np.testing.assert_array_equal(np.load(tmp_path / "v"), trained.vectors())


ONE_FILE = [name for name, format in FORMATS.items() if not format.folder and name != "npy"]


@pytest.mark.parametrize("format", ONE_FILE)
@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_gets_the_file_and_nothing_else(trained, tmp_path, format, name):
    exported(trained, format, tmp_path / "v")
    if name == "link":
        name = tmp_path / "link"
        name.symlink_to("/dev/stdout")
    out = tmp_path / "out"
    arguments = [f"--run={trained.uri}", f"--step={ODD_STEP}", f"--format={format}", f"--to={name}"]
    outcome = finish(WarmProcess(onto, str(out), arguments))
    assert outcome.status == 0, outcome.stderr
    assert out.read_bytes() == b"before" + (tmp_path / "v").read_bytes()
    assert f"{len(ODD)} words, 5 dims" in outcome.stderr


def onto(out: str, arguments: list[str]) -> int:
    """jobs.export with its standard output in a file, in which something is already."""
    with open(out, "ab") as file:
        os.dup2(file.fileno(), 1)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    os.write(1, b"before")
    return run_command("jobs.export", export_main, arguments)


@pytest.mark.parametrize("format", ONE_FILE)
def test_a_reader_that_leaves_ends_an_export_in_silence(trained, last, format):
    process = start("jobs.export", f"--run={trained.uri}", f"--step={last}", f"--format={format}", "--to=-")
    process.stdout.buffer.read(1)
    process.stdout.close()
    assert process.wait(60) in (0, 141)  # 0 if all of it was in the pipe
    assert "Traceback" not in process.stderr.read()


def test_integers_stay_integers_in_tables(tmp_path):
    rows = "".join(f'{{"x": [{i % 7}, {i % 5 + 40}, {i % 3}]}}\n' for i in range(200))
    (tmp_path / "rows").write_text(rows)
    output = tmp_path / "run"
    assert train(
        f"--input={tmp_path / 'rows'}", f"--output={output}", "--input_format=jsonl", "--field=x", *TINY
    ).digest
    words = Run(output).words()
    for format, name in (("parquet", "v.parquet"), ("npy", "v.npy")):
        assert run("jobs.export", f"--run={output}", f"--format={format}", f"--to={tmp_path / name}").status == 0
    assert pq.read_table(tmp_path / "v.parquet")["word"].to_pylist() == words
    assert json.loads((tmp_path / "v.words.json").read_text()) == words
    assert all(type(word) is int for word in words)


@pytest.mark.parametrize("top", [(), ("--top=3",)])
def test_words_that_do_not_occur_are_exported_in_their_place_or_left_out(tmp_path, top):
    (tmp_path / "text").write_text("a rose is a rose is a rose\n" * 40)
    (tmp_path / "list").write_text("rose\nnowhere\na\nis\n")
    arguments = (f"--input={tmp_path / 'text'}", f"--vocabulary={tmp_path / 'list'}", f"--output={tmp_path / 'run'}")
    assert train(*arguments, "--dims=4", "--subsample=0", "--batch_size=32", "--no_report").status == 0
    command = ("jobs.export", f"--run={tmp_path / 'run'}", "--format=word2vec", f"--to={tmp_path / 'v'}", *top)
    every = ["rose", "nowhere", "a", *([] if top else ["is"])]
    for options, wanted in (((), every), (("--leave_out_absent",), ["rose", "a", "is"])):  # --top does not count them
        outcome = run(*command, *options)
        header, *lines = (tmp_path / "v").read_text().splitlines()
        assert [line.split()[0] for line in lines] == wanted
        assert header == f"{len(wanted)} 4"
        assert "1 words of --vocabulary, which do not occur in the corpus, are " in outcome.stdout
