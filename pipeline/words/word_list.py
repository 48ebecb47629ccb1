"""A vocabulary from a file of the user: exactly its words, in its order.

The file is text or Parquet. Text has a word on each line, or a word and its count with a tab between them (or one blank
if every line has a count). Parquet has a column `word` and perhaps `count`, as vocabulary/ and checkpoints do. Counts
decide how negatives are drawn and which tokens subsampling keeps. Without them the counts of the corpus do.

A word that does not occur keeps its place and its first vector, and is never drawn as a negative.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.corpus.files import read_option_file
from pipeline.corpus.readers.values import INTEGERS
from pipeline.errors import InputError
from pipeline.runtime.shown_text import quoted, shown, shown_list
from pipeline.words.merging import SCHEMA
from pipeline.words.vocabulary import Vocabulary, plain

LIST_VERSION = 2
"""Raise it when the same list and corpus make another vocabulary. It is in the stage key of runs with --vocabulary."""
_LARGEST = 2**63 - 1
_BLANK = re.compile(rb"[^ \t]+ [0-9]+")


@dataclass(frozen=True)
class WordList:
    """Words with or without counts."""

    words: pa.StringArray
    counts: np.ndarray | None
    """int64 [V], or None"""


@dataclass(frozen=True)
class WordListRef:
    """A reference to the file as it was when the run began, for workers."""

    uri: str
    digest: str
    items: str

    def load(self) -> WordList:
        """The words, read once in each process; InputError if the file has changed."""
        return _load(self.uri, self.digest, self.items)


def word_list(uri: str, items: str) -> WordListRef:
    """Reads and checks the file of --vocabulary, and returns a reference to it.

    Args:
      items: what the corpus holds: TEXT, STRINGS or INTEGERS, which needs integers in the file too.

    Raises:
      InputError: the file cannot be read, or is not a list of different words.
    """
    ref = WordListRef(uri, hashlib.sha256(read_option_file("vocabulary", uri)).hexdigest()[:32], items)
    ref.load()
    return ref


@functools.lru_cache(maxsize=2)
def _load(uri: str, digest: str, items: str) -> WordList:
    data = read_option_file("vocabulary", uri)
    if hashlib.sha256(data).hexdigest()[:32] != digest:
        raise InputError(f"--vocabulary={uri} changed during the run; run again with --overwrite")
    words, counts = _from_parquet(uri, data) if data.startswith(b"PAR1") else _from_text(uri, data)
    if items == INTEGERS:
        words = _integers(uri, words)
    _check(uri, words, counts)
    return WordList(words, counts)


def listed_counts(tables: Iterable[pa.Table], listed: WordList) -> pa.Table:
    """The rows of tables of counts whose words are in the list."""
    table = pa.concat_tables([SCHEMA.empty_table(), *map(plain, tables)])
    return table.filter(pc.is_in(table["word"], value_set=listed.words))


def listed_vocabulary(tables: Iterable[pa.Table], listed: WordList, integers: bool) -> Vocabulary:
    """The vocabulary in the order of the list.

    Args:
      tables: word, count; no word is in two of them. In an update the counts are totals.

    Raises:
      InputError: no word of the list occurs, or each that does counts as 0.
    """
    corpus_counts = listed_counts(tables, listed)
    counts = np.zeros(len(listed.words), np.int64)
    places = pc.index_in(corpus_counts["word"], value_set=listed.words).to_numpy()
    counts[places] = corpus_counts["count"].to_numpy()
    if not counts.any():
        raise InputError(
            f"none of the {len(listed.words):,} words of --vocabulary occurs in --input (its first word is"
            f" {quoted(listed.words[0].as_py())}): check --tokenizer, --lowercase and --normalize"
        )
    if listed.counts is None:
        return Vocabulary(listed.words, counts, integers)
    if not listed.counts[counts > 0].any():
        raise InputError(
            "--vocabulary counts 0 for each of its words that occur in --input: write counts above 0, or none"
        )
    return Vocabulary(listed.words, listed.counts, integers, counts)


def _from_text(uri: str, data: bytes) -> tuple[pa.StringArray, np.ndarray | None]:
    # A byte-order mark begins the file, or a line where files were joined.
    lines = [line.removesuffix(b"\r").removeprefix(b"\xef\xbb\xbf") for line in data.split(b"\n")]
    if not lines[-1]:
        lines.pop()
    separator = b"\t" if any(b"\t" in line for line in lines) else None
    if separator is None and lines and all(map(_BLANK.fullmatch, lines)):
        separator = b" "
    words, counts = [], []
    for number, line in enumerate(lines, 1):
        word, between, count = line.rpartition(separator) if separator else (line, b"", b"")
        if not word or (separator and not (between and count.isdigit())):
            expected = "a word, a tab and its count" if separator else "a word"
            raise InputError(f"--vocabulary={uri}: line {number:,} is {quoted(line[:200], 60)}, not {expected}")
        words.append(word)
        if separator:
            counts.append(int(count))
    try:
        strings = pa.array(words, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        bad = next(i for i, word in enumerate(words, 1) if not _is_utf8(word))
        raise InputError(f"--vocabulary={uri} is not UTF-8 text in line {bad:,}") from None
    if separator and (max(counts) > _LARGEST or sum(counts) > _LARGEST):
        raise InputError(f"--vocabulary={uri}: the counts are beyond 64 bits")
    return strings, np.array(counts, np.int64) if separator else None


def _from_parquet(uri: str, data: bytes) -> tuple[pa.StringArray, np.ndarray | None]:
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        names = file.schema_arrow.names
        if "word" not in names:
            raise InputError(f"--vocabulary={uri} has no column word; there are {shown_list(names)}")
        table = file.read([name for name in ("word", "count") if name in names])
        words = table["word"].cast(pa.string()).combine_chunks()
        counts = table["count"].cast(pa.int64()).combine_chunks() if "count" in names else None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"--vocabulary={uri} cannot be read: {shown(error)}") from error
    if words.null_count or (counts is not None and counts.null_count):
        raise InputError(f"--vocabulary={uri} has nulls: remove these rows")
    return words, None if counts is None else counts.to_numpy()


def _integers(uri: str, words: pa.StringArray) -> pa.StringArray:
    """The words in the form in which integers are counted: canonical decimal text."""
    try:
        return words.cast(pa.int64()).cast(pa.string())
    except pa.ArrowInvalid as error:
        raise InputError(f"--vocabulary={uri} should hold integers, as --field does: {shown(error)}") from error


def _check(uri: str, words: pa.StringArray, counts: np.ndarray | None) -> None:
    if not len(words):
        raise InputError(f"--vocabulary={uri} has no word: write one a line")
    occurrences = words.value_counts()
    twice = occurrences.filter(pc.greater(occurrences.field("counts"), 1))
    if len(twice):
        word, times = twice[0]["values"].as_py(), twice[0]["counts"].as_py()
        raise InputError(f"--vocabulary={uri} has {quoted(word)} {times} times")
    if pc.min(pc.binary_length(words)).as_py() == 0:
        raise InputError(f"--vocabulary={uri} has an empty word")
    if counts is not None and counts.min() < 0:
        row = int(np.argmin(counts))
        word = quoted(words[row].as_py())
        raise InputError(f"--vocabulary={uri}: the count of {word} is {counts[row]}, not 0 or more")
    if counts is not None and not counts.any():
        raise InputError(f"--vocabulary={uri} counts 0 for each word: write counts above 0, or words alone")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
