"""Recognises files that are not lines of UTF-8 text by their first bytes."""

from __future__ import annotations

from pipeline.corpus.work_units import TextRange
from pipeline.errors import InputError

DETECTION_BYTES = 4096
"""How many bytes of a text are looked at."""
_RETURNS_IN_A_LINE = 3
"""Carriage returns that one line may have in it."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def refuse_other_encodings(text_range: TextRange, head: bytes) -> None:
    """InputError for tar archives, for UTF-16 and UTF-32, and for lines that end in a carriage return alone.

    Most of their lines would pass as UTF-8: those of an archive are lines of its files, and English in UTF-16 is UTF-8
    with a NUL beside each letter. Text of old Macintoshes, without a newline, would be one line.
    """
    if head[257:262] == b"ustar":
        raise InputError(f"{text_range.name()} is a tar archive, which cannot be read: unpack it first")
    if _has_carriage_returns_for_line_ends(head):
        raise InputError(
            f"{text_range.name()} ends its lines with a carriage return alone, so it would be one line: convert it by"
            r" tr '\r' '\n'"
        )
    encoding = ""
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        encoding = "utf-32"
    elif head.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif len(head) >= 16:
        places = [head[place::4].count(0) for place in range(4)]
        even, odd = places[0] + places[2], places[1] + places[3]
        if 32 * min(places) < len(head) and 32 * sorted(places)[1] > 7 * len(head):  # one byte of every four is not NUL
            encoding = "utf-32le" if places[0] == min(places) else "utf-32be"
        elif 4 * max(even, odd) > len(head) > 16 * min(even, odd):  # NULs in every place are not text
            encoding = "utf-16le" if odd > even else "utf-16be"
    if encoding:
        raise InputError(
            f"{text_range.name()} is {encoding.upper()}, not UTF-8: convert it by iconv -f {encoding} -t utf8"
        )


def _has_carriage_returns_for_line_ends(head: bytes) -> bool:
    """Whether lines end in a carriage return alone; an editor may have ended the last one of them by a newline."""
    text = head.rstrip(b"\n")
    returns = text.count(b"\r")
    return b"\n" not in text and returns > (1 if text == head else _RETURNS_IN_A_LINE)
