"""An update whose files are of another kind than the parent's: what fits goes on, what does not is told how to."""

from __future__ import annotations

import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.commands import train
from tests.helpers.days import OPTIONS, lines_of

LINES, NEW = lines_of(1, 150), lines_of(2, 60)
PARENTS = {
    "parquet": ("--input_format=parquet", "--field=text"),
    "lists": ("--input_format=parquet", "--field=words"),
    "csv": ("--input_format=csv", "--field=text"),
    "numbered": ("--input_format=csv", "--field=2", "--no_header"),
    "text": ("--stopwords=stop",),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("kinds")
    pq.write_table(pa.table({"text": LINES}), folder / "parquet.in")
    pq.write_table(pa.table({"words": [line.split() for line in LINES]}), folder / "lists.in")
    (folder / "csv.in").write_text("id,text\n" + "".join(f"{i},{line}\n" for i, line in enumerate(LINES)))
    (folder / "numbered.in").write_text("".join(f"{i},{line}\n" for i, line in enumerate(LINES)))
    (folder / "text.in").write_text("\n".join(LINES))
    (folder / "day.txt").write_text("\n".join(NEW))
    (folder / "day.csv").write_text("text,id\n" + "".join(f"{line},{i}\n" for i, line in enumerate(NEW)))
    (folder / "wider.csv").write_text("".join(f"{line},{i},{line}\n" for i, line in enumerate(NEW)))
    (folder / "day.jsonl").write_text("".join(f"{json.dumps({'body': line})}\n" for line in NEW))
    (folder / "unknown.txt").write_text("unheard of\n")
    (folder / "stop").write_text("a1\n")
    (folder / "other").write_text("a2\n")
    for name, options in PARENTS.items():
        given = [option.replace("=stop", f"={folder}/stop") for option in options]
        outcome = train(f"--input={folder}/{name}.in", f"--output={folder}/{name}", *OPTIONS, "--no_report", *given)
        assert outcome.status == 0, outcome.stderr
    return folder


def update(folder, tmp_path, parent, day, *options):
    given = [option.replace("=other", f"={folder}/other") for option in options]
    return train(
        f"--input={folder}/{day}", f"--output={tmp_path}/run", f"--update={folder}/{parent}", "--no_report", *given
    )


@pytest.mark.parametrize(
    ("parent", "day", "options"),
    [
        ("parquet", "day.txt", ["--input_format=text"]),
        ("csv", "day.txt", ["--input_format=text"]),
        ("csv", "day.csv", []),
        ("csv", "day.jsonl", ["--input_format=jsonl", "--field=body"]),
    ],
)
def test_the_same_text_of_another_kind_gives_the_same_vectors(folder, tmp_path, parent, day, options):
    outcome = update(folder, tmp_path, parent, day, *options)
    assert outcome.status == 0, outcome.stderr
    plain = train(
        f"--input={folder}/day.txt",
        f"--output={tmp_path}/plain",
        f"--update={folder}/{parent}",
        "--no_report",
        "--input_format=text",
    )
    assert outcome.digest == plain.digest


@pytest.mark.parametrize(
    ("parent", "day", "options", "said"),
    [
        ("lists", "day.txt", ["--input_format=text"], "the text is text, the parent's was lists of strings; bring"),
        ("numbered", "wider.csv", [], "--field=2 is one of 3 fields, and was one of 2 in the parent's text; --accept"),
        ("text", "day.txt", ["--stopwords=other"], "other words than the parent's had: give it those"),
        ("text", "unknown.txt", [], "of another kind than the parent's? New words come in when all text so far has"),
    ],
)
def test_what_does_not_fit_is_told_with_a_remedy(folder, tmp_path, parent, day, options, said):
    outcome = update(folder, tmp_path, parent, day, *options)
    assert (outcome.status, said in outcome.error) == (2, True), outcome.error
