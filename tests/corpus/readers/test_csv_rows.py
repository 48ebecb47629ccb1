"""CSV: one field of each record, and records that cannot be read."""

from __future__ import annotations

import gzip

import pytest

from pipeline.corpus.encodings import Encoding
from pipeline.corpus.files import match_inputs
from pipeline.corpus.readers.csv_rows import BACKSLASH, BEHIND, UNMATCHED
from pipeline.errors import InputError
from tests.helpers.commands import ALONE, TINY, digest_of, peak, run, train
from tests.helpers.formats import counted, csv_file, options

CSV = ("--input_format=csv", "--field=text")


def test_good_records_are_sentences_and_bad_ones_dead_letters(tmp_path):
    records = [
        (b"id,text\n", None),
        (b"1,a rose\n", None),
        (b'2,"is, ""a"" rose\r\nof two lines"\r\n', None),
        (b"\n", None),
        (b"3\n", "1 field where the first record has 2"),
        (b"4,too,many\n", "3 fields where the first record has 2"),
        (b"5,caf\xe9\n", "not UTF-8"),
        (b'6,"say \\"hi\\""\n', BACKSLASH),
        (b'7,"a"b\n', BEHIND),
        (b"8,007 NA null\n", None),
        (b"9," + b"x" * 100 + b"\n", "longer than --max_line_bytes"),
        (b'10,"never closed\n', UNMATCHED),
        (b"11,nul \0x\n", None),
        (b"12,last", None),
    ]
    data = b"".join(record for record, _ in records)
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbf" + data)
    sentences, dead, lines = counted(match_inputs([str(tmp_path)]), options("csv", max_line_bytes=60, separator=","))
    assert sentences == [
        ["a", "rose"],
        ["is,", '"a"', "rose"],
        ["of", "two", "lines"],
        ["007", "NA", "null"],
        ["nul", "\0x"],
        ["last"],
    ]
    places = [3 + sum(len(record) for record, _ in records[:i]) for i in range(len(records))]
    assert [(row["offset"], row["reason"]) for row in dead] == [
        (place, why) for place, (_, why) in zip(places, records) if why
    ]
    assert lines == len(records) - 2


def bad_and_good(count: int) -> bytes:
    """Records of which some are bad, with line ends in quotes."""
    some = [b'%d,"rose %d\nis ""a"" rose"\n', b"%d,word%d more\n", b'%d,"open%d\n', b"%d,%d,three\n"]
    return b"id,text\n" + b"".join(some[i * i % 7 % 4] % (i, i % 13) for i in range(count))


@pytest.mark.parametrize("block_bytes", [1, 300, 5000])
def test_a_cut_changes_nothing(block_bytes, tmp_path):
    (tmp_path / "x.csv").write_bytes(bad_and_good(1200))
    files, values = match_inputs([str(tmp_path)]), options("csv")
    whole = counted(files, values)
    assert len(whole[1]) > 100
    assert counted(files, values, block_bytes) == whole


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_one_digest_however_it_is_read(pack, tmp_path):
    rows = [[i, f'rose {i % 7}\nis, "a" rose {i % 5}'] for i in range(900)]
    text = tmp_path / "x.txt"
    text.write_text("".join(row[1] + "\n" for row in rows))
    expected = digest_of(text, tmp_path / "text")
    file = csv_file(tmp_path / "x.csv", rows)
    file.write_bytes(pack(file.read_bytes()))
    for number, more in enumerate((["--threads=1"], ["--direct_num_workers=4", "--block_bytes=900"])):
        assert digest_of(file, tmp_path / str(number), *CSV, *more) == expected


def test_a_run_that_was_cut_goes_on_and_verifies(tmp_path):
    file = csv_file(tmp_path / "x.csv", [[i, f"a rose {i % 9}"] for i in range(900)])
    arguments = [*CSV, "--block_bytes=2000"]
    digest = digest_of(file, tmp_path / "run", *arguments)
    assert list((tmp_path / "run" / "records" / "text").rglob("*.json"))
    assert digest_of(file, tmp_path / "run", *arguments) == digest
    assert run("jobs.verify", f"--run={tmp_path / 'run'}", "--input").status == 0
    assert run("jobs.reproduce", f"--run={tmp_path / 'run'}").status == 0
    assert train(f"--input={file}", f"--output={tmp_path / 'run'}", *ALONE, *arguments, "--separator=,").status == 2


def test_files_share_a_header(tmp_path):
    csv_file(tmp_path / "a.csv", [[1, "a rose"]] * 20)
    csv_file(tmp_path / "b.csv", [[1, "is a rose"]] * 20)
    sentences, dead, _ = counted(match_inputs([str(tmp_path / "*.csv")]), options("csv"))
    assert (len(sentences), dead) == (40, [])
    csv_file(tmp_path / "c.csv", [["a rose", 1]], header=("text", "id"))
    with pytest.raises(InputError, match=r"c.csv differs .*: its header is text, id, not id, text"):
        counted(match_inputs([str(tmp_path / "*.csv")]), options("csv"))


def test_without_a_header_the_first_record_counts(tmp_path):
    csv_file(tmp_path / "a.csv", [[1, "a rose"], [2, "is"]], header=None)
    assert counted(match_inputs([str(tmp_path)]), options("csv", "2", no_header=True))[0] == [["a", "rose"], ["is"]]


def test_without_quotes_a_line_is_a_record_and_a_quote_a_character(tmp_path):
    lines = ['"id\t"text', '1\ta "rose', '2\t"is', '"3\ta "" "rose"', '4\tone\ttoo many "']
    (tmp_path / "a.tsv").write_text("\n".join(lines))
    files = match_inputs([str(tmp_path)])
    sentences, dead, _ = counted(files, options("csv", '"text', separator="tab", no_quotes=True))
    assert sentences == [["a", '"rose'], ['"is'], ["a", '""', '"rose"']]
    assert [letter["reason"] for letter in dead] == ["3 fields where the first record has 2"]
    with pytest.raises(InputError, match=r"quotes that do not match.*; if quotes are characters .*, set --no_quotes$"):
        counted(files, options("csv", separator="tab"))
    (tmp_path / "a.tsv").write_text("\n".join(lines[1:4]))
    without_header = options("csv", "2", no_quotes=True, no_header=True)
    assert counted(match_inputs([str(tmp_path)]), without_header)[0] == sentences


def test_separators_that_are_mixed_are_counted(tmp_path):
    rows = [f"{i},a rose is a rose" for i in range(90)] + [f"{i};a rose is a rose" for i in range(9)]
    (tmp_path / "x.csv").write_text("id,text\n" + "\n".join(rows) + "\n")
    outcome = train(f"--input={tmp_path / 'x.csv'}", f"--output={tmp_path / 'run'}", *CSV, *ALONE)
    assert outcome.status == 2
    assert "9 of 99 lines cannot be read" in outcome.error
    assert "(the first: 1 field where the first record has 2, x.csv byte " in outcome.error


def test_a_record_that_is_too_long_is_not_decoded(tmp_path, monkeypatch):
    """As text it takes several times its size."""
    decoded: list[int] = []
    utf8 = Encoding.utf8
    monkeypatch.setattr(Encoding, "utf8", lambda self, text: decoded.append(len(text)) or utf8(self, text))
    (tmp_path / "x.csv").write_bytes(b'id,text\n1,caf\xe9 a\n2,"' + b"x" * 100_000 + b'"\n3,b \xe9\n4,\x81 c\n')
    files = match_inputs([str(tmp_path)])
    sentences, dead, _ = counted(files, options("csv", encoding="cp1252", max_line_bytes=1000))
    assert sentences == [["café", "a"], ["b", "é"]]
    assert [row["reason"] for row in dead] == ["longer than --max_line_bytes", "not cp1252"]
    assert max(decoded) < 1000


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_a_huge_cell_is_a_dead_letter_in_bounded_memory(quote, tmp_path):
    path = tmp_path / "x.csv"
    with path.open("wb") as file:
        file.write(b"id,text\n" + b"1,a rose is a rose\n" * 50 + b"2," + quote)
        for _ in range(60):
            file.write(b"x" * (1 << 20))
        file.write(quote + b"\n" + b"1,a rose is a rose\n" * 50)
    arguments = [f"--input={path}", *CSV, *TINY, "--max_line_bytes=1000000", "--max_bad_lines=1", "--no_report"]
    assert peak(*arguments, f"--output={tmp_path / 'run'}") < 420 << 20
    assert "1 of 101 lines" in train(*arguments, f"--output={tmp_path / 'run'}", "--max_bad_lines=0").error
