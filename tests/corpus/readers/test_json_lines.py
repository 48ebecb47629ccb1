"""JSON lines: one field of an object a line."""

from __future__ import annotations

import gzip

import pytest

from pipeline.corpus.files import match_inputs
from pipeline.corpus.readers import json_lines
from pipeline.corpus.readers.open_reader import open_reader
from tests.helpers.commands import TINY, train
from tests.helpers.formats import counted, jsonl, options

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
    words = [f"w{i:062}" for i in range(size // 64)]
    for value in (" ".join(words), words):
        file = jsonl(tmp_path / "x", [{"text": value}] * 3)
        file.write_bytes(pack(file.read_bytes()))
        files = match_inputs([str(file)])
        reader = open_reader(options("jsonl", max_sentence=1 << 20), files)
        assert reader.preview(files[0]) == [words] * 3
        if pack is bytes:
            assert counted(files, options("jsonl", max_sentence=1 << 20))[0] == [words] * 3


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "Infinity"])
def test_a_number_that_json_does_not_have_is_named(tmp_path, number):
    """Python's json writes such."""
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"score": {number}, "text": "a rose"}}\n' * 3)
    outcome = train(f"--input={path}", f"--output={tmp_path / 'run'}", "--input_format=jsonl", "--field=text", *TINY)
    assert outcome.status == 2
    assert f"JSON has no {number}: write null" in outcome.error
    path.write_text('{"text": "a rose is NaN: NaN"}\n' * 40)
    told = train(f"--input={path}", f"--output={tmp_path / 'run'}", "--input_format=jsonl", "--field=text", *TINY)
    assert told.status == 0, told.stderr


def test_a_line_too_long_to_be_parsed_is_a_bad_one(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "_LONGEST", 100)
    jsonl(tmp_path / "x", [{"text": "a"}, {"text": "b " * 100}, {"text": "c"}])
    sentences, dead, lines = counted(match_inputs([str(tmp_path)]), options("jsonl"))
    assert (sentences, lines) == ([["a"], ["c"]], 3)
    assert [row["reason"] for row in dead] == ["longer than --max_line_bytes"]


def test_lines_are_parsed_some_at_a_time(tmp_path, monkeypatch):
    jsonl(tmp_path / "x", [{"text": f"w{i} " * (i % 7)} if i % 5 else {"bad": i} for i in range(100)])
    files = match_inputs([str(tmp_path)])
    at_once = counted(files, options("jsonl"))
    monkeypatch.setattr(json_lines, "_TOGETHER", 64)
    assert counted(files, options("jsonl")) == at_once
    assert len(at_once[1]) == 20
