"""How text from elsewhere is shown to people: on a terminal, in an error, in a report.

Words, file names, the host in a lock, the JSON of a run: their authors may have put in characters that move a
  terminal's
cursor, reverse the order of letters, or fill the screen. `shown` is for one value, `shown_line` for a message that
quotes values, and a `Screen` handles whatever else is printed. Output for machines (`--json`, Parquet, exports) passes
through none of them, and keeps every character.

Each function leaves its own result unchanged, because an error may pass through several of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TextIO

from pipeline.runtime.uri_secrets import masked

MOST = 200
"""Most characters shown of one value."""
MOST_OF_A_LINE = 5000
"""Most characters of a line, however many values it quotes; no valid path is longer."""
_ELLIPSIS = "…"

_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f"  # control characters: C0, DEL, C1
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the direction of writing
    r"\u2028\u2029"  # ends of lines and paragraphs
    r"\ud800-\udfff"  # lone surrogates: bytes of a file name that are no UTF-8
    r"\u200b\u2060-\u206f\ufeff\ufff0-\ufffb"  # joins, breaks, signs of mathematics that nobody sees
    r"\xad\u034f\u115f\u1160\u17b4\u17b5\u180e\u2800\u3164\uffa0"  # blanks among letters, soft hyphen
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # layout of hieroglyphs, shorthand, music
    r"\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"  # tags
)
"""Characters that are shown as nothing (Cf, Default_Ignorable_Code_Point), or as a blank without being one.

ZWNJ, ZWJ (U+200C, U+200D) and variation selectors are left out: letters and emoji need them.
"""
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}
_LONG = re.compile(rf"\S{{{MOST + 1},}}")
_LINE = re.compile(r"[^\n]+")


def shown(text: object, most: int = MOST, tail: int = 0) -> str:
    r"""One value: secrets in uris masked, unseen characters as escapes (\x1b, \u202e), cut with an ellipsis.

    Args:
      text: bytes are taken as UTF-8, an exception as its message on one line, anything else as its str().
      most: characters of the result.
      tail: of these, how many come from the end of a text that is cut.
    """
    escaped = _escaped(masked(_as_text(text)))
    if len(escaped) <= most:
        return escaped
    return escaped[: most - tail - 1] + _ELLIPSIS + (escaped[-tail:] if tail else "")


def quoted(text: object, most: int = MOST) -> str:
    """`shown` in quotes."""
    return f"'{shown(text, most)}'"


def shown_list(values: Iterable[object], most: int = 20) -> str:
    """The first `most` values, each as by `shown`, with commas between.

    A value that has a comma or outer blanks, or is empty, is in quotes: else nobody sees where it begins and ends.

    >>> shown_list(["id", " text", "a,b", ""])
    "id, ' text', 'a,b', ''"
    """
    return ", ".join(_listed(shown(value)) for _, value in zip(range(most), values))


def _listed(text: str) -> str:
    return text if text and text == text.strip() and "," not in text else f"'{text}'"


def counted(number: int, noun: str) -> str:
    """A number and its noun, which has an s unless the number is 1.

    >>> counted(1, "file"), counted(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{number:,} {noun}{'s'[: number != 1]}"


def shown_line(message: object) -> str:
    """A message as one line. Long words in it are cut as by `shown`, and so is the whole.

    The line is cut in the middle, because a message begins with its place and ends with its remedy.
    """
    line = _escaped(" ".join(masked(str(message)).split()))
    return shown(_LONG.sub(lambda match: shown(match[0], tail=MOST // 3), line), MOST_OF_A_LINE, MOST_OF_A_LINE // 2)


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return " ".join(str(value).split()) if isinstance(value, BaseException) else str(value)


def _escaped(text: str) -> str:
    return _UNSEEN.sub(_escape, text)


def _escape(character: re.Match) -> str:
    code = ord(character[0])
    if character[0] in _SHORT:
        return _SHORT[character[0]]
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


class Screen:
    """A stream for people: each line that is written passes through `shown`, and is cut to MOST_OF_A_LINE.

    Attributes:
      exact: the stream itself, for output to machines, and for progress bars, which move the cursor.
    """

    def __init__(self, stream: TextIO):
        self.exact = stream

    def write(self, text: str) -> int:
        self.exact.write(_LINE.sub(_as_line, text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.exact, name)


def _as_line(match: re.Match) -> str:
    return shown(match[0].expandtabs(4), MOST_OF_A_LINE, MOST_OF_A_LINE // 2)


def exact(stream: Any) -> TextIO:
    """The stream behind a `Screen`; any other stream itself."""
    return getattr(stream, "exact", stream)
