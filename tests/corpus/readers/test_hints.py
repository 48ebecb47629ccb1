"""Text that is not plain text is noticed by its first lines, and plain text is left alone."""

from __future__ import annotations

import json
from pydoc_data import topics

import pytest

from pipeline.corpus.readers.hints import format_hint
from tests.helpers.commands import ALONE, TINY, train

ROWS = [{"id": number, "title": f"t{number}", "text": f"row number {number} has words"} for number in range(9)]
TABLE = ["id,title,text", *(f"{row['id']},{row['title']},{row['text']}" for row in ROWS)]


def lines_of(*texts: str) -> list[bytes]:
    return [text.encode() for text in texts]


def test_json_lines_are_told_with_the_longest_field():
    assert format_hint(lines_of(*map(json.dumps, ROWS))).endswith("--field=text takes the text alone")
    assert "--field=items" in format_hint(lines_of('{"items": ["a", "b"]}', '{"items": ["c"]}'))


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_tables_are_told_with_their_columns(separator):
    hint = format_hint(lines_of(*(line.replace(",", separator) for line in TABLE)))
    assert "looks like a table" in hint
    assert "(id, title, text)" in hint
    assert hint.endswith("--input_format=csv --field=text takes one of them")


@pytest.mark.parametrize(
    "texts",
    [
        ["id,text,label", *[f'{number},"a rose, is a rose",x' for number in range(9)]],
        [f"{number},a rose is a rose and nothing else,x" for number in range(9)],
        [f"{number}\ta rose is a rose and nothing else" for number in range(9)],
        ["\ufeffid;text", *["7;a rose"] * 9],
    ],
    ids=["commas in quotes", "no header", "numbered lines", "a mark"],
)
def test_other_tables_are_told_too(texts):
    hint = format_hint(lines_of(*texts))
    assert "looks like a table" in hint
    named = "--field=text" if "text" in texts[0] else "--no_header --field=2"
    assert f"--input_format=csv {named}" in hint


def test_lists_in_json_are_told():
    hint = format_hint(lines_of('["a", "b"]', "[3, 4]"))
    assert hint.startswith("looks like lists in JSON")
    assert hint.endswith("--input_format=jsonl --field=items")


@pytest.mark.parametrize(
    "text",
    [json.dumps(ROWS), json.dumps(ROWS)[:50], json.dumps(ROWS, indent=1), json.dumps({"rows": ROWS}, indent=1)],
    ids=["one line", "a line that is cut", "many lines", "in an object"],
)
def test_a_json_document_is_told(text):
    assert "looks like one JSON document" in format_hint(lines_of(*text.split("\n")))


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["[1] Mikolov et al.", "[2] Church"],
        ["[Music]", "[Applause]"],
        ["[[File:rose.jpg]] is a rose"],
        ["{{Infobox}} a rose"],
        ["{}"] * 9,
        ["{"],
        ['{"a": 1}', "not JSON"],
        ["{" * 100_000, "{" * 100_000],
        ["one, two", "three, four", "five, six"],
        ["Roses are red, my love, and violets are blue all day long", *["a b c d e f, g h i j k, l m n"] * 9],
        ["same,same", *["a,b"] * 9],
        ["word " * 9] * 9,
        ["[]"] * 9,
    ],
)
def test_plain_text_is_left_alone(texts):
    assert format_hint(lines_of(*texts)) == ""


def test_no_topic_of_pythons_help_looks_like_a_table():
    for text in topics.topics.values():
        assert format_hint([line for line in text.encode().split(b"\n") if line]) == ""


def test_a_run_says_so_and_trains(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("\n".join(map(json.dumps, ROWS * 40)) + "\n")
    outcome = train(f"--input={path}", f"--output={tmp_path / 'run'}", *ALONE, "--no_report")
    assert outcome.status == 0
    assert f"{path} looks like JSON lines: --input_format=jsonl --field=text" in outcome.stderr
    plan = train(f"--input={path}", f"--output={tmp_path / 'run'}", *ALONE, "--dry_run")
    assert f"note: {path} looks like JSON lines" in plan.stdout
    told = train(f"--input={path}", f"--output={tmp_path / 'r2'}", *ALONE, "--no_report", "--input_format=jsonl",
                 "--field=text")  # fmt: skip
    assert "looks like" not in told.stderr


def test_one_of_several_files_is_told(tmp_path):
    """The first file alone was looked at."""
    for number in range(9):
        (tmp_path / f"a{number}.txt").write_text("a rose is a rose\n" * 40)
    (tmp_path / "b.txt").write_text("\n".join(map(json.dumps, ROWS * 9)) + "\n")
    (tmp_path / "c.csv").write_text("\n".join(TABLE) + "\n")
    run = [f"--output={tmp_path / 'run'}", *TINY, "--dry_run"]
    outcome = train(f"--input={tmp_path / 'a*.txt'}", f"--input={tmp_path / 'c.csv'}", *run)
    assert f"{tmp_path / 'c.csv'} looks like a table" in outcome.stdout
    outcome = train(f"--input={tmp_path / 'a0.txt'}", f"--input={tmp_path / 'b.txt'}", *run)
    assert f"{tmp_path / 'b.txt'} looks like JSON lines" in outcome.stdout
    assert "looks like" not in train(f"--input={tmp_path / 'a*.txt'}", *run).stdout
