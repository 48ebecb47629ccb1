"""Words for formats that end a word at white space."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

_BREAKING = r"[\x00-\x20\x7f-\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
"""White space and control characters, which some reader takes for the end of a word or line."""


class PlainWords:
    """Words for formats that end a word at white space.

    White space and control characters become "_", an empty word too; a word that is
    then the same as one before it gets further "_" at its end.
    """

    def __init__(self) -> None:
        self.changed = 0
        self._seen: set[str] = set()

    def of(self, words: pa.Array) -> pa.Array:
        replaced = pc.replace_substring_regex(words, _BREAKING, "_")
        unique = []
        for old, new in zip(words.to_pylist(), replaced.to_pylist()):
            new = unused(new or "_", self._seen)
            self._seen.add(new)
            unique.append(new)
            self.changed += new != old
        return pa.array(unique, pa.string())


def unused(word: str, taken: Iterable[str]) -> str:
    while word in taken:
        word += "_"
    return word
