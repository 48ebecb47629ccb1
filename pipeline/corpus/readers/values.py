"""Rows of structured input: what a field may hold, and items as tokens.

A field holds text, which is tokenised and each line of which is a sentence; or a list of strings or integers, a
sentence of items that are used as they are; or a list of such lists, each a sentence. Integers are counted as decimal
text, so the same items give the same model in any format. Only the `word` columns of vocabulary and checkpoints hold
integers again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.corpus.spans import Locate, Spans, as_array, split_long
from pipeline.corpus.tokenizers.tokenizer import Tokenizer

TEXT, STRINGS, INTEGERS = "text", "strings", "integers"
EXPECTED = {TEXT: "text", STRINGS: "a list of strings", INTEGERS: "a list of integers"}
NULL = "null"
_LARGEST = 2**63 - 1
_NAMES = {str: "text", bool: "true or false", int: "a number", float: "a number", dict: "an object"}


@dataclass(frozen=True)
class Portion:
    """Consecutive lines or rows of the corpus as sentences."""

    lines: int
    """number of good lines or rows"""
    spans: Iterator[Spans]


def items_of(value: Any) -> str | None:
    """TEXT, STRINGS or INTEGERS, by a JSON value; "" for a list without items, None for any other value."""
    if type(value) is str:
        return TEXT
    if type(value) is not list:
        return None
    types = {type(item) for sentence in sentences_in(value) for item in sentence}
    if not types:
        return ""
    return {frozenset({str}): STRINGS, frozenset({int}): INTEGERS}.get(frozenset(types))


def sentences_in(row: list) -> list[list]:
    """The sentences of a row that is a list: the lists in it, or itself."""
    return row if row and set(map(type, row)) == {list} else [row]


def wrong(value: Any, items: str) -> str | None:
    """Why a JSON value cannot be a row of a corpus of `items`; None if it can."""
    if items == TEXT:
        is_good = type(value) is str
    else:
        kind, sentences = str if items == STRINGS else int, sentences_in(value) if type(value) is list else []
        is_good = type(value) is list and all(set(map(type, sentence)) <= {kind} for sentence in sentences)
        if is_good and items == INTEGERS and any(map(_is_beyond, sentences)):
            return "an integer beyond 64 bits"
    return None if is_good else NULL if value is None else f"{describe(value)} where {EXPECTED[items]} belongs"


def _is_beyond(numbers: list[int]) -> bool:
    """Whether one of the numbers has more than 64 bits."""
    return bool(numbers) and (max(numbers) > _LARGEST or min(numbers) < -_LARGEST - 1)


def describe(value: Any) -> str:
    """The type of a JSON value in words."""
    if value is None:
        return NULL
    if type(value) is not list:
        return _NAMES.get(type(value), "nothing")
    return EXPECTED.get(items_of(value) or "") or ("a list of other or mixed types" if value else "an empty list")


def text_spans(texts: list[str], place: Callable[[int], str], tokenizer: Tokenizer) -> Iterator[Spans]:
    """Sentences of some texts; `place` names text i in messages."""
    texts = [text.replace("\n", " ") for text in texts] if tokenizer.joins_lines else texts
    encoded = [text.encode() + b"\n" for text in texts]
    ends = np.cumsum([len(text) for text in encoded])
    return tokenizer.split(as_array(b"".join(encoded)), locate_rows(ends, place))


def locate_rows(ends: np.ndarray, place: Callable[[int], str]) -> Locate:
    """A function from a byte position to the name of its row, by the ends of the rows (int64 [n])."""
    return lambda position: place(int(np.searchsorted(ends, position, side="right")))


def item_spans(words: pa.LargeStringArray, offset: np.ndarray, max_sentence: int) -> Iterator[Spans]:
    """Sentences of items: row j is words[offset[j]:offset[j + 1]]; empty strings are left out.

    Args:
      words: without nulls; offset: int64 [rows + 1], from 0.
    """
    n = len(words)
    if not n:
        return
    _, offsets, data = words.buffers()
    bound = np.frombuffer(offsets, np.int64)[words.offset : words.offset + n + 1]
    start, end = bound[:-1], bound[1:]
    filled = end > start
    if not filled.all():
        offset = np.concatenate([[0], np.cumsum(filled)])[offset]
        start, end = start[filled], end[filled]
    offset = offset[np.concatenate([[True], offset[1:] > offset[:-1]])]
    if len(start):
        yield Spans(as_array(data), start, end, split_long(np.ascontiguousarray(offset), max_sentence))


def list_spans(rows: list[list], items: str, max_sentence: int) -> Iterator[Spans]:
    """Sentences of lists of strings, or of integers of 64 bits, or of lists of such lists."""
    sentences = [sentence for row in rows for sentence in sentences_in(row)]
    flat = [item for sentence in sentences for item in sentence]
    offset = np.concatenate([[0], np.cumsum([len(sentence) for sentence in sentences])]).astype(np.int64)
    if items == INTEGERS:
        words = pa.array(flat, pa.int64()).cast(pa.large_string())
    else:
        words = pa.array(flat, pa.large_string())
    return item_spans(words, offset, max_sentence)
