"""Forms of text: lower case, and Unicode's normal forms."""

from __future__ import annotations

import functools
import unicodedata
from typing import Literal, cast

import numpy as np

from pipeline.corpus.spans import as_array
from pipeline.kernels import text as kernels


def normalize(text: np.ndarray, form: str) -> np.ndarray:
    """Valid UTF-8 text (uint8) in a normal form. Lines stay lines: no normal form composes a line end."""
    if not _beyond_ascii(text):
        return text
    return as_array(normal(bytes(text).decode(), form).encode())


def normal(text: str, form: str) -> str:
    return unicodedata.normalize(cast(Literal["NFC", "NFKC"], form.upper()), text)


def _beyond_ascii(text: np.ndarray) -> bool:
    """Whether the text has a character beyond ASCII."""
    return bool(len(text)) and int(text.max()) >= 0x80


def lower(text: np.ndarray) -> np.ndarray:
    """Valid UTF-8 text (uint8) in lower case, as Python's str.lower would give for each line.

    Most characters go through a table. A line goes through str.lower itself if the lower case of one of its characters
    depends on neighbours (the final sigma) or is two characters.
    """
    out = np.empty(len(text) + len(text) // 2 + 64, dtype=np.uint8)
    read = written = 0
    while read < len(text):
        bytes_read, bytes_written = kernels.lower_text(text[read:], _lower_table(), out[written:])
        read, written = read + bytes_read, written + bytes_written
        if read < len(text):
            newline = kernels.find_newline(text, read, len(text))
            stop = len(text) if newline < 0 else newline + 1
            line = bytes(text[read:stop]).decode().lower().encode()
            out[written : written + len(line)] = np.frombuffer(line, dtype=np.uint8)
            read, written = stop, written + len(line)
    return as_array(out[:written])


@functools.cache
def _lower_table() -> np.ndarray:
    """int32 [0x110000], see `kernels.lower_text`."""
    table = np.arange(0x110000, dtype=np.int32)
    for point in range(0x80, 0x110000):
        small = chr(point).lower()
        if small != chr(point):
            table[point] = ord(small) if len(small) == 1 else -1
    table[0x3A3] = -1  # sigma: its lower case depends on whether a word ends there
    return table
