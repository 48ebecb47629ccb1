"""What a field may hold: text, or items."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from beam2vec import Run
from pipeline.corpus.files import match_inputs
from pipeline.model.checkpoints import latest_checkpoint, read_checkpoint
from tests.helpers.commands import digest_of, run
from tests.helpers.formats import counted, jsonl, options, parquet


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


def test_lists_of_objects_and_of_lists_in_json_and_parquet(tmp_path):
    rows = [
        {
            "items": [{"id": 3, "tags": ["a", "b"]}, {"id": 4, "tags": ["c"]}],
            "n": [[1, 2], [], [3]],
            "visits": [[{"id": 1}, {"id": 2}], [{"id": 3}]],
        },
        {"items": [], "n": [], "visits": [[]]},
        {"items": [{"id": 5, "tags": []}], "n": [[4]], "visits": []},
    ]
    files = {"jsonl": jsonl(tmp_path / "rows", rows), "parquet": tmp_path / "columns"}
    pq.write_table(pa.Table.from_pylist([{"first": 1, **row} for row in rows]), files["parquet"], row_group_size=2)
    expected = {
        "items.id": [["3", "4"], ["5"]],
        "items.tags": [["a", "b"], ["c"]],
        "n": [["1", "2"], ["3"], ["4"]],
        "visits.id": [["1", "2"], ["3"]],
    }
    for format, path in files.items():
        for field, sentences in expected.items():
            found, dead, lines = counted(match_inputs([str(path)]), options(format, field))
            assert (found, dead, lines) == (sentences, [], 3), (format, field)


def test_bad_lists_in_lists_are_dead_letters(tmp_path):
    rows = [[[1], [2, 3]], [[4], None], [[5, None]], None, [[6]]]
    good = [["1"], ["2", "3"], ["6"]]
    parquet(tmp_path / "x", "text", rows, pa.list_(pa.list_(pa.int32())), group=2)
    sentences, dead, _ = counted(match_inputs([str(tmp_path)]), options("parquet"))
    assert sentences == good
    assert [row["offset"] for row in sorted(dead, key=lambda row: row["offset"])] == [1, 2, 3]
    (tmp_path / "x").unlink()
    jsonl(tmp_path / "y", [{"text": row} for row in (*rows, [[[7]]], [[8], 9], [["a"]], [[2**63]])])
    sentences, dead, _ = counted(match_inputs([str(tmp_path)]), options("jsonl"))
    assert sentences == good
    assert len(dead) == 7


def test_objects_that_lack_the_field_are_dead_letters(tmp_path):
    rows = [[{"id": "a"}, {"id": "b"}], [{"id": "c"}, {}], [{"id": None}], [None, {"id": "d"}], None, [{"id": "e"}]]
    structs = pa.list_(pa.struct({"x": pa.int8(), "id": pa.string()}))
    parquet(tmp_path / "x", "items", rows, structs, group=4)
    sentences, dead, _ = counted(match_inputs([str(tmp_path)]), options("parquet", "items.id"))
    assert sentences == [["a", "b"], ["e"]]
    assert sorted((row["offset"], row["reason"]) for row in dead) == [
        *((row, "null in a list of strings") for row in (1, 2, 3)),
        (4, "null"),
    ]
    (tmp_path / "x").unlink()
    jsonl(tmp_path / "y", [{"items": row} for row in rows])
    sentences, dead, _ = counted(match_inputs([str(tmp_path)]), options("jsonl", "items.id"))
    assert sentences == [["a", "b"], ["e"]]
    assert [row["reason"] for row in dead][::2] == ["no field items.id", "no field items.id"]


def test_lists_that_are_nested_deeply_are_dead_letters(tmp_path):
    """They were followed to the end of Python's stack."""
    rows = [b'[{"b": "x"}]', b"[" * 900 + b"]" * 900, b'[[[{"b": "x"}]]]', b'[[{"b": "y"}]]']
    (tmp_path / "x").write_bytes(b"".join(b'{"a": %b}\n' % row for row in rows))
    sentences, dead, _ = counted(match_inputs([str(tmp_path)]), options("jsonl", "a.b"))
    assert sentences == [["x"], ["y"]]
    assert [row["reason"] for row in dead] == ["no field a.b"] * 2


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
