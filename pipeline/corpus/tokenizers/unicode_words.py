"""Words and characters of any script, by Unicode's own tables, without a dictionary.

The tables are those of the `regex` library. The rules are kernels, because a call for each word would be fifty times as
slow.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import regex

from pipeline.corpus.spans import Locate, Spans, as_array, split_long
from pipeline.corpus.tokenizers.tokenizer import RULES, Tokenizer, pieces
from pipeline.corpus.tokenizers.whitespace import WHITE_SPACE
from pipeline.kernels import clusters, word_break
from pipeline.kernels import text as text_kernels

MARKS = (0xAD, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A))
"""Code points that nobody sees and no word should have: the soft hyphen, the zero-width space, the word joiner, and
marks for the direction of text. ZWJ and ZWNJ, which decide how letters look, stay."""
CHARACTER_RULES = 3
"""Version of the rules of `characters`."""
_PIECE_BYTES = 1 << 17
_WITHOUT_BLANKS = {
    name: regex.compile(rf"[\p{{{script}}}&&\p{{L}}]", regex.V1)
    for name, script in (("Thai", "Thai"), ("Lao", "Lao"), ("Khmer", "Khmer"), ("Burmese", "Myanmar"))
}
"""Name -> letters of scripts that have no blanks between words, and that the tokeniser `icu` knows."""
_FEW_LETTERS = 0.05
"""Share of such letters in a text that has some words of them."""


@dataclass(frozen=True)
class UnicodeTokenizer(Tokenizer):
    """Tokens by Unicode's tables.

    `unicode_words`: Unicode's default word boundaries (UAX #29); a word has a letter or a number in it. Ideographs and
    Hiragana are words by themselves: for Chinese and Japanese use the tokenisers with dictionaries.
    `characters`: every character that is not white space, as people see it: an extended grapheme cluster (UAX #29).
    A flag, an emoji of several code points, or a letter with its marks is one.

    Both read the text as if the code points of MARKS were not in it.

    >>> UnicodeTokenizer().sentences("Ge\\u00adbirge\\ufeffund Täler".encode())
    [['Gebirge', 'und', 'Täler']]
    """

    name: str = "unicode_words"

    @property
    def rules(self) -> int:
        return CHARACTER_RULES if self.name == "characters" else RULES

    def own_identity(self) -> dict[str, Any]:
        return {"name": self.name, "table": table_digest(self._table())}

    def hint(self, preview: Callable[[], list[list[str]]]) -> str:
        if self.name != "unicode_words":
            return ""
        text = "".join(word for sentence in preview() for word in sentence)
        counts = {name: len(letters.findall(text)) for name, letters in _WITHOUT_BLANKS.items()}
        if sum(counts.values()) <= _FEW_LETTERS * sum(map(str.isalpha, text)):
            return ""
        name = max(counts, key=lambda name: counts[name])
        return (
            f"has {name} text, which puts no blanks between words: --tokenizer=unicode_words takes each letter of it as"
            " a word; --tokenizer=icu finds the words (pip install 'beam2vec[icu]')"
        )

    def _table(self) -> np.ndarray:
        return cluster_table() if self.name == "characters" else property_table()

    def prepared_line(self, line: str) -> str:
        return super().prepared_line(line.translate(dict.fromkeys(MARKS)))

    def split(self, text: np.ndarray, locate: Locate = "byte {}".format) -> Iterator[Spans]:
        kernel: Callable = clusters.split_characters if self.name == "characters" else word_break.split_words
        table, room = self._table(), 1 << 15
        text = without_marks(text)
        for _, piece in pieces(self.prepared(text), _PIECE_BYTES):
            while True:
                start, end = np.empty(room, np.int64), np.empty(room, np.int64)
                sentence = np.empty(room + 1, np.int64)
                tokens, sentences = kernel(piece, table, start, end, sentence)
                if tokens != word_break.FULL:
                    break
                room *= 2
            if tokens:
                cut = split_long(sentence[: sentences + 1], self.max_sentence)
                yield Spans(piece, start[:tokens], end[:tokens], cut)


def without_marks(text: np.ndarray) -> np.ndarray:
    """Valid UTF-8 text (uint8) without the code points of MARKS: the same array if it has none."""
    if text_kernels.next_mark(text, 0) == len(text):
        return text
    out = np.empty_like(text)
    return as_array(out[: text_kernels.copy_without_marks(text, out)])


@functools.cache
def property_table() -> np.ndarray:
    """uint8 [0x110000]: word break class and flags of each code point, see `kernels.word_break`; read-only."""
    table = np.zeros(0x110000, np.uint8)
    for number, name in enumerate(word_break.CLASSES):
        if number:
            table[_having(rf"\p{{Word_Break={name}}}")] = number
    table[_having(r"\p{Extended_Pictographic}")] |= word_break.PICTOGRAPH
    table[_having(r"\p{Alphabetic}\p{N}")] |= word_break.ALPHANUMERIC
    table[0xFEFF] = word_break.CLASSES.index("Other")  # no format character of a word, but white space
    table[list(WHITE_SPACE)] |= word_break.WHITE
    table.flags.writeable = False
    return table


@functools.cache
def cluster_table() -> np.ndarray:
    """uint8 [0x110000]: cluster class and flags of each code point, see `kernels.clusters`; read-only."""
    table = np.zeros(0x110000, np.uint8)
    for number, name in enumerate(clusters.CLASSES):
        if number:
            table[_having(rf"\p{{Grapheme_Cluster_Break={name}}}")] = number
    table[_having(r"\p{Extended_Pictographic}")] |= clusters.PICTOGRAPH
    table[_having(r"\p{Indic_Conjunct_Break=Consonant}\p{Indic_Conjunct_Break=Extend}")] |= clusters.CONSONANT
    table[_having(r"\p{Indic_Conjunct_Break=Linker}\p{Indic_Conjunct_Break=Extend}")] |= clusters.LINKER
    table[list(WHITE_SPACE)] |= clusters.WHITE
    table.flags.writeable = False
    return table


@functools.cache
def _everything() -> tuple[np.ndarray, str]:
    """All code points but surrogates, as numbers and as a string."""
    points = np.concatenate([np.arange(0xD800), np.arange(0xE000, 0x110000)])
    return points, "".join(map(chr, points))


def _having(pattern: str) -> np.ndarray:
    """The code points in a set of regular expressions."""
    points, everything = _everything()
    ranges = [np.arange(*match.span()) for match in regex.finditer(f"[{pattern}]+", everything)]
    return points[np.concatenate(ranges)]


def table_digest(table: np.ndarray) -> str:
    """Digest of a table: it changes when Unicode changes properties, not with every version of the library."""
    return hashlib.sha256(table.tobytes()).hexdigest()[:16]
