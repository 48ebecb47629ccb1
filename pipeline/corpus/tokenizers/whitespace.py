"""`whitespace`: tokens are separated by white space, as Unicode lists it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.corpus.spans import Locate, Spans, split_long
from pipeline.corpus.tokenizers.tokenizer import Tokenizer
from pipeline.kernels import text as kernels

WHITE_SPACE = (
    *(*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)),
    *(0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF),
)
"""The code points that `whitespace` splits at: Unicode's White_Space (PropList.txt, since Unicode 6.3), and the
byte-order mark, which stands where two files were joined."""
_ROOM = 1 << 15
"""Tokens in one Spans, more or less: its arrays stay in a core's cache until they are used."""


@dataclass(frozen=True)
class WhitespaceTokenizer(Tokenizer):
    """Tokens are separated by the characters of WHITE_SPACE, and by nothing else, whatever libraries think.

    >>> WhitespaceTokenizer(lowercase=True).sentences(b"A rose\\tis\\na rose.")
    [['a', 'rose', 'is'], ['a', 'rose.']]
    """

    def own_identity(self) -> dict[str, Any]:
        return {"name": "whitespace"}

    def split(self, text: np.ndarray, locate: Locate = "byte {}".format) -> Iterator[Spans]:
        text = self.prepared(text)
        room, position = min(_ROOM, len(text) // 2 + 64), 0
        while position < len(text):
            start, end = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
            sentence = np.empty(room + 1, dtype=np.int64)
            while position < len(text):
                tokens, sentences, following = kernels.split_whitespace(
                    text, position, self.max_sentence, start, end, sentence
                )
                if following == kernels.GROW:
                    room *= 2
                    break
                position = following
                if tokens:
                    cut = split_long(sentence[: sentences + 1], self.max_sentence)
                    yield Spans(text, start[:tokens], end[:tokens], cut)
