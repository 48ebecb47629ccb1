"""Vectors of other tools: each format gives the same words and numbers, and what is wrong with a file is told."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.model import vector_files
from pipeline.model.vector_files import VectorFile

WORDS = ["the", "rose", "한국", "a_b", "x"]
VECTORS = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


def lines(header: str = "5 3\n", end: str = "\n") -> bytes:
    rows = (f"{word} {' '.join(map(repr, map(float, row)))}{end}" for word, row in zip(WORDS, VECTORS))
    return (header + "".join(rows)).encode()


def binary(between: bytes = b"\n") -> bytes:
    rows = (word.encode() + b" " + row.tobytes() + between for word, row in zip(WORDS, VECTORS))
    return b"5 3\n" + b"".join(rows)


def table(kind: pa.DataType, **columns) -> bytes:
    lists = {name: pa.array(matrix.tolist(), kind) for name, matrix in columns.items()}
    sink = io.BytesIO()
    pq.write_table(pa.table({"word": WORDS, **lists}), sink)
    return sink.getvalue()


def uneven(short: int) -> bytes:
    """A table in which one vector lacks a number."""
    vectors = [row[: 2 if number == short else 3].tolist() for number, row in enumerate(VECTORS)]
    sink = io.BytesIO()
    pq.write_table(pa.table({"word": WORDS, "vector": vectors}), sink)
    return sink.getvalue()


def npy(array: np.ndarray = VECTORS) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


def read(path, dims: int = 3):
    blocks = list(VectorFile("start_from", str(path), dims).blocks())
    return (
        [word for block in blocks for word in block.words.to_pylist()],
        np.concatenate([block.input for block in blocks]),
        None if blocks[0].output is None else np.concatenate([block.output for block in blocks]),
    )


FORMS = {
    "word2vec": lines(),
    "fastText, with a blank at the end of lines": lines(end=" \n"),
    "with line ends of Windows": lines("5 3\r\n", "\r\n"),
    "GloVe": lines(""),
    "with a mark of the byte order": b"\xef\xbb\xbf" + lines(),
    "GloVe with a mark of the byte order": b"\xef\xbb\xbf" + lines(""),
    "without a newline at the end": lines().rstrip(b"\n"),
    "binary": binary(),
    "binary without newlines": binary(b""),
    "table": table(pa.list_(pa.float32()), vector=VECTORS),
    "table of doubles": table(pa.list_(pa.float64(), 3), vector=VECTORS),
    "array": npy(),
    "array of doubles": npy(VECTORS.astype(np.float64)),
    "gzip": gzip.compress(lines()),
    "bzip2": bz2.compress(binary()),
    "xz": lzma.compress(lines("")),
}


@pytest.mark.parametrize("block", [2, 1 << 16])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same_words_and_numbers(tmp_path, monkeypatch, form, block):
    monkeypatch.setattr(vector_files, "BLOCK_WORDS", block)
    path = tmp_path / "vectors.npy"  # the name says nothing
    path.write_bytes(FORMS[form])
    (tmp_path / "vectors.words.json").write_text(json.dumps(WORDS))
    words, vectors, output = read(path)
    assert words == WORDS
    assert vectors.tobytes() == VECTORS.tobytes()
    assert output is None


def test_a_table_may_have_both_sides(tmp_path):
    path = tmp_path / "part.parquet"
    path.write_bytes(table(pa.list_(pa.float32(), 3), input=VECTORS, output=-VECTORS))
    words, vectors, output = read(path)
    assert words == WORDS
    assert (vectors == VECTORS).all()
    assert (output == -VECTORS).all()


def test_words_with_blanks_and_words_that_are_not_utf8(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_bytes(b". . . 1 2 3\nat name 4 5 6\n\xff 7 8 9\nz 1 1 1\n")
    path.write_bytes(b"z 1 1 1\n" + path.read_bytes())
    words, vectors, _ = read(path)
    assert words == ["z", ". . .", "at name", "z"]
    assert vectors[:, 0].tolist() == [1, 1, 4, 1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lines().replace(b"5 3", b"5 4"), "has vectors of 4 numbers by its first line, and --dims is 3: set --dims=4"),
        (lines("9 3\n"), "ends after 5 words, where its first line says 9: get it again, or correct that line"),
        (lines("6 3\n").rstrip(b"\n"), "ends after 5 words, where its first line says 6"),
        (lines("2 3\n"), "goes on in line 4, where its first line says 2: correct that"),
        (binary().replace(b"5 3", b"4 3"), "goes on after word 4, where its first line says 4: correct that"),
        (lines("") + b"y 1 2\n", "has 2 numbers in line 6, and --dims is 3"),
        (lines("") + b"y 1 2 3 4\n", "has 4 numbers in line 6, and --dims is 3"),
        (lines("") + b"\nz 1 2 3\n", "has 0 numbers in line 6"),
        (b"a b c d e\n", "has no number where one should be, from line 1 on"),
        (lines("").replace(b"rose ", b"rose x"), "has no number where one should be"),
        (lines("") + b"y 1 nan 3\n", "has a vector that is not finite, of 'y' (number 6)"),
        (binary()[:-9], "ends in word 5, where its first line says 5 words"),
        (b"1 3\na " + np.float32([1, np.inf, 2]).tobytes(), "has a vector that is not finite, of 'a'"),
        (table(pa.list_(pa.float32()), rows=VECTORS), "has no columns word and vector"),
        (
            table(pa.list_(pa.float32()), vector=VECTORS[:, :2]),
            "has vectors of 2 numbers, and --dims is 3: set --dims=2",
        ),
        (uneven(2), "has vectors of different lengths: that in row 3 has 2 numbers, and --dims is 3"),
        (uneven(0), "has vectors of different lengths: that in row 1 has 2 numbers, and --dims is 3"),
        (npy(VECTORS[:4]), "has 4 rows, and"),
        (npy(VECTORS.astype(np.float64) * 1e300), "has a vector that is not finite, of 'the'"),
        (npy(VECTORS.astype(int)), "is an array of int64"),
        (npy(np.asfortranarray(VECTORS)), "a row of floats for each word is needed"),
        (npy()[:-4], "is shorter than its header says"),
        (b"PAR1", "cannot be read"),
        (b"\xba\x16\x4f\x2f" + bytes(100), "is a model of fastText: take the .vec file"),
        (gzip.compress(lines())[:-9], "truncated"),
        (b"PK\x03\x04" + bytes(60), "is zip data, which cannot be read: unpack it first"),
    ],
)
@pytest.mark.parametrize("block", [2, 1 << 16])
@pytest.mark.filterwarnings("error")
def test_what_is_wrong_is_told_in_one_line(tmp_path, monkeypatch, data, message, block):
    monkeypatch.setattr(vector_files, "BLOCK_WORDS", block)
    path = tmp_path / "vectors.npy"
    path.write_bytes(data)
    (tmp_path / "vectors.words.json").write_text(json.dumps(WORDS))
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"--start_from={path} ")
    assert message in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    for name, data in (("none.txt", None), ("array.npy", npy())):
        if data:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=f"--start_from=.*{name} cannot be read: .*does not exist"):
            read(tmp_path / name)


def test_a_folder_is_no_file_of_vectors(tmp_path):
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(
        f"--start_from={tmp_path} cannot be read ({tmp_path}: Is a directory): give a run"
    )


def test_the_digest_is_of_all_bytes(tmp_path):
    path, words = tmp_path / "a.npy", tmp_path / "a.words.json"
    path.write_bytes(npy())
    words.write_text(json.dumps(WORDS))
    first = VectorFile("start_from", str(path), 3).digest()
    words.write_text(json.dumps(WORDS[::-1]))
    assert VectorFile("start_from", str(path), 3).digest() != first
