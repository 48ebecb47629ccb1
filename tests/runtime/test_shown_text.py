"""Text of others is shown without what moves a cursor, turns letters round or lets in; and no more of it than fits."""

from __future__ import annotations

import io

import pytest

from pipeline.errors import InputError
from pipeline.runtime.shown_text import MOST, MOST_OF_A_LINE, Screen, exact, masked, quoted, shown, shown_line

UNSEEN = [
    *map(chr, [*range(0x20), *range(0x7F, 0xA0)]),
    *map(chr, [0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]),
    *map(chr, [0xD800, 0xDCFF, 0xDFFF, 0xE0000, 0xE0041, 0xE007F]),
]


@pytest.mark.parametrize("character", UNSEEN, ids=ascii)
def test_an_unseen_character_is_an_escape_that_python_reads(character):
    escape = shown(f"a{character}b")[1:-1]
    assert escape.isascii()
    assert escape.isprintable()
    assert eval(f"'{escape}'") == character
    assert shown_line(f"a{escape}b") == f"a{escape}b"


def test_escapes_have_the_forms_of_python():
    text = "\x1b[2J\x85\u202e\U000e0041\udcff\n\t"
    assert shown(text) == r"\x1b[2J\x85\u202e\U000e0041\udcff\n\t"
    assert quoted("a'\x1b") == r"'a'\x1b'"


@pytest.mark.parametrize("text", ["נִקּוּד", "می\u200cخواهم", "👩\u200d👩\u200d👧", "naïve \\ 'x'", "語" * MOST, ""])
def test_what_letters_and_emoji_need_stays(text):
    assert shown(text) == text


def test_a_long_value_is_cut_and_says_so():
    for text in ("x" * 2_000_000, "\x1b" * (MOST // 2), b"x" * 2_000_000):
        assert len(shown(text)) == MOST
        assert shown(text).endswith("…")
        assert shown(shown(text)) == shown(text)
    assert shown("x" * MOST) == "x" * MOST
    assert shown("0123456789", 6, tail=2) == "012…89"


def test_a_message_keeps_its_begin_and_its_end():
    line = shown_line(f"in.txt holds {'x' * 10_000} and {'y ' * 10_000}: take\n it out")
    assert len(line) == MOST_OF_A_LINE
    assert line.startswith("in.txt holds xxxx")
    assert line.endswith("y : take it out")
    assert max(map(len, line.split())) == MOST
    assert shown_line(line) == line
    assert shown_line("\u2028 a \x1c\u2029b\x1b ") == r"a b\x1b"


def test_an_error_is_shown_whatever_it_quotes():
    error = InputError("names\x1b[2J.txt \u202e\udcff of s3://KEY:SECRET@bucket/x: " + "z" * 100_000 + " is no text")
    assert str(error).startswith(r"names\x1b[2J.txt \u202e\udcff of s3://***@bucket/x: zzz")
    assert str(error).endswith("z is no text")
    assert len(str(error)) < 400


def test_a_screen_shows_whatever_is_printed():
    stream = io.StringIO()
    screen = Screen(stream)
    print("a\x1b[2J\r", "b\tc\u202e", file=screen)
    print("x" * 100_000 + "\nend", file=screen)
    screen.writelines(["\x07\n", "s3://KEY:SECRET@bucket\n"])
    exact(screen).write("\x1b\n")
    first, cut, *rest = stream.getvalue().split("\n")
    assert first == r"a\x1b[2J\r b   c\u202e"
    assert len(cut) == MOST_OF_A_LINE
    assert rest == ["end", r"\x07", "s3://***@bucket", "\x1b", ""]
    assert exact(stream) is stream


# Secrets in uris

SECRET = [
    "s3://KEY:SECRET@bucket/run",
    "S3://KEY:SECRET@bucket",
    "s3://KEY:SEC/RE+T@bucket/a@b.txt",
    "s3://KEY:/SECRET@bucket",
    "s3://KEY:SEC?RE#T@bucket/x",
    "s3://KEY:SEC,RET@bucket/x",
    "s3://KEY:123@bucket",
    "s3://KEY%3ASECRET@bucket/x",
    "s3://KEY%3ASECRET%40bucket/x",
    "s3://SECRET@bucket/x",
    "gs://user:SECRET@bucket/x",
    "https://user:SECRET@host/x",
    "https://user:SEC/RET@host:80/x",
    "http://SECRET@host",
    "hdfs://me:SECRET@namenode:9000/x",
    "abfss://container:SECRET@account.dfs.core.windows.net/x",
    "https://host/x?X-Amz-Credential=K&X-Amz-Signature=SECRET",
    "s3://bucket/x?AWSAccessKeyId=K&Signature=SECRET",
    "s3://bucket/x?x%2Damz%2Dsignature=SECRET",
    "s3://bucket/x%3FX-Amz-Security-Token=SECRET",
    "gs://bucket/x?X-Goog-Signature=SECRET",
    "az://container/x?sv=2022&sig=SECRET",
    "az://container/x?AccountKey=SECRET",
    "https://host/x?api-key=SECRET",
    "https://host/x?user=me&pw=SECRET",
    "https://host/x?a=1;access_token=SECRET",
    "https://host/x#access_token=SECRET",
    "https://host/?token=SECRET",
    "https://host/?api-key=1&password=SECRET",
]
NONE = [
    "abfss://container@account.dfs.core.windows.net/x",
    "hdfs://me@namenode:9000/x",
    "http://host:8081/a@b",
    "http://[::1]:8081/x",
    "s3://bucket/a@b:c.txt",
    "s3://bucket/part?.txt",
    "s3://bucket/year=2020/part?[a-c]*.txt",
    "s3://bucket/x?versionId=3",
    "s3://bucket: there is no such bucket",
    "file?.txt",
    "texts/a?token=1.txt",
    "file:///texts/a?sig=1.txt",
    "me@host:x",
    "s3://, gs://, az:// are known",
]


@pytest.mark.parametrize("uri", SECRET)
def test_a_secret_in_a_uri_is_masked(uri):
    for before, after in [("", ""), ("--input=a.txt,", ",gs://other/x"), ("{'output': '", "'}"), ("@", "")]:
        hidden = masked(before + uri + after)
        assert hidden.startswith(before + uri[:4])
        assert hidden.endswith(after)
        assert "***" in hidden
        assert not any(part in hidden for part in ("SEC", "RET", "123", "KEY"))
        assert masked(hidden) == hidden


@pytest.mark.parametrize("uri", NONE)
def test_what_is_no_secret_stays(uri):
    for text in (uri, f"--input={uri}", f"a.txt,{uri}"):
        assert masked(text) == text
