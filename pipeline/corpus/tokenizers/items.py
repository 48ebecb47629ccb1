"""`--split`: items between separators, for baskets and other lists that are written as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.corpus.spans import Locate, Spans, as_array, split_long
from pipeline.corpus.tokenizers.tokenizer import Tokenizer, pieces
from pipeline.errors import InputError
from pipeline.kernels import items as kernels
from pipeline.runtime.shown_text import quoted

_PIECE_BYTES = 1 << 17


@dataclass(frozen=True)
class ItemTokenizer(Tokenizer):
    """Items are what stands between separators, without white space around it; empty ones are left out.

    >>> ItemTokenizer(separator=",").sentences(b"whole milk, bread\\nbread,,ham\\n")
    [['whole milk', 'bread'], ['bread', 'ham']]
    """

    separator: str = ","

    @classmethod
    def checked(cls, *fields: Any) -> ItemTokenizer:
        """The tokeniser; InputError if nothing can be cut at its separator."""
        tokenizer = cls(*fields)
        if not tokenizer.separator or "\n" in tokenizer.separator:
            raise InputError("--split is empty, or has a line end in it: give what stands between two items")
        return tokenizer

    @property
    def joins_lines(self) -> bool:
        return True

    def own_identity(self) -> dict[str, Any]:
        return {"name": "items", "separator": self.separator}

    def hint(self, preview: Callable[[], list[list[str]]]) -> str:
        baskets = preview()
        items = [item for basket in baskets for item in basket]
        if len(baskets) > 1 and len(items) == len(baskets):
            missing = f"has no {quoted(self.separator)} in its first lines"
            return f"{missing}, so --split makes one item of each: give what stands between items"
        if items and 2 * sum(item[:1] == item[-1:] == '"' for item in items) > len(items):
            return "has items in quotes, which become parts of the words: remove them first, as by tr -d '\"'"
        return ""

    def split(self, text: np.ndarray, locate: Locate = "byte {}".format) -> Iterator[Spans]:
        separator = bytes(self.prepared(as_array(self.separator.encode())))
        for _, piece in pieces(self.prepared(text), _PIECE_BYTES):
            data = bytes(piece)
            lines = data.count(b"\n") + 1
            start, end = (np.empty(data.count(separator) + lines, np.int64) for _ in range(2))
            sentence = np.empty(lines + 1, np.int64)
            items, sentences = kernels.split_items(piece, as_array(separator), start, end, sentence)
            if items:
                cut = split_long(sentence[: sentences + 1], self.max_sentence)
                yield Spans(piece, start[:items], end[:items], cut)
