"""--encoding: the same text in any encoding gives the same words, and what is no text is refused."""

from __future__ import annotations

import gzip
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.encodings import Encoding, refuse_other_encodings
from pipeline.corpus.files import match_inputs
from pipeline.corpus.lines import read_blocks
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.unpacking import unpack
from pipeline.corpus.work_units import TextRange, plan_work_units
from pipeline.errors import InputError
from pipeline.options import ENCODINGS, Options
from tests.helpers.commands import ALONE, digest_of, run, train
from tests.helpers.formats import counted, jsonl, options
from tests.helpers.unpacking import text_commits

WIDE = [name for name in ENCODINGS if name.startswith("utf-")]
NARROW = [name for name in ENCODINGS if name not in WIDE]

RANGE = TextRange("texts/old.txt", 10, 0, 10)


@pytest.mark.parametrize("head", [b"a rose\ris a rose\r", b"a\r\rb", b"a\rb\rc\rd\re\n", b"x" * 4000 + b"\ry\r"])
def test_lines_that_end_in_a_carriage_return_alone_are_refused(head):
    """The whole file was one line: contexts went from one line to the next."""
    with pytest.raises(InputError, match=r"^texts/old.txt ends its lines with a carriage .*: convert it by tr '\\r'"):
        refuse_other_encodings(RANGE, head)


@pytest.mark.parametrize(
    "head", [b"a rose\r\nis a rose\r\n", b"one line\r", b"a\r\rb\n", b"a\rb\rc\rd\n", b"a\r\r\r\r\n b\n", b"", b"plain"]
)
def test_other_carriage_returns_pass(head):
    refuse_other_encodings(RANGE, head)


@pytest.mark.parametrize(("name", "text"), [("iso-2022-jp", "a rose 薔薇\n"), ("iso-2022-kr", "a rose 장미\n")])
def test_text_that_switches_alphabets_is_refused(name, text):
    """All of its bytes are ASCII."""
    with pytest.raises(InputError, match=rf"old.txt is {name.upper()}: convert it by iconv -f {name} -t utf8"):
        refuse_other_encodings(RANGE, text.encode(name))
    refuse_other_encodings(RANGE, b"\x1b[1mbold\x1b[0m $B\n")


@pytest.mark.parametrize("name", ["utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["日本語 テスト\n", "Привет мир\n", "😀 ไทย 한국어\n", "plain words\n"])
def test_utf_32_without_a_mark_is_told_whatever_the_script(name, text):
    """Its letters were looked at for NULs, which are in all bytes but one for English alone."""
    head = (text * 300).encode(name)[:4096]
    with pytest.raises(InputError, match=rf"is {name.upper()}, which has to be named: set --encoding={name}"):
        refuse_other_encodings(RANGE, head)
    refuse_other_encodings(RANGE, b"\0" * 4096)
    refuse_other_encodings(RANGE, text.encode() * 300)


def letters_of(name: str) -> str:
    """Some letters beyond ASCII that an encoding has, among them some with a byte below 0x80."""
    some = []
    for point in [*range(0xA1, 0x600), *range(0xE00, 0xE60), *range(0x3041, 0x30FF), *range(0x4E00, 0x5300, 3),
                  *range(0xAC00, 0xAF00, 7), 0x8868, 0x80FD]:  # fmt: skip
        letter = chr(point)
        if unicodedata.category(letter) in ("Lu", "Ll", "Lo"):
            try:
                some.append((min(letter.encode(name)) >= 0x80, letter))
            except UnicodeEncodeError:
                continue
    return "".join(letter for _, letter in sorted(some)[:40])


def corpus_of(name: str, lines: int = 300) -> list[str]:
    letters = letters_of(name) or "abcdefghij"
    return [
        " ".join(f"{letters[(i * 7 + j * 3) % len(letters)]}{letters[(i + j) % 9]}x{i % 5}" for j in range(3 + i % 9))
        for i in range(lines)
    ]


@pytest.mark.parametrize("name", NARROW)
def test_ascii_and_line_ends_are_single_bytes(name):
    """What cutting at 0x0A, and finding quotes and separators of CSV as bytes, depends on."""
    assert bytes(range(128)).decode(name) == bytes(range(128)).decode("ascii")
    for lead in range(0x80, 0x100):
        for byte in b'\n\r",;\t':
            assert Encoding(name).utf8(bytes([lead, byte])) in (
                None,
                bytes([lead]).decode(name, "replace").encode() + bytes([byte]),
            )
    has_bars = any(ord("|") in chr(point).encode(name, "ignore")[1:] for point in range(0x4E00, 0x9FFF))
    assert Encoding(name).keeps("|") is not has_bars


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_same_sentences_in_every_encoding(name, tmp_path):
    lines = corpus_of(name, 120)
    (tmp_path / "utf8").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "other").write_bytes(("\n".join(lines) + "\n").encode(name))
    expected = counted(match_inputs([str(tmp_path / "utf8")]), Options())[0]
    assert len(expected) == 120
    assert sentences_of(tmp_path / "other", {"encoding": name, "block_bytes": 400}) == expected


@pytest.mark.parametrize(("name", "pack"), [("cp949", bytes), ("gb18030", gzip.compress), ("utf-16", bytes)])
def test_a_run_has_the_digest_of_utf8(name, pack, tmp_path):
    lines = corpus_of(name)
    (tmp_path / "utf8").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "other").write_bytes(pack(("\n".join(lines) + "\n").encode(name)))
    expected = digest_of(tmp_path / "utf8", tmp_path / "run8")
    found = digest_of(tmp_path / "other", tmp_path / "run", f"--encoding={name}", "--block_bytes=999", "--threads=2")
    assert found == expected
    assert run("jobs.verify", f"--run={tmp_path / 'run'}", "--input").status == 0


def sentences_of(path, values) -> list[list[str]]:
    """As a run reads a file: unpacked, if it has to be."""
    files, checked = match_inputs([str(path)]), Options.checked(values)
    reader = open_reader(checked, files)
    if (source := reader.source(files[0])) is not None:
        assert source.size == files[0].size
        return counted(files, checked, checked.block_bytes)[0]
    commits, forms = text_commits(f"{path}-run"), {"ends": reader.ends(), "encoding": reader.encoding}
    unpacked = unpack(commits, files[0], 0, checked.max_line_bytes, 500, **forms)
    sentences: list[list[str]] = []
    for unit in plan_work_units(unpacked.sources, checked.block_bytes):
        for portion in reader.portions(unit.ranges, DeadLetters()):
            sentences += [sentence for spans in portion.spans for sentence in spans.sentences()]
    return sentences


@pytest.mark.parametrize("name", ["latin-1", "cp949", "big5", "cp932", "gb18030", "utf-16", "utf-32-be"])
def test_json_lines_and_csv_in_another_encoding(name, tmp_path):
    rows = corpus_of(name, 60)
    expected = [row.split() for row in rows]
    json = "".join(f'{{"i": 1, "text": "{row}"}}\n' for row in rows)
    (tmp_path / "json").write_bytes(json.encode(name))
    values = {"input_format": "jsonl", "field": "text", "encoding": name, "block_bytes": 300}
    assert sentences_of(tmp_path / "json", values) == expected
    field = f"col{letters_of(name)[0]}"
    table = f"id,{field}\n" + "".join(f'{i},"{row}\n""{i}"", too"\n' for i, row in enumerate(rows))
    (tmp_path / "csv").write_bytes(table.encode(name))
    values = {"input_format": "csv", "field": field, "encoding": name, "block_bytes": 300}
    twice = [words for i, row in enumerate(expected) for words in (row, [f'"{i}",', "too"])]
    assert sentences_of(tmp_path / "csv", values) == twice
    (file,) = match_inputs([str(tmp_path / "csv")])
    assert open_reader(Options.checked(values), [file]).preview(file) == twice


def test_lines_that_do_not_decode_are_dead_letters_with_the_offset_of_the_file(tmp_path):
    lines = ["가나".encode("cp949"), b"\xff\xfe", b"ab\x81", b"x" * 50, "한국어 다".encode("cp949"), b"\xc8", b""]
    (tmp_path / "x").write_bytes(b"\n".join(lines))
    values = Options.checked({"encoding": "cp949", "max_line_bytes": 20})
    sentences, dead, count = counted(match_inputs([str(tmp_path / "x")]), values)
    assert sentences == [["가나"], ["한국어", "다"]]
    assert count == 6
    places = [sum(len(line) + 1 for line in lines[:i]) for i in range(len(lines))]
    assert [(row["offset"], row["reason"]) for row in dead] == [
        (places[1], "not cp949"),
        (places[2], "not cp949"),
        (places[3], "longer than --max_line_bytes"),
        (places[5], "not cp949"),
    ]


def test_offsets_of_bad_rows_are_those_of_the_file(tmp_path):
    rows = ['{"text": "가나다라마바사"}', "{", '{"text": "아자"}', '{"text": 3}', b"\xff", '{"text": null}']
    data = [row if isinstance(row, bytes) else row.encode("euc-kr") for row in rows]
    (tmp_path / "x").write_bytes(b"\n".join(data) + b"\n")
    _, dead, _ = counted(match_inputs([str(tmp_path / "x")]), options("jsonl", encoding="euc-kr"))
    places = [sum(len(line) + 1 for line in data[:i]) for i in range(len(data))]
    assert sorted(row["offset"] for row in dead) == [places[1], places[3], places[4], places[5]]


@given(
    st.lists(st.binary(max_size=6).map(lambda data: data.replace(b"\n", b"")), max_size=12),
    st.integers(1, 9),
    st.sampled_from(["cp1252", "gb18030"]),
)
def test_a_cut_changes_nothing(lines, size, name):
    data = b"\n".join(lines)

    def read(start, end, block):
        part, dead = TextRange("mem", start, end, len(data)), DeadLetters()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipeline.corpus.lines.read_exactly", lambda uri, place, length: data[place : place + length])
            patch.setattr("pipeline.corpus.lines.refuse_other_encodings", lambda *_: None)
            patch.setattr("pipeline.corpus.lines.check_beginning", lambda *_: None)
            blocks = list(read_blocks(part, 5, dead, block_bytes=block, encoding=Encoding(name)))
        return b"".join(bytes(b.data) for b in blocks), dead.table().to_pylist()

    whole = read(0, len(data), 1 << 20)
    parts = [read(place, min(place + size, len(data)), 16) for place in range(0, len(data), size)]
    assert b"".join(text for text, _ in parts) == whole[0]
    assert [row for _, rows in parts for row in rows] == whole[1]


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_wide_stream_is_utf8_with_bad_lines_where_it_is_not(name, size):
    width = 4 if "32" in name else 2
    order = "big" if name.endswith("be") else "little"
    bad = {2: 0xD800, 4: 0x110000}[width].to_bytes(width, order)
    codec = name if name[-1] == "e" else f"{name}-le"
    data = ("\ufeff" * (codec != name) + "a한🇰\n").encode(codec) + bad + "b\nc\n".encode(codec) + "d".encode(codec)[:-1]
    text = b"".join(Encoding(name).stream(data[at : at + size] for at in range(0, len(data), size)))
    lines = text.split(b"\n")
    assert [Encoding(name).utf8(line) is not None for line in lines] == [True, False, True, False]
    assert (lines[0].decode(), lines[1][-1:], lines[2]) == ("a한🇰", b"b", b"c")


def test_bad_lines_of_wide_text_are_dead_letters(tmp_path):
    text = "\ufeff" + "some words\n" * 50
    (tmp_path / "x").write_bytes(text.encode("utf-16-le") + b"\x00\xd8" + "\nsome words".encode("utf-16-le"))
    arguments = [f"--input={tmp_path / 'x'}", f"--output={tmp_path / 'run'}", *ALONE, "--encoding=utf-16"]
    outcome = train(*arguments, "--max_bad_lines=0")
    assert "1 of 52 lines cannot be read" in outcome.error
    assert "(the first: not utf-16, x byte " in outcome.error


@pytest.mark.parametrize("name", ["utf-16", "utf-32"])
def test_a_mark_that_is_missing_is_told(name, tmp_path):
    (tmp_path / "x").write_bytes("some words 한국어\n".encode(f"{name}-be") * 20)
    outcome = train(f"--input={tmp_path / 'x'}", f"--output={tmp_path / 'run'}", *ALONE, f"--encoding={name}")
    assert f"x does not begin with a byte-order mark: set --encoding={name}-le or {name}-be" in outcome.error


@pytest.mark.parametrize(
    ("written", "named", "remedy"),
    [
        ("utf-32", "utf-16", "utf-32-le"),  # whose mark begins with that of UTF-16
        ("utf-32", "utf-16-le", "utf-32-le"),
        ("utf-32-be", "utf-16-be", "utf-32-be"),
        ("utf-16", "utf-32-le", "utf-16-le"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_another_wide_encoding_is_told(written, named, remedy, pack, tmp_path):
    """NULs between the letters would be parts of words."""
    (tmp_path / "x").write_bytes(pack("some words 한국어\n".encode(written) * 20))
    outcome = train(f"--input={tmp_path / 'x'}", f"--output={tmp_path / 'run'}", *ALONE, f"--encoding={named}")
    assert outcome.status == 2
    assert f"x is {remedy}, not {named}: set --encoding={remedy}" in outcome.error


@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be"])
def test_utf32_without_a_mark_is_told_whatever_its_script(encoding):
    with pytest.raises(InputError, match=f"x is {encoding.upper()}, which has to be named: set --encoding={encoding}"):
        refuse_other_encodings(TextRange("x", 0, 0, 0), "한국어 텍스트\n".encode(encoding) * 9)


@pytest.mark.parametrize("name", ["utf-16", "gb18030", "utf-16-le"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_byte_order_marks_are_no_text(name, pack, tmp_path):
    (tmp_path / "x").write_bytes(pack("\ufeff가 나\n".encode("utf-16-le" if name == "utf-16" else name)))
    assert sentences_of(tmp_path / "x", {"encoding": name}) == [["가", "나"]]
    (file,) = match_inputs([str(tmp_path / "x")])
    assert open_reader(Options.checked({"encoding": name}), [file]).preview(file) == [["가", "나"]]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\xef\xbb\xbfplain\n", "cp1252"),
        ("한국어 text\n".encode() * 900, "utf-16"),
        (b"plain\n" * 20, "utf-32-le"),
        ("café naïve\n".encode() * 900, "latin-1"),
        ("中文 字\n".encode() * 900, "gb18030"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_utf8_that_is_said_to_be_something_else_is_refused(data, name, pack, tmp_path):
    (tmp_path / "x").write_bytes(pack(data))
    outcome = train(f"--input={tmp_path / 'x'}", f"--output={tmp_path / 'run'}", *ALONE, f"--encoding={name}")
    assert f"x is UTF-8, not {name}: leave --encoding out" in outcome.error


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(("name", "other"), [("utf-16-le", "utf-16-be"), ("utf-16-be", "utf-16-le")])
def test_bytes_in_the_other_order_are_refused(name, other, mark, tmp_path):
    """Each character would be another one, without an error."""
    (tmp_path / "x").write_bytes(f"{mark}some words 한국어\n".encode(other) * 20)
    outcome = train(f"--input={tmp_path / 'x'}", f"--output={tmp_path / 'run'}", *ALONE, f"--encoding={name}")
    assert f"x is {other}, not {name}: set --encoding={other}" in outcome.error


@pytest.mark.parametrize(("text", "name"), [("Ã© Â©\n" * 3, "cp1252"), ("café naïve über\n" * 9, "latin-1")])
def test_few_characters_that_could_be_utf8_are_what_the_encoding_says(text, name, tmp_path):
    (tmp_path / "x").write_bytes(text.encode(name))
    assert sentences_of(tmp_path / "x", {"encoding": name}) == [line.split() for line in text.splitlines()]


def test_an_encoding_is_part_of_the_identity(tmp_path):
    jsonl(tmp_path / "x", [{"text": "a"}])
    files = match_inputs([str(tmp_path / "x")])
    identity = open_reader(options("jsonl", encoding="windows-1252"), files).identity()
    assert identity["encoding"]["codec"] == "cp1252"
    assert "encoding" not in open_reader(options("jsonl"), files).identity()


def test_an_encoding_that_is_not_known_or_has_no_effect_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--encoding=ansi: allowed are utf-16, .*cp1252.*, euc-jp$"):
        Options.checked({"encoding": "ansi"})
    (tmp_path / "x").write_text("a,b\n")
    files = match_inputs([str(tmp_path / "x")])
    with pytest.raises(InputError, match="--encoding=latin-1 has no effect with --input_format=parquet"):
        open_reader(options("parquet", encoding="latin1"), files)
    with pytest.raises(InputError, match=r"--separator=\|: in --encoding=big5 its byte is also part of other"):
        open_reader(options("csv", "1", encoding="big5", separator="|"), files)
