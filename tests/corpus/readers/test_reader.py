"""What holds for every format."""

from __future__ import annotations

import csv
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus.files import match_inputs
from pipeline.corpus.readers.open_reader import open_reader, reader_of
from pipeline.corpus.readers.reader import HEAD_BYTES
from pipeline.options import INPUT_FORMATS, Options
from pipeline.storage.parquet import from_parquet
from tests.helpers.commands import TINY, digest_of, train
from tests.helpers.formats import csv_file, jsonl, parquet


def test_every_format_of_the_options_has_a_reader():
    assert {name: reader_of(name).has_fields for name in INPUT_FORMATS} == {
        "text": False,
        "jsonl": True,
        "csv": True,
        "parquet": True,
    }


# The same sentences in every format


def test_one_digest_in_all_formats(lines, tmp_path):
    text = tmp_path / "corpus.txt"
    expected = digest_of(text, tmp_path / "text")
    rows = [{"id": i, "text": line, "doc": {"body": {"words": line.split()}}} for i, line in enumerate(lines)]
    json_file = jsonl(tmp_path / "rows", rows)
    columns = parquet(tmp_path / "columns", "text", lines)
    table = csv_file(tmp_path / "table", [[i, line] for i, line in enumerate(lines)], quoting=csv.QUOTE_ALL)
    nested = tmp_path / "nested"
    pq.write_table(pa.Table.from_pylist(rows), nested, row_group_size=100)
    for number, (file, format, field) in enumerate(
        (
            (json_file, "jsonl", "text"),
            (json_file, "jsonl", "doc.body.words"),
            (table, "csv", "text"),
            (columns, "parquet", "text"),
            (nested, "parquet", "doc.body.words"),
        )
    ):
        arguments = [f"--input_format={format}", f"--field={field}", f"--block_bytes={5000 + number}"]
        found = digest_of(file, tmp_path / f"{number}", *arguments)
        assert found == expected


def test_the_preview_of_text_shows_the_beginning_of_a_long_line(tmp_path):
    (tmp_path / "x").write_text("word " * 50_000)
    (file,) = match_inputs([str(tmp_path / "x")])
    (sentence,) = open_reader(Options.checked({"max_sentence": 1 << 20}), [file]).preview(file)
    assert sentence[:-1] == ["word"] * (HEAD_BYTES // 5)


def test_dead_letters_of_a_run_and_their_limit(tmp_path):
    rows = [{"text": "some words " * 5}] * 99 + [{"text": None}]
    arguments = ["--input_format=jsonl", "--field=text", f"--output={tmp_path / 'run'}", *TINY]
    file = jsonl(tmp_path / "x", rows)
    assert train(f"--input={file}", *arguments).status == 0
    (dead,) = (tmp_path / "run" / "dead_letters").rglob("*.parquet")
    assert from_parquet(dead.read_bytes())["reason"].to_pylist() == ["null"]
    jsonl(tmp_path / "x", [*rows, {"text": 1}, {}])
    outcome = train(f"--input={file}", *arguments, "--overwrite")
    assert outcome.status == 2
    assert "3 of 102 lines cannot be read, more than --max_bad_lines=1%" in outcome.error


# Messages


@pytest.mark.parametrize(
    ("format", "field", "rows", "message"),
    [
        (
            "jsonl",
            "txt",
            [{"text": "a", "id": 1}],
            r"--field=txt: the first rows of .* do not have it; there are text, id",
        ),
        ("jsonl", "a.b", [{"a": {"c": 1}}], r"--field=a.b: the first rows .* there are a"),
        ("jsonl", "n", [{"n": 5}], r"--field=n holds a number in the first rows .*; allowed are text, a list"),
        ("jsonl", "n", [{"n": [[[1]]]}], r"--field=n holds a list of other or mixed types"),
        ("jsonl", "n", [["n"], ["m"]], r"holds lists, not objects with a field: write objects by jq -c '{items: .}'"),
        ("jsonl", "n", [[{"n": "a"}]], r"x is one JSON array: write a row a line by jq -c '\.\[\]', and read that"),
        ("jsonl", "n", "[\n{},\n{}]", r"x is one JSON array: write a row a line by jq -c '\.\[\]', and read that"),
        ("jsonl", "n", [5], r"holds no objects with a field n: the first line is a number"),
        ("jsonl", "n", None, r"holds no JSON lines: .* in its first line, 'hello world'"),
        ("parquet", "n", None, r"x is damaged, or no Parquet file"),
        ("jsonl", None, [{}], r"--input_format=jsonl needs --field=NAME"),
        ("text", "a", None, r"--field=a needs --input_format=jsonl, csv or parquet"),
        ("parquet", "n", pa.table({"a": [1], "b": [1]}), r"--field=n: .* has no such column; there are a, b"),
        ("parquet", "a", pa.table({"a": [1.5]}), r"--field=a is double in .*; allowed are text"),
        ("parquet", "a", pa.table({"a": [[1.5]]}), r"--field=a is list<element: double> in"),
        (
            "text",
            None,
            pa.table({"a": ["b"]}),
            r"x is a Parquet file: read it with --input_format=parquet --field=NAME",
        ),
    ],
)
def test_what_cannot_be_read_is_told(format, field, rows, message, tmp_path):
    file = tmp_path / "x"
    if rows is None:
        file.write_text("hello world\n")
    elif isinstance(rows, str):
        file.write_text(rows)
    elif isinstance(rows, pa.Table):
        pq.write_table(rows, file)
    else:
        jsonl(file, rows)
    arguments = [f"--field={field}"] if field else []
    outcome = train(f"--input={file}", f"--output={tmp_path / 'out'}", f"--input_format={format}", *arguments, *TINY)
    assert outcome.status == 2
    assert re.search(message, outcome.error), outcome.error


def test_files_that_differ_from_the_first(tmp_path):
    parquet(tmp_path / "a", "text", ["a a a"])
    parquet(tmp_path / "b", "text", [["a"]])
    out = f"--output={tmp_path / 'out'}"
    outcome = train(f"--input={tmp_path}/[ab]", out, "--input_format=parquet", "--field=text", *TINY)
    assert "b differs from the files before it: --field=text is a list of strings in it, not text" in outcome.error


def test_options_for_text_are_refused_for_items(tmp_path):
    file = jsonl(tmp_path / "a", [{"x": ["B"]}])
    outcome = train(f"--input={file}", f"--output={tmp_path / 'o'}", "--input_format=jsonl", "--field=x", "--lowercase")
    assert "--lowercase is for text, but --field=x is a list of strings, which are used as they are" in outcome.error


def test_dry_run_shows_items(tmp_path):
    file = jsonl(tmp_path / "a", [{"x": json.loads("[3, 4]")}])
    outcome = train(f"--input={file}", f"--output={tmp_path / 'o'}", "--input_format=jsonl", "--field=x", "--dry_run")
    assert outcome.status == 0
    assert "  3 | 4\n" in outcome.stdout


def test_window_all_and_its_bound(tmp_path):
    file = jsonl(tmp_path / "a", [{"x": [1, 2, 3]}, {"x": [3, 2, 1]}] * 50)
    arguments = [f"--input={file}", f"--output={tmp_path / 'o'}", "--input_format=jsonl", "--field=x", *TINY]
    assert train(*arguments, "--window=all").status == 0
    assert train(*arguments, "--window=all").status == 0
    assert "--window is 2, the run has all" in train(*arguments, "--window=2").error
    refused = train(*arguments, "--window=all", "--max_sentence=5000")
    assert "--max_sentence of at most 4,096" in refused.error
    assert "is a whole number (or all) of at least 1 and at most 1000" in train(*arguments, "--window=some").error
