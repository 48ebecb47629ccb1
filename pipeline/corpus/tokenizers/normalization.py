"""Forms of text: lower case, and Unicode's normal forms."""

from __future__ import annotations

import functools
import unicodedata
from typing import Literal, cast

import numpy as np

from pipeline.corpus.spans import as_array
from pipeline.kernels import text as kernels


def normalize(text: np.ndarray, form: str) -> np.ndarray:
    """Valid UTF-8 text (uint8) in a normal form; line ends stay where they are, since nothing joins them."""
    if not _beyond_ascii(text):
        return text
    return as_array(normal(bytes(text).decode(), form).encode())


def normal(text: str, form: str) -> str:
    return unicodedata.normalize(cast(Literal["NFC", "NFKC"], form.upper()), text)


def _beyond_ascii(text: np.ndarray) -> bool:
    """Whether any character is beyond ASCII."""
    return bool(len(text)) and int(text.max()) >= 0x80


def lower(text: np.ndarray) -> np.ndarray:
    """Valid UTF-8 text (uint8) in lower case: what Python's str.lower makes of it, line by line.

    Characters go through a table; a line with one whose lower case depends on its
    neighbours (the final sigma) or is two characters goes through str.lower itself.
    """
    out = np.empty(len(text) + len(text) // 2 + 64, dtype=np.uint8)
    read = written = 0
    while read < len(text):
        more, made = kernels.lower_text(text[read:], _lower_table(), out[written:])
        read, written = read + more, written + made
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
