"""`--split`: text that is cut into items."""

from __future__ import annotations

import csv

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus.files import match_inputs
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.corpus.tokenizers.whitespace import WHITE_SPACE
from pipeline.errors import InputError
from pipeline.options import Options
from tests.helpers.commands import ALONE, digest_of, train
from tests.helpers.formats import counted, csv_file, jsonl, options, parquet
from tests.helpers.tokenizing import words

SPACES = "".join(map(chr, WHITE_SPACE))
GROCERIES = "citrus fruit,semi-finished bread,margarine\nwhole milk\n , yogurt,,coffee ,\nwhole milk,other vegetables\n"
BASKETS = [
    ["citrus fruit", "semi-finished bread", "margarine"],
    ["whole milk"],
    ["yogurt", "coffee"],
    ["whole milk", "other vegetables"],
]


@given(
    st.text(st.sampled_from("ab,;\n\r한é🇰" + SPACES), max_size=40),
    st.sampled_from([",", ";", ", ", ",,", "한", "🇰", "ab", " "]),
)
def test_items_are_those_of_python(text, separator):
    expected = []
    for line in text.split("\n"):
        items = [item.strip(SPACES) for item in line.split(separator)]
        expected.append([item for item in items if item])
    assert words("whitespace", text, separator=separator) == [items for items in expected if items]


def test_long_lines_are_cut_and_forms_come_first():
    text = "A AND b AND C"
    assert words("whitespace", text, separator=" AND ", lowercase=True) == [["a", "b", "c"]]
    assert words("whitespace", text, separator=" AND ", max_sentence=2) == [["A", "b"], ["C"]]
    assert words("whitespace", "ﬁg,한", separator=",", normal_form="nfkc") == [["fig", "한"]]
    many = ",".join(f"item {i}" for i in range(100_000))
    assert len(words("whitespace", many, separator=",", max_sentence=1 << 20)[0]) == 100_000


def test_a_byte_order_mark_can_separate():
    assert words("whitespace", "a b\ufeffc d", separator="\ufeff") == [["a b", "c d"]]


@pytest.mark.parametrize(
    ("text", "separator", "hint"),
    [
        (GROCERIES, ";", "has no ';' in its first lines, so --split makes one item of each"),
        ('"milk","bread"\n"milk","beer, dark"\n', ",", "has items in quotes, which become parts of the words"),
    ],
)
def test_items_that_are_not_meant_are_told(text, separator, hint, tmp_path):
    (tmp_path / "x").write_text(text * 9)
    outcome = train(
        f"--input={tmp_path / 'x'}", f"--output={tmp_path / 'run'}", *ALONE, f"--split={separator}", "--dry_run"
    )
    assert f"note: {tmp_path / 'x'} {hint}" in outcome.stdout


@pytest.mark.parametrize("text", [GROCERIES, "alone\n", "", '5" disk,7" disk,"\n'])
def test_other_items_are_not_told(text):
    tokenizer = open_tokenizer("whitespace", separator=",")
    assert tokenizer.hint(lambda: tokenizer.sentences(text.encode())) == ""


@pytest.mark.parametrize("separator", ["", "\n", "a\nb"])
def test_what_cannot_split_is_refused(separator):
    with pytest.raises(InputError, match="--split is empty, or has a line end in it"):
        words("whitespace", "a", separator=separator)


def test_baskets_in_every_format_are_the_same(tmp_path):
    (tmp_path / "text").write_text(GROCERIES)
    joined = [", ".join(basket) for basket in BASKETS]
    joined[0] = joined[0].replace(", ", ",\n")
    jsonl(tmp_path / "jsonl", [{"text": basket} for basket in joined])
    csv_file(tmp_path / "csv", [[1, basket] for basket in joined], quoting=csv.QUOTE_ALL)
    parquet(tmp_path / "parquet", "text", joined)
    for format in ("text", "jsonl", "csv", "parquet"):
        values = options(format, None if format == "text" else "text", split=",")
        assert counted(match_inputs([str(tmp_path / format)]), values)[0] == BASKETS


def test_a_groceries_file_trains_as_lists_do(tmp_path):
    """No header, and lines of different lengths."""
    baskets = [basket * 2 for basket in BASKETS] * 60
    (tmp_path / "groceries.csv").write_text("".join(",".join(basket) + "\n" for basket in baskets))
    parquet(tmp_path / "lists.parquet", "items", baskets, pa.list_(pa.string()))
    expected = digest_of(
        tmp_path / "lists.parquet", tmp_path / "lists", "--input_format=parquet", "--field=items", "--window=all"
    )
    arguments = [f"--input={tmp_path / 'groceries.csv'}", *ALONE, "--split=,", "--window=all", "--threads=2"]
    outcome = train(*arguments, f"--output={tmp_path / 'run'}", "--block_bytes=1000")
    assert outcome.digest == expected
    assert "looks like" not in outcome.stderr


def test_a_separator_that_is_in_no_line_is_told(tmp_path):
    (tmp_path / "text").write_text(GROCERIES * 30)
    outcome = train(f"--input={tmp_path / 'text'}", *ALONE, "--split=;", f"--output={tmp_path / 'run'}")
    assert outcome.status == 2
    assert "no word has a context to learn from: " in outcome.error
    assert "set the --split that stands between its items" in outcome.error


def test_stop_words_are_items(tmp_path):
    (tmp_path / "stop").write_text("whole milk\n")
    (tmp_path / "text").write_text(GROCERIES)
    values = options("text", None, split=",", stopwords=str(tmp_path / "stop"))
    found = counted(match_inputs([str(tmp_path / "text")]), values)[0]
    assert found == [BASKETS[0], BASKETS[2], ["other vegetables"]]


def test_a_tokenizer_and_lists_are_refused(tmp_path):
    (tmp_path / "text").write_text(GROCERIES)
    files = match_inputs([str(tmp_path / "text")])
    with pytest.raises(InputError, match="--split cuts text into items, so --tokenizer=unicode_words has no effect"):
        open_reader(Options.checked({"split": ",", "tokenizer": "unicode_words"}), files)
    jsonl(tmp_path / "rows", [{"text": ["a"]}])
    with pytest.raises(InputError, match="--split is for text, but --field=text is a list of strings"):
        open_reader(options("jsonl", split=","), match_inputs([str(tmp_path / "rows")]))
    reader = open_reader(Options.checked({"split": "tab"}), files)
    assert reader.identity()["separator"] == "\t"
