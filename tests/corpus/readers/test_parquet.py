"""Parquet: one column of a file."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus.files import match_inputs
from pipeline.corpus.readers import parquet as parquet_module
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.readers.parquet import ParquetReader
from pipeline.corpus.work_units import plan_work_units
from pipeline.errors import InputError
from pipeline.words.counts import count_unit
from tests.helpers.commands import TINY, run, train
from tests.helpers.formats import counted, jsonl, options, parquet


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
    views = (pa.string_view(), pa.binary_view())
    for kind in (pa.string(), pa.large_string(), pa.binary(), *views, pa.dictionary(pa.int32(), pa.string())):
        array = pa.array(texts).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(texts).cast(kind)
        file = parquet(tmp_path / "x.parquet", "text", array, group=2)
        assert counted(match_inputs([str(file)]), options("parquet"))[0] == expected
    items = [["a b", "", "c"], [], ["한국"]]
    packed = pa.dictionary(pa.int8(), pa.string())
    for kind in (pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(packed), pa.list_(pa.string_view())):
        file = parquet(tmp_path / "x.parquet", "text", items, kind, group=2)
        assert counted(match_inputs([str(file)]), options("parquet"))[0] == [["a b", "c"], ["한국"]]
    file = parquet(tmp_path / "x.parquet", "text", [["a", "b"], ["c", "d"]], pa.list_(pa.string(), 2))
    assert counted(match_inputs([str(file)]), options("parquet"))[0] == [["a", "b"], ["c", "d"]]
    lists = pa.list_(pa.list_(pa.string_view()))
    file = parquet(tmp_path / "x.parquet", "text", [[["a"], ["b", "c"]], []], lists)
    assert counted(match_inputs([str(file)]), options("parquet"))[0] == [["a"], ["b", "c"]]
    file = parquet(tmp_path / "x.parquet", "a.b", ["dot in the name"])
    assert counted(match_inputs([str(file)]), options("parquet", "a.b"))[0] == [["dot", "in", "the", "name"]]
    both = {"a": pa.array([{"b": "in the struct"}]), "a.b": pa.array(["dot in the name"])}
    for names in (("a", "a.b"), ("a.b", "a")):
        pq.write_table(pa.table({name: both[name] for name in names}), tmp_path / "x.parquet")
        assert counted(match_inputs([str(file)]), options("parquet", "a.b"))[0] == [["dot", "in", "the", "name"]]
    long = [["a"] * 5]
    file = parquet(tmp_path / "x.parquet", "text", long)
    assert counted(match_inputs([str(file)]), options("parquet", max_sentence=2))[0] == [["a", "a"], ["a", "a"], ["a"]]


@pytest.mark.parametrize("of", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view])
@pytest.mark.parametrize("item", [pa.string(), pa.binary(), pa.string_view(), pa.binary_view()])
def test_kinds_of_lists(of, item, tmp_path):
    """Those that Arrow writes and reads, though it cannot filter all of them."""
    file = parquet(tmp_path / "x.parquet", "text", [["a", "b"], [], None, ["c"], ["d", None], ["é"]], of(item), group=9)
    sentences, dead, _ = counted(match_inputs([str(file)]), options("parquet"))
    assert sentences == [["a", "b"], ["c"], ["é"]]
    assert sorted(row["offset"] for row in dead) == [2, 4]


@pytest.mark.parametrize("of", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view])
def test_kinds_of_lists_in_lists(of, tmp_path):
    item = pa.string()
    nested = [[["a"], ["b", "c"]], None, [], [["d"], None], [["e"]]]
    file = parquet(tmp_path / "x.parquet", "text", nested, of(of(item)), group=9)
    sentences, dead, _ = counted(match_inputs([str(file)]), options("parquet"))
    assert sentences == [["a"], ["b", "c"], ["e"]]
    assert sorted(row["offset"] for row in dead) == [1, 3]
    rows = [[{"n": 1, "id": "a"}, {"n": 2, "id": "b"}], [], [{"n": 3, "id": "c"}]]
    file = parquet(tmp_path / "x.parquet", "text", rows, of(pa.struct({"n": pa.int8(), "id": item})), group=9)
    assert counted(match_inputs([str(file)]), options("parquet", "text.id"))[0] == [["a", "b"], ["c"]]


def test_null_among_lists_of_a_fixed_size_is_told(tmp_path):
    file = parquet(tmp_path / "x.parquet", "text", [["a", "b"], None], pa.list_(pa.string(), 2))
    with pytest.raises(InputError, match=r"null where a list of a fixed size belongs.*lists of any size"):
        counted(match_inputs([str(file)]), options("parquet"))


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


@pytest.mark.parametrize("column", ["plain", "dictionary"])
def test_a_changed_byte_of_a_page_stops_the_run(tmp_path, column):
    """Parquet's pages carry checksums; Arrow compares them only where it is asked to."""
    path = tmp_path / "rows.parquet"
    words = [f"word{i % 97} other{i % 89}" for i in range(3000)]
    pq.write_table(
        pa.table({"text": words}), path, compression="none", use_dictionary=column == "dictionary",
        write_page_checksum=True,
    )  # fmt: skip
    data = bytearray(path.read_bytes())
    place = data.index(b"word5") + 2
    data[place : place + 1] = b"X"
    arguments = ("--input_format=parquet", "--field=text", "--dims=8", "--no_report")
    train(f"--input={path}", f"--output={tmp_path / 'whole'}", *TINY, *arguments)
    path.write_bytes(data)
    outcome = train(f"--input={path}", f"--output={tmp_path / 'run'}", *TINY, *arguments)
    assert outcome.status == 2
    assert f"{path} is damaged, or no Parquet file" in outcome.error
    words_list = tmp_path / "words.parquet"
    pq.write_table(pa.table({"word": ["one", "two"]}), words_list, compression="none", write_page_checksum=True)
    words_list.write_bytes(words_list.read_bytes().replace(b"two", b"tow"))
    listed = train(f"--input={path}", f"--output={tmp_path / 'run'}", f"--vocabulary={words_list}", *arguments)
    assert listed.status == 2
    assert f"--vocabulary={words_list} cannot be read" in listed.error


def test_a_row_group_that_gives_fewer_rows_than_its_footer_says_stops_the_run(tmp_path, monkeypatch):
    """Arrow skips what it cannot decode: rows would be missing, and nothing would tell."""
    file = parquet(tmp_path / "a", "text", [f"a{i} b{i} c" for i in range(500)])
    every = pq.ParquetFile.iter_batches
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *given, **named: iter([*every(*given, **named)][:-1]))
    outcome = train(f"--input={file}", f"--output={tmp_path / 'out'}", "--input_format=parquet", "--field=text", *TINY)
    assert outcome.status == 2
    assert "is damaged: row group 0 holds " in outcome.error
    assert outcome.error.endswith(" rows where its footer says 37; get the file again")


def test_rows_that_decode_to_far_more_than_they_are_stored_in_come_in_small_batches(tmp_path):
    """A dictionary holds a value once, however often it stands in the column: 500 bytes of file are 64 MB of text."""
    rows, text = 64, "a rose " * 150_000
    pq.write_table(
        pa.table({"text": [text] * rows, "items": pa.array([[text]] * rows)}),
        tmp_path / "a",
        compression="zstd",
        dictionary_pagesize_limit=1 << 30,
    )
    for field in ("text", "items"):
        with parquet_module._open_parquet(str(tmp_path / "a")) as file:
            (group,) = parquet_module._row_groups(file, field)
            batches = list(parquet_module._batches("a", file, group, field, parquet_module._Rows()))
        assert sum(map(len, batches)) == rows
        assert max(map(len, batches)) * len(text) <= 16 << 20


def test_a_column_of_arrow_dictionaries_is_decoded_in_small_parts(tmp_path):
    rows, text = 2000, "a rose " * 15_000
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows), [text])
    pq.write_table(pa.table({"text": column}), tmp_path / "a")
    with parquet_module._open_parquet(str(tmp_path / "a")) as file:
        (group,) = parquet_module._row_groups(file, "text")
        batches = list(parquet_module._batches("a", file, group, "text", parquet_module._Rows()))
    assert sum(map(len, batches)) == rows
    assert max(map(len, batches)) * len(text) <= 16 << 20
