"""Text of others is shown without what moves a cursor, turns letters round or lets in; and no more of it than fits."""

from __future__ import annotations

import io
import sys

import pytest
import regex

from pipeline.errors import InputError
from pipeline.runtime.shown_text import MOST, MOST_OF_A_LINE, Screen, exact, quoted, shown, shown_line

UNSEEN = [
    *map(chr, [0xAD, 0x34F, 0x115F, 0x1160, 0x17B4, 0x180E, 0x200B, 0x2060, 0x2064, 0x206F, 0x2800, 0x3164, 0xFEFF]),
    *map(chr, [0xFFA0, 0xFFF9, 0xFFFB, 0x13430, 0x1BCA0, 0x1D173, 0xE00FF, 0xE0FFF]),
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


def test_every_character_that_shows_nothing_is_an_escape():
    """As the Unicode of `regex` has it. Signs that enclose numbers are seen, though they are of format too."""
    every = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    nothing = (
        r"[[\p{Cf}\p{Cc}\p{Zl}\p{Zp}\p{DI}]--[\u200c\u200d\p{Variation_Selector}\p{Prepended_Concatenation_Mark}]]"
    )
    unseen = {*regex.findall(nothing, every, regex.V1), "\u2800"}
    escaped = set(every) - set(shown(every, most=sys.maxsize))
    assert {*map(ascii, unseen - escaped)} == set()
    assert {*map(ascii, escaped - unseen)} <= {ascii(chr(code)) for code in range(0x13430, 0x13460)}


@pytest.mark.parametrize(
    "text", ["נִקּוּד", "می\u200cخواهم", "👩\u200d👩\u200d👧", "❤️ 葛\U000e0100 \u06dd١", "naïve \\ 'x'", "語" * MOST, ""]
)
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
