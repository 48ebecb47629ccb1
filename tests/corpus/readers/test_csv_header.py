"""What the first records of a CSV file show: separator, header, field."""

from __future__ import annotations

import gzip
import re

import pytest

from pipeline.corpus.files import match_inputs
from pipeline.corpus.readers import csv_header
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.errors import InputError
from tests.helpers.formats import options


def opened(path, field="text", **more):
    files = match_inputs([str(path)])
    return open_reader(options("csv", field, **more), files)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_that_of_equal_counts(separator, pack, tmp_path):
    rows = ["id,text,day", *(f'{i},"a, rose; is | a\trose",2' for i in range(30))]
    data = "\n".join(row if row[0] == "i" else row.replace(f'{row[0]},"', f'{row[0]},"') for row in rows)
    data = re.sub(r',(?=text|day|"|2$)', separator, data, flags=re.MULTILINE)
    (tmp_path / "x").write_bytes(pack(data.encode()))
    reader = opened(tmp_path / "x")
    assert (reader.form.separator, reader.column, reader.columns) == (separator, 1, 3)
    assert reader.identity()["csv"] == {"separator": separator, "field": 2, "fields": 3, "header": True}
    assert reader.preview(match_inputs([str(tmp_path / "x")])[0])[0] == ["a,", "rose;", "is", "|", "a", "rose"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a;b,c\n1;2,3\n", "its first lines have 2 fields by commas, 2 fields by semicolons"),
        ("text\na rose\n", "does not show its separator: neither commas"),
        ("a,b\n1,2\n1\n", "does not show its separator: neither commas"),
        ("\na,b\n1,2\n", "its first line is blank, and so is no header and no record: remove blank lines"),
        ('"a,b\n1,2\n', "does not show its separator"),
    ],
)
def test_a_separator_that_is_not_clear_is_refused(text, message, tmp_path):
    (tmp_path / "x").write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        opened(tmp_path / "x")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("empty", [b"", b"\xef\xbb\xbf", b"\n", b"\xef\xbb\xbf\r\n\r\n"])
@pytest.mark.parametrize("name", ["a", "z"])
def test_a_file_without_records_is_as_an_empty_one(name, empty, pack, tmp_path):
    """As exports leave where a partition has no rows; the first one was said not to show its separator."""
    (tmp_path / name).write_bytes(pack(empty))
    (tmp_path / "m").write_text("id,text\n1,a rose\n")
    files = match_inputs([str(tmp_path)])
    reader = open_reader(options("csv", "text"), files)
    for file in files:
        reader.source(file)
    assert reader.header == ("id", "text")
    assert [reader.preview(file) for file in files if file.uri.endswith(name)] == [[]]


def test_separators_that_were_not_tried_are_not_named(tmp_path):
    (tmp_path / "x").write_bytes("id|text\n1|ポ 表\n".encode("cp932"))
    with pytest.raises(InputError, match="neither commas, semicolons nor tabs make"):
        opened(tmp_path / "x", encoding="cp932")


def test_a_first_record_that_goes_on_beyond_what_is_looked_at_is_not_called_blank(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_header, "_LOOKED_AT", (1000,))
    (tmp_path / "x").write_text('"a,b\n' + "1,2\n" * 1000)
    with pytest.raises(InputError, match=r"its first line does not end in .* bytes.*: close its quotes"):
        opened(tmp_path / "x", separator=",")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be"])
def test_text_of_two_or_four_bytes_a_letter_is_told_before_its_separator(encoding, tmp_path):
    (tmp_path / "x").write_bytes("id,text\n1,a rose is a rose\n".encode(encoding))
    with pytest.raises(
        InputError, match=rf"x is {encoding.upper()}, which has to be named: set --encoding={encoding}$"
    ):
        opened(tmp_path / "x")
    assert opened(tmp_path / "x", encoding=encoding).header == ("id", "text")


def test_the_remedy_for_a_separator_is_told(tmp_path):
    (tmp_path / "x").write_text("text\na rose\n")
    with pytest.raises(InputError, match=r"does not show its separator.*: set --separator$"):
        opened(tmp_path / "x")


def test_a_separator_that_is_given_counts(tmp_path):
    (tmp_path / "x").write_text("a;b,text\n1;2,3\n")
    assert opened(tmp_path / "x", separator=",").columns == 2
    assert opened(tmp_path / "x", "b,text", separator=";").column == 1
    (tmp_path / "x").write_text("text\na rose\n")
    assert opened(tmp_path / "x", separator="tab").form.separator == "\t"


@pytest.mark.parametrize("separator", ["ab", "é", '"', "\n", "a", "7"])
def test_what_cannot_separate_is_refused(separator, tmp_path):
    (tmp_path / "x").write_text("a,text\n1,2\n")
    with pytest.raises(InputError, match="allowed is one ASCII character, or tab"):
        opened(tmp_path / "x", separator=separator)


@pytest.mark.parametrize(
    ("field", "more", "column"),
    [("text", {}, 1), ("2", {}, 1), ("3", {}, 0), ("4", {}, 3), ("3", {"no_header": True}, 2)],
)
def test_a_field_has_a_name_or_a_number(field, more, column, tmp_path):
    (tmp_path / "x").write_text("\ufeff3,text,same,same\n1,2,3,4\n")
    assert opened(tmp_path / "x", field, **more).column == column


@pytest.mark.parametrize(
    ("field", "more", "message"),
    [
        ("txt", {}, r"--field=txt: the header of .*x does not have it; there are 3, text, same, same: give one of"),
        ("5", {}, r"does not have it; .*, or a number from 1 to 4, or set another --separator$"),
        ("0", {}, r"the header of .*x does not have it"),
        ("same", {}, r"--field=same: 2 fields of .*x have this name: give a number, as --field=3"),
        ("text", {"no_header": True}, r"--field=text: with --no_header, fields have numbers, from 1 to 4"),
        (None, {}, r"--input_format=csv needs --field=NAME"),
    ],
)
def test_a_field_that_is_not_there_is_told(field, more, message, tmp_path):
    (tmp_path / "x").write_text("3,text,same,same\n1,2,3,4\n")
    with pytest.raises(InputError, match=message):
        opened(tmp_path / "x", field, **more)


def test_names_whose_blanks_matter_are_in_quotes(tmp_path):
    (tmp_path / "x").write_text("id, text\n1,2\n")
    with pytest.raises(InputError, match="does not have it; there are id, ' text': give one"):
        opened(tmp_path / "x")
    assert opened(tmp_path / "x", " text").column == 1


@pytest.mark.parametrize("encoding", [None, "latin-1"])
@pytest.mark.parametrize("first", [b"id,text\n1,a rose\n", b""])
def test_carriage_returns_alone_are_told_of_any_file(first, encoding, tmp_path):
    (tmp_path / "a").write_bytes(first)
    (tmp_path / "b").write_bytes(b"id,text\r1,a rose\r2,is\r")
    files = match_inputs([str(tmp_path)])
    with pytest.raises(InputError, match="b ends its lines with a carriage return alone"):
        [*map(open_reader(options("csv", encoding=encoding, separator=","), files).source, files)]


@pytest.mark.parametrize("first", ["id,café,text\n", ""])
def test_a_header_in_another_encoding_is_told(first, tmp_path):
    (tmp_path / "a").write_text(first)
    (tmp_path / "b").write_bytes("id,café,text\n".encode("latin-1"))
    files = match_inputs([str(tmp_path)])
    with pytest.raises(InputError, match="b: its header is not UTF-8: name the encoding of the files by --encoding"):
        [*map(open_reader(options("csv"), files).source, files)]
    assert opened(tmp_path / "b", "café", encoding="latin-1").column == 1


def test_a_header_longer_than_the_first_look(tmp_path):
    names = ",".join(f"column{i}" for i in range(20_000))
    (tmp_path / "x").write_text(f"{names}\n{names}\n")
    assert opened(tmp_path / "x", "column19999").column == 19_999


def test_options_of_csv_are_refused_for_other_formats(tmp_path):
    (tmp_path / "x").write_text("a rose\n")
    for more in ({"separator": ";"}, {"no_header": True}, {"no_quotes": True}):
        with pytest.raises(InputError, match="has no effect without --input_format=csv: leave it out"):
            open_reader(options("text", None, **more), match_inputs([str(tmp_path / "x")]))
