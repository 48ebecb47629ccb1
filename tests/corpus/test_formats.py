"""JSON lines and Parquet: the sentences of text, bad rows, items, and what messages say."""

from __future__ import annotations

import gzip
import json
import re

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import Run
from pipeline.batches.tokens import encode_unit
from pipeline.corpus.dead_letters import read_dead_letters
from pipeline.corpus.files import match_inputs
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.readers.parquet import ParquetReader
from pipeline.corpus.readers.reader import HEAD_BYTES
from pipeline.corpus.work_units import plan_work_units
from pipeline.errors import InputError
from pipeline.model.checkpoints import latest_checkpoint, read_checkpoint
from pipeline.options import Options
from pipeline.words.counts import count_unit
from pipeline.words.merging import merge_counts
from pipeline.words.vocabulary import Vocabulary, build_vocabulary
from tests.helpers.commands import TINY, digest_of, run, train, write_corpus


@pytest.fixture
def lines(tmp_path):
    return write_corpus(tmp_path / "corpus.txt", lines=300).read_text().splitlines()


def jsonl(path, rows):
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def parquet(path, column, rows, kind=None, group=37, **options):
    array = rows if isinstance(rows, pa.Array) else pa.array(rows, kind)
    pq.write_table(pa.table({column: array, "other": pa.nulls(len(array))}), path, row_group_size=group, **options)
    return path


def counted(files, options, block_bytes=1 << 20):
    """(counts by word, sentences of words, dead letters as rows, good and bad lines)"""
    reader = open_reader(options, files)
    sources = [reader.source(file) for file in files]
    units = plan_work_units(sources, block_bytes)
    counts = [count_unit(unit, reader) for unit in units]
    table = build_vocabulary([merge_counts([count.table for count in counts])], 1)
    vocabulary = Vocabulary.from_table(table)
    encoded = [encode_unit(unit, vocabulary, reader, count.fingerprint) for unit, count in zip(units, counts)]
    shards = [unit.table["tokens"].to_pylist() for unit in encoded]
    words = vocabulary.words.to_pylist()
    sentences = [[words[i] for i in sentence] for shard in shards for sentence in shard]
    dead = [row for count in counts if count.dead_letters for row in count.dead_letters.to_pylist()]
    return sentences, dead, sum(count.lines for count in counts)


def options(format, field="text", **more):
    return Options.checked({"input_format": format, "field": field, **more})


# The same sentences in every format


def test_one_digest_in_all_formats(lines, tmp_path):
    text = tmp_path / "corpus.txt"
    expected = digest_of(text, tmp_path / "text")
    rows = [{"id": i, "text": line, "doc": {"body": {"words": line.split()}}} for i, line in enumerate(lines)]
    json_file = jsonl(tmp_path / "rows", rows)
    columns = parquet(tmp_path / "columns", "text", lines)
    nested = tmp_path / "nested"
    pq.write_table(pa.Table.from_pylist(rows), nested, row_group_size=100)
    for number, (file, format, field) in enumerate(
        (
            (json_file, "jsonl", "text"),
            (json_file, "jsonl", "doc.body.words"),
            (columns, "parquet", "text"),
            (nested, "parquet", "doc.body.words"),
        )
    ):
        arguments = [f"--input_format={format}", f"--field={field}", f"--block_bytes={1000 + number}"]
        found = digest_of(file, tmp_path / f"{number}", *arguments)
        assert found == expected


def test_integers_stay_integers(lines, tmp_path):
    number = {word: i * 7919 - 50_000 for i, word in enumerate(sorted({w for line in lines for w in line.split()}))}
    rows = [[number[word] for word in line.split()] for line in lines]
    text = tmp_path / "numbers.txt"
    text.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))
    expected = digest_of(text, tmp_path / "text")
    json_file = jsonl(tmp_path / "rows", [{"items": row} for row in rows])
    for kind in (pa.list_(pa.int32()), pa.large_list(pa.int64())):
        columns = parquet(tmp_path / "columns", "items", rows, kind)
        out = tmp_path / f"run-{kind}"
        assert digest_of(columns, out, "--input_format=parquet", "--field=items") == expected
    assert digest_of(json_file, tmp_path / "json", "--input_format=jsonl", "--field=items") == expected
    (part,) = sorted((tmp_path / "json" / "checkpoints").rglob("*.parquet"))[-1:]
    words = pq.read_table(part, partitioning=None)["word"]
    assert words.type == pa.int64()
    assert words[0].as_py() in number.values()
    finished = Run.open(str(tmp_path / "json"))
    assert finished.vocabulary()["word"].type == pa.int64()
    model = read_checkpoint(finished.records, latest_checkpoint(finished.records, finished.key("checkpoints")))
    assert model.words.to_pylist() == [str(word) for word in words.to_pylist()]
    assert run("jobs.verify", f"--run={tmp_path / 'json'}", "--input").status == 0


@pytest.mark.parametrize("block_bytes", [40, 1 << 20])
def test_every_row_is_in_one_unit_whatever_the_cuts(block_bytes, tmp_path):
    texts = [f"row {i}" + " x" * (i % 40) for i in range(500)]
    expected = [text.split() for text in texts]
    parquet(tmp_path / "a", "text", texts[:300], group=7)
    parquet(tmp_path / "b", "text", texts[300:], group=1000, compression="zstd")
    files = match_inputs([str(tmp_path)])
    assert counted(files, options("parquet"), block_bytes)[0] == expected
    jsonl(tmp_path / "a", [{"text": text} for text in texts[:300]])
    jsonl(tmp_path / "b", [{"text": text} for text in texts[300:]])
    assert counted(match_inputs([str(tmp_path)]), options("jsonl"), block_bytes)[0] == expected


def test_kinds_of_columns(tmp_path):
    texts = ["a b", "", "c\nd e", " ", "f" * 100]
    expected = [["a", "b"], ["c"], ["d", "e"], ["f" * 100]]
    for kind in (pa.string(), pa.large_string(), pa.binary(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        array = pa.array(texts).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(texts).cast(kind)
        file = parquet(tmp_path / "x.parquet", "text", array, group=2)
        assert counted(match_inputs([str(file)]), options("parquet"))[0] == expected
    items = [["a b", "", "c"], [], ["한국"]]
    packed = pa.dictionary(pa.int8(), pa.string())
    for kind in (pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(packed)):
        file = parquet(tmp_path / "x.parquet", "text", items, kind, group=2)
        assert counted(match_inputs([str(file)]), options("parquet"))[0] == [["a b", "c"], ["한국"]]
    file = parquet(tmp_path / "x.parquet", "text", [["a", "b"], ["c", "d"]], pa.list_(pa.string(), 2))
    assert counted(match_inputs([str(file)]), options("parquet"))[0] == [["a", "b"], ["c", "d"]]
    file = parquet(tmp_path / "x.parquet", "a.b", ["dot in the name"])
    assert counted(match_inputs([str(file)]), options("parquet", "a.b"))[0] == [["dot", "in", "the", "name"]]
    both = {"a": pa.array([{"b": "in the struct"}]), "a.b": pa.array(["dot in the name"])}
    for names in (("a", "a.b"), ("a.b", "a")):
        pq.write_table(pa.table({name: both[name] for name in names}), tmp_path / "x.parquet")
        assert counted(match_inputs([str(file)]), options("parquet", "a.b"))[0] == [["dot", "in", "the", "name"]]
    long = [["a"] * 5]
    file = parquet(tmp_path / "x.parquet", "text", long)
    assert counted(match_inputs([str(file)]), options("parquet", max_sentence=2))[0] == [["a", "a"], ["a", "a"], ["a"]]


# Bad rows


def test_bad_json_lines_are_dead_letters(tmp_path):
    rows = [
        b'{"text": "good one"}',
        b"",
        b"  ",
        b'{"text": null}',
        b"{",
        b'{"other": 1}',
        b"[1]",
        b'{"text": 5}',
        b'{"text": ["a", "b"]}',
        b'{"text": "bad \xff"}',
        b'{"text": "\\ud800"}',
        b'{"text": "nul \\u0000x"}',
        b"NaN",
        b'\xef\xbb\xbf{"text": "mark inside"}',
        b'{"text": "last"}',
    ]
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(rows))
    sentences, dead, lines = counted(match_inputs([str(tmp_path)]), options("jsonl"))
    assert sentences == [["good", "one"], ["nul", "\0x"], ["last"]]
    assert lines == len(rows)
    data = (tmp_path / "x").read_bytes()
    bad = [data.index(b"\n" + rows[i]) + 1 if i != 4 else data.index(b"\n{\r") + 1 for i in (*range(3, 11), 12, 13)]
    assert sorted(row["offset"] for row in dead) == bad
    why = {row["offset"]: row["reason"] for row in dead}
    reasons = [why[offset] for offset in bad]
    assert reasons[0] == "null"
    assert reasons[1].startswith("not JSON: ")
    assert reasons[2:4] == ["no field text"] * 2
    assert reasons[4:6] == ["a number where text belongs", "a list of strings where text belongs"]
    assert reasons[6] == "not UTF-8"


def test_a_field_that_the_first_rows_lack(tmp_path):
    jsonl(tmp_path / "x", [{"y": 1}, 5, {"text": "here"}])
    (file,) = match_inputs([str(tmp_path)])
    assert open_reader(options("jsonl"), [file]).preview(file) == [["here"]]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("size", [240_000, 1_200_000])
def test_rows_longer_than_the_first_look(tmp_path, size, pack):
    words = [f"w{i:06}" for i in range(size // 8)]
    for value in (" ".join(words), words):
        file = jsonl(tmp_path / "x", [{"text": value}] * 3)
        file.write_bytes(pack(file.read_bytes()))
        files = match_inputs([str(file)])
        reader = open_reader(options("jsonl", max_sentence=1 << 20), files)
        assert reader.preview(files[0]) == [words] * 3
        if pack is bytes:
            assert counted(files, options("jsonl", max_sentence=1 << 20))[0] == [words] * 3


def test_the_preview_of_text_shows_the_beginning_of_a_long_line(tmp_path):
    (tmp_path / "x").write_text("word " * 50_000)
    (file,) = match_inputs([str(tmp_path / "x")])
    (sentence,) = open_reader(Options.checked({"max_sentence": 1 << 20}), [file]).preview(file)
    assert sentence[:-1] == ["word"] * (HEAD_BYTES // 5)


def test_bad_items_are_dead_letters(tmp_path):
    rows = [[1, 2], [1.5], [True], ["a"], [2**63], [-(2**63)], [], [None], {"a": 1}, [1, "a"]]
    jsonl(tmp_path / "x", [{"text": row} for row in rows])
    sentences, dead, _ = counted(match_inputs([str(tmp_path)]), options("jsonl"))
    assert sentences == [["1", "2"], [str(-(2**63))]]
    assert [row["reason"] for row in dead] == [
        *["a list of other or mixed types where a list of integers belongs"] * 2,
        "a list of strings where a list of integers belongs",
        "an integer beyond 64 bits",
        "a list of other or mixed types where a list of integers belongs",
        "an object where a list of integers belongs",
        "a list of other or mixed types where a list of integers belongs",
    ]


def test_bad_rows_of_parquet_are_dead_letters(tmp_path):
    values = [b"good", None, b"\xff", b"x" * 2000, b"half \xed", b"\x95\x9c", "한국".encode()]
    parquet(tmp_path / "x", "text", values, pa.binary(), group=3)
    sentences, dead, lines = counted(match_inputs([str(tmp_path)]), options("parquet", max_line_bytes=1000))
    assert sentences == [["good"], ["한국"]]
    assert lines == 7
    assert [(row["offset"], row["reason"]) for row in sorted(dead, key=lambda row: row["offset"])] == [
        (1, "null"),
        (2, "not UTF-8"),
        (3, "longer than --max_line_bytes"),
        (4, "not UTF-8"),
        (5, "not UTF-8"),
    ]
    assert {len(row["sample"]) for row in dead} <= {0, 1, 2, 6, 200}
    items = [[1], None, [2, None], [], [2**64 - 1], [3]]
    parquet(tmp_path / "x", "text", items, pa.list_(pa.uint64()))
    sentences, dead, _ = counted(match_inputs([str(tmp_path)]), options("parquet"))
    assert sentences == [["1"], ["3"]]
    assert [(row["offset"], row["reason"]) for row in dead] == [
        (1, "null"),
        (2, "null in a list of integers"),
        (4, "an integer beyond 64 bits"),
    ]


def test_dead_letters_of_a_run_and_their_limit(tmp_path):
    rows = [{"text": "some words " * 5}] * 99 + [{"text": None}]
    arguments = ["--input_format=jsonl", "--field=text", f"--output={tmp_path / 'run'}", *TINY]
    file = jsonl(tmp_path / "x", rows)
    assert train(f"--input={file}", *arguments).status == 0
    (dead,) = (tmp_path / "run" / "dead_letters").iterdir()
    assert read_dead_letters(dead.read_bytes())["reason"].to_pylist() == ["null"]
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
        ("jsonl", "n", [{"n": [[1]]}], r"--field=n holds a list of other or mixed types"),
        ("jsonl", "n", [["n"]], r"holds no objects with a field n: the first line is a list of strings"),
        ("jsonl", "n", None, r"holds no JSON lines: .* in its first line, 'hello world'"),
        ("parquet", "n", None, r"x is no sound Parquet file"),
        ("jsonl", None, [{}], r"--input_format=jsonl needs --field=NAME"),
        ("text", "a", None, r"--field=a needs --input_format=jsonl or parquet"),
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
    assert "--lowercase is for text, and --field=x is a list of strings, taken as they are" in outcome.error


def test_empty_parquet(tmp_path):
    parquet(tmp_path / "a", "text", [], pa.string())
    arguments = [f"--output={tmp_path / 'out'}", "--input_format=parquet", "--field=text", *TINY]
    assert "holds no words" in train(f"--input={tmp_path}/a", *arguments).error
    parquet(tmp_path / "b", "text", ["some words some words"] * 5)
    assert train(f"--input={tmp_path}/[ab]", *arguments, "--overwrite").status == 0


def test_changed_parquet_is_found(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 50, 30)) for _ in range(200)]
    file = parquet(tmp_path / "a", "text", texts)
    arguments = ["--input_format=parquet", "--field=text", *TINY]
    assert train(f"--input={file}", f"--output={tmp_path / 'out'}", *arguments).status == 0
    verify = ("jobs.verify", f"--run={tmp_path / 'out'}", "--input")
    assert run(*verify).status == 0
    texts[100] = texts[100][:-2] + "zz"
    parquet(tmp_path / "a", "text", texts)
    outcome = run(*verify)
    assert outcome.status == 1
    assert f"{file} differs from what the run has read, in row group 2" in outcome.stderr
    reader = open_reader(options("parquet"), match_inputs([str(file)]))
    assert isinstance(reader, ParquetReader)
    unit = plan_work_units([(str(file), 10)], 100)[0]
    with pytest.raises(InputError, match="changed while it was read"):
        count_unit(unit, reader)


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
    assert "--max_sentence is at most 4,096, not 5,000" in refused.error
    assert "is a whole number (or all) of at least 1 and at most 1000" in train(*arguments, "--window=some").error
