"""Encodings: text in another one than UTF-8, and files whose first bytes show that they are something else.

In most encodings a line end is the byte 0x0A, and nothing else is. So files are cut as they are, and each line is
decoded where it is read. UTF-16 and UTF-32 are turned into UTF-8 first, as compressed files are unpacked.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.corpus.work_units import TextRange
from pipeline.errors import InputError

DETECTION_BYTES = 4096
"""How many bytes of a text are looked at."""
_RETURNS_IN_A_LINE = 3
"""Carriage returns that one line may have in it."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MARKS = {"": BYTE_ORDER_MARK, "gb18030": b"\x84\x31\x95\x33"}
"""Encoding -> its byte-order mark."""
_ESCAPES = {b"\x1b$B": "iso-2022-jp", b"\x1b$@": "iso-2022-jp", b"\x1b$)C": "iso-2022-kr"}
"""Escape sequences of encodings that switch between alphabets: each of their bytes would pass as ASCII."""
_WIDE_MARKS = {
    "utf-32-le": b"\xff\xfe\0\0",
    "utf-32-be": b"\0\0\xfe\xff",
    "utf-16-le": b"\xff\xfe",
    "utf-16-be": b"\xfe\xff",
}
"""Encoding -> its byte-order mark. The first one that a file begins with counts."""
_OTHER_ORDER = {"utf-16-le": "utf-16-be", "utf-16-be": "utf-16-le"}
"""In the wrong order of bytes, a line end is U+0A00, and a mark U+FFFE; neither is a character."""
_SURELY = 8
"""So many characters that are valid UTF-8, and none that is not, are no text of another encoding."""
_ASCII_IN_CHARACTERS = ("gb18030", "big5", "cp950", "cp932")
"""Encodings of which the bytes from 0x40 on may be the second of a character."""
_INVALID = "beam2vec.invalid"


@dataclass(frozen=True)
class Encoding:
    """An encoding of text, by its name in --encoding.

    >>> Encoding("cp1252").utf8(b"caf\\xe9"), Encoding("cp1252").utf8(b"\\x81")
    (b'caf\\xc3\\xa9', None)
    """

    name: str = ""
    """"" stands for UTF-8"""

    @property
    def is_wide(self) -> bool:
        """Whether a line end has several bytes, so that files are turned into UTF-8 first."""
        return self.name.startswith("utf-")

    @property
    def of_lines(self) -> Encoding:
        """The encoding of the lines that are read, once wide ones are UTF-8."""
        return UTF8 if self.is_wide else self

    @property
    def mark(self) -> bytes:
        """The byte-order mark that lines may begin with; b"" for none."""
        return _MARKS.get(self.of_lines.name, b"")

    def identity(self) -> dict[str, Any]:
        """What the text depends on: the tables are those of Python."""
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        return {"encoding": {"codec": self.name, "python": python}} if self.name else {}

    def keeps(self, character: str) -> bool:
        """Whether the byte of an ASCII character is that character wherever it stands."""
        return self.name not in _ASCII_IN_CHARACTERS or ord(character) < 0x40

    def utf8(self, text: bytes) -> bytes | None:
        """The text, whole lines, as UTF-8; None if it is not in this encoding."""
        try:
            decoded = text.decode(self.of_lines.name or "utf-8")
        except UnicodeDecodeError:
            return None
        return decoded.encode() if self.of_lines.name else text

    def stream(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """A stream as UTF-8. What is not in this encoding becomes invalid UTF-8, and so a bad line."""
        decoder = codecs.getincrementaldecoder(self.name or "utf-8")(_INVALID)
        for chunk in chunks:
            yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")


UTF8 = Encoding()
codecs.register_error(_INVALID, lambda error: ("\udcff", getattr(error, "end", 0)))


def check_beginning(uri: str, head: bytes, encoding: Encoding) -> None:
    """InputError for a file whose first bytes show another encoding than this one, or that lacks a byte-order mark.

    Such a file would be read, as other characters.
    """
    if not encoding.name:
        return
    if encoding.is_wide:
        is_utf8 = bool(head) and b"\0" not in head and _is_utf8(head)
    else:
        characters = sum(byte >= 0xC0 for byte in head)  # in UTF-8 each that is not ASCII begins with such a byte
        is_utf8 = head.startswith(BYTE_ORDER_MARK) or (characters >= _SURELY and _is_utf8(head))
    if is_utf8:
        raise InputError(f"{uri} is UTF-8, not {encoding.name}: leave --encoding out, or read it by itself")
    if not encoding.is_wide:
        return
    name, is_marked = _wide_encoding(head)
    other = _OTHER_ORDER.get(encoding.name)
    if other and name[:6] != "utf-32" and any(sign in head.decode(encoding.name, "ignore") for sign in "\u0a00\ufffe"):
        name = other
    if name and not name.startswith(encoding.name):
        raise InputError(f"{uri} is {name}, not {encoding.name}: set --encoding={name}")
    if head and encoding.name in ("utf-16", "utf-32") and not is_marked:
        raise InputError(
            f"{uri} does not begin with a byte-order mark: set --encoding={encoding.name}-le or {encoding.name}-be"
        )


def _wide_encoding(head: bytes) -> tuple[str, bool]:
    """(UTF-16 or UTF-32 with its byte order, if that is what a text shows in its first bytes, else ""; whether it shows
    it by a byte-order mark). Else NULs show UTF-16 that is mostly ASCII."""
    for name, mark in _WIDE_MARKS.items():
        if head.startswith(mark):
            return name, True
    if len(head) >= 16:
        if wide := [name for name in ("utf-32-le", "utf-32-be") if _is_utf32(head, name)]:
            return wide[0], False
        even, odd = head[::2].count(0), head[1::2].count(0)
        if 4 * max(even, odd) > len(head) > 16 * min(even, odd):  # NULs in every place are not text
            return "utf-16-le" if odd > even else "utf-16-be", False
    return "", False


def _is_utf32(head: bytes, name: str) -> bool:
    """Whether bytes that may be cut are text in UTF-32: one byte of each four is 0, and another one at most 16."""
    try:
        return bool(head[: len(head) // 4 * 4].decode(name).strip("\0"))
    except UnicodeDecodeError:
        return False


def _is_utf8(head: bytes) -> bool:
    """Whether bytes that may be cut are UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def refuse_other_encodings(text_range: TextRange, head: bytes) -> None:
    """InputError for tar archives, UTF-16, UTF-32 and ISO-2022, and for lines that end in a carriage return alone.

    Most of their lines would pass as UTF-8: those of an archive are lines of its files, and English in UTF-16 is UTF-8
    with a NUL beside each letter. Text of old Macintoshes, without a newline, would be one line.
    """
    if head[257:262] == b"ustar":
        raise InputError(f"{text_range.name()} is a tar archive, which cannot be read: unpack it first")
    for escape, name in _ESCAPES.items():
        if escape in head:
            raise InputError(f"{text_range.name()} is {name.upper()}: convert it by iconv -f {name} -t utf8")
    if _has_carriage_returns_for_line_ends(head):
        raise InputError(
            f"{text_range.name()} ends its lines with a carriage return alone, so it would be one line: convert it by"
            r" tr '\r' '\n'"
        )
    name, is_marked = _wide_encoding(head)
    if name:
        remedy = name[:6] if is_marked else name
        raise InputError(f"{text_range.name()} is {remedy.upper()}, which has to be named: set --encoding={remedy}")


def _has_carriage_returns_for_line_ends(head: bytes) -> bool:
    """Whether lines end in a carriage return alone; an editor may have ended the last one of them by a newline."""
    text = head.rstrip(b"\n")
    returns = text.count(b"\r")
    return b"\n" not in text and returns > (1 if text == head else _RETURNS_IN_A_LINE)
