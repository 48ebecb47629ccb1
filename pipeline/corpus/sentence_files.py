"""Sentences as files of a partition: the same bytes whatever order they come in.

    OUTPUT/part-00000-of-00016.parquet    text string, or words list<string>: sorted by the hash of the sentence
    OUTPUT/_SUCCESS                       {"files": 16, "bytes": ..., "rows": ...}, last of all

Of a stream, OUTPUT is OUTPUT/window=START, one for each window.

A sentence's hash says which file it is in, and where. So nothing depends on how a runner has delivered the elements, or
on what it has tried again.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from pipeline.corpus.plain_sentences import words_of
from pipeline.errors import InputError
from pipeline.runtime.shown_text import quoted
from pipeline.storage.parquet import to_parquet
from pipeline.storage.records import canonical_json
from pipeline.storage.storage import Storage

MARKER = "_SUCCESS"
MOST_SHARDS = 99_999
Sentence = str | Sequence[str]
_TEXT = pa.schema([pa.field("text", pa.string(), nullable=False)])
_WORDS = pa.schema([pa.field("words", pa.list_(pa.string()), nullable=False)])
_END = b"\xff"
"""Behind each word in what is hashed: no UTF-8 has this byte, so ["a b"] and ["a", "b"] differ."""


class Keyed(NamedTuple):
    """A sentence with what it is sorted by.

    Attributes:
      order: hash of its key, or of its content; of two with equal keys, one is kept.
      content: text, or words with _END behind each.
    """

    order: bytes
    content: bytes


def partition_name(start: float, seconds: int) -> str:
    """The folder of a window of so many seconds; names are ordered as the windows are.

    Args:
      start: of the window, in seconds since 1970.

    >>> partition_name(86_400 * 365, 86_400), partition_name(5400, 1800)
    ('window=1971-01-01', 'window=1970-01-01T013000')
    """
    begin = datetime.datetime.fromtimestamp(start, datetime.UTC)
    return f"window={begin:%Y-%m-%d}" if seconds % 86_400 == 0 else f"window={begin:%Y-%m-%dT%H%M%S}"


class Part(NamedTuple):
    """A file that was written."""

    number: int
    bytes: int
    rows: int


def keyed(sentence: Sentence, key: str | None, words: bool) -> Keyed:
    """A sentence, ready to be sorted.

    Args:
      key: unique, by which repeated elements are dropped; None: all are kept.
      words: whether sentences are lists of words.

    Raises:
      InputError: it is the other kind, or no text, or a set, which has no order; the key is no text.
    """
    try:
        if words != (not isinstance(sentence, str)):
            raise TypeError
        content = b"".join(word.encode() + _END for word in words_of(sentence)) if words else str(sentence).encode()
    except (TypeError, UnicodeEncodeError):
        expected = "a list of strings" if words else "a string"
        raise InputError(f"WriteSentences: {quoted(str(sentence))} is not {expected} that UTF-8 can hold") from None
    try:
        return Keyed(hashlib.sha256(content if key is None else key.encode()).digest(), content)
    except (AttributeError, UnicodeEncodeError):
        raise InputError(f"WriteSentences: key gave {quoted(str(key))}, not a string that UTF-8 can hold") from None


def shard_of(sentence: Keyed, shards: int) -> int:
    """Which file it is in.

    >>> shard_of(keyed("a rose", None, False), 16)
    10
    """
    return int.from_bytes(sentence.order[:8], "big") * shards >> 64


def write_part(
    storage: Storage, number: int, shards: int, sentences: Iterable[Keyed], words: bool, unique: bool
) -> Part:
    """Writes a file, sorted; with `unique`, of several with one key the first by content alone."""
    ordered = sorted(sentences)
    if unique:
        ordered = [one for i, one in enumerate(ordered) if not i or one.order != ordered[i - 1].order]
    if words:
        column = [[word.decode() for word in one.content.split(_END)[:-1]] for one in ordered]
        table = pa.table([pa.array(column, _WORDS.field(0).type)], schema=_WORDS)
    else:
        table = pa.table([pa.array([one.content.decode() for one in ordered], pa.string())], schema=_TEXT)
    data = to_parquet(table)
    storage.put(f"part-{number:05}-of-{shards:05}.parquet", data)
    return Part(number, len(data), len(ordered))


def write_marker(storage: Storage, parts: Iterable[Part], shards: int, words: bool) -> None:
    """Closes the partition: writes the files that have no sentences, and then says how much there is."""
    by_number = {part.number: part for part in parts}  # a runner may have written one twice
    for number in range(shards):
        if number not in by_number:
            by_number[number] = write_part(storage, number, shards, (), words, unique=False)
    sizes = {"files": len(by_number), "bytes": 0, "rows": 0}
    for part in by_number.values():
        sizes["bytes"] += part.bytes
        sizes["rows"] += part.rows
    storage.put(MARKER, canonical_json(sizes))
