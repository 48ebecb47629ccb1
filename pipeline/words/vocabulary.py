"""The vocabulary: the words that are kept, most frequent first; a word's id is its row."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus.word_table import WordTable, one_array
from pipeline.errors import ArtifactError, InputError
from pipeline.runtime.shown_text import shown
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.storage.records import Artifact, Number, Record, Records
from pipeline.words.merging import SCHEMA, prune, summary

MAX_WORDS = 2**31 - 1
"""Word ids are int32."""
MAX_WORD_BYTES = 2**31 - 1
"""Bytes of all words together: Arrow's offsets are int32."""
MAX_COUNT = 2**63 - 1
_INTEGER_SCHEMA = SCHEMA.set(0, pa.field("word", pa.int64(), nullable=False))
_OCCURRENCES = pa.field("occurrences", pa.int64(), nullable=False)
_NEW = pa.field("new", pa.int64(), nullable=False)


@dataclass(frozen=True)
class Vocabulary:
    """Words by id, the most frequent first.

    >>> counts = pa.table({"word": ["a", "is", "rose"], "count": [3, 2, 3]}, schema=SCHEMA)
    >>> vocabulary = Vocabulary.from_table(build_vocabulary([counts], min_count=2))
    >>> vocabulary.words.to_pylist(), vocabulary.tokens
    (['a', 'rose', 'is'], 8)
    """

    words: pa.StringArray
    """string [V]"""
    counts: np.ndarray
    """int64 [V], how often each word occurs, or what the file of --vocabulary says"""
    integers: bool = False
    """Whether the words are integers. They are decimal text here, and integers again in `to_table`."""
    listed_occurrences: np.ndarray | None = None
    """int64 [V], how often each word occurs, where `counts` are those of a file"""
    new_occurrences: np.ndarray | None = None
    """int64 [V], how often each word occurs in the text of this run, where it has a parent"""

    def __len__(self) -> int:
        return len(self.words)

    @property
    def occurrences(self) -> np.ndarray:
        """int64 [V], how often each word occurs, in the text of parents too: 0 where only --vocabulary has it."""
        return self.counts if self.listed_occurrences is None else self.listed_occurrences

    @property
    def text_occurrences(self) -> np.ndarray:
        """int64 [V], how often each word occurs in the text of this run."""
        return self.occurrences if self.new_occurrences is None else self.new_occurrences

    @property
    def tokens(self) -> int:
        """How many tokens of the text are in the vocabulary."""
        return int(self.text_occurrences.sum())

    def lookup_table(self) -> WordTable:
        """A hash table from words to ids, built once; about 80 bytes a word."""
        return self._table

    @functools.cached_property
    def _table(self) -> WordTable:
        table = WordTable()
        table.add(self.words, self.counts)
        if len(table) != len(self):
            raise ArtifactError(f"the vocabulary has {len(self) - len(table):,} words twice")
        return table

    def __getstate__(self) -> dict:
        """Leaves out the lookup table, which workers build themselves."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def to_table(self) -> pa.Table:
        """word: string (int64 where items are integers), count: int64.

        Where counts are listed, also `occurrences`, and in a run with --update `new`: of the text of the run.
        """
        words, schema = (self.words.cast(pa.int64()), _INTEGER_SCHEMA) if self.integers else (self.words, SCHEMA)
        table = pa.table([words, pa.array(self.counts)], schema=schema)
        for field, values in ((_OCCURRENCES, self.listed_occurrences), (_NEW, self.new_occurrences)):
            if values is not None:
                table = table.append_column(field, pa.array(values))
        return table

    def to_parquet(self) -> pa.Buffer:
        return to_parquet(self.to_table())

    @classmethod
    def from_table(cls, table: pa.Table, integers: bool = False) -> Vocabulary:
        """From a table of `to_table`, or of counts, where `integers` says whether the words are integers."""
        integers = integers or pa.types.is_integer(table["word"].type)
        words = one_array(table["word"])
        listed, new = (
            table[field.name].to_numpy() if field.name in table.column_names else None for field in (_OCCURRENCES, _NEW)
        )
        return cls(words.cast(pa.string()), table["count"].to_numpy().astype(np.int64), integers, listed, new)

    @classmethod
    def from_parquet(cls, data: bytes | pa.Buffer) -> Vocabulary:
        return cls.from_table(from_parquet(data))


def build_vocabulary(
    tables: Collection[pa.Table],
    min_count: int,
    max_vocabulary: int | None = None,
    first_sentence: Sequence[str] = (),
    before: pa.Array | None = None,
) -> pa.Table:
    """The words to keep, ordered by (-count, UTF-8 bytes of the word).

    Args:
      tables: word, count; no word is in two of them (they are what `merge_counts` makes of buckets). They are read
        twice if `max_vocabulary` is given. Only words that are kept stay in memory.
      min_count: words that occur less often are left out.
      max_vocabulary: how many words to keep at most.
      first_sentence: the first tokens of the corpus, for the message that no word is left.
      before: words that stay a little longer under `max_vocabulary`, until their rank is 1.1 times it: the words of
        the run that this one updates, so that those at the edge do not come and go.

    Returns:
      word: string, count: int64.

    Raises:
      InputError: no word is left, or there are too many.
    """
    first = max_vocabulary
    if max_vocabulary is not None and before is not None:
        first = -(-11 * max_vocabulary // 10)
    least = min_count if first is None else max(min_count, count_at(tables, first))
    kept = pa.concat_tables([SCHEMA.empty_table(), *(plain(prune(table, least)) for table in tables)])
    if not kept.num_rows:
        raise InputError(nothing_left(tables, min_count, first_sentence))
    if kept.num_rows > MAX_WORDS and (max_vocabulary or MAX_WORDS + 1) > MAX_WORDS:
        raise InputError(f"{kept.num_rows:,} words are too many for 32-bit ids: raise --min_count")
    size = pc.sum(pc.binary_length(kept["word"])).as_py()
    if size > MAX_WORD_BYTES:
        raise InputError(
            f"{kept.num_rows:,} words of {size:,} bytes are too many for one table of {MAX_WORD_BYTES:,} bytes: raise"
            " --min_count, or set --max_vocabulary"
        )
    ordered = by_frequency(kept, first)
    if before is None or max_vocabulary is None:
        return ordered
    known = pc.is_in(ordered["word"], value_set=before).to_numpy()
    return ordered.filter(pa.array(known | (np.arange(len(known)) < max_vocabulary)))


def count_at(tables: Iterable[pa.Table], place: int) -> int:
    """The count of the word in this place (from 1), or 0. Words below it need no sorting by bytes."""
    if place < 1:
        return MAX_COUNT
    counts = np.concatenate([np.empty(0, np.int64), *(np.array(table["count"]) for table in tables)])  # copies
    rest = len(counts) - place
    return int(np.partition(counts, rest)[rest]) if rest > 0 else 0


def by_frequency(table: pa.Table, first: int | None = None) -> pa.Table:
    """The words ordered by (-count, UTF-8 bytes of the word), or the `first` of them."""
    order = pc.sort_indices(table, sort_keys=[("count", "descending"), ("word", "ascending")])
    return table.take(order[:first]).combine_chunks()


def plain(table: pa.Table) -> pa.Table:
    """The table without metadata, so that it can be concatenated with others."""
    return table.replace_schema_metadata(None)


def nothing_left(tables: Iterable[pa.Table], min_count: int, first_sentence: Sequence[str]) -> str:
    """The message that no word is left."""
    words, largest = summary(tables)
    if not words:
        return "--input holds no words: every line is empty, white space, a header of CSV, or bad (see dead_letters/)"
    first = ", ".join(f'"{shown(word)}"' for word in first_sentence[:6])
    became = f" (the first line became [{first}{', …' if len(first_sentence) > 6 else ''}])" if first else ""
    times = "once" if largest == 1 else f"{largest:,} times"
    often = f"the most frequent of {words:,} words occurs {times}"
    if words == 1:
        often = f"the only word occurs {times}"
    return f"--min_count={min_count} leaves no word: {often}. Lower --min_count, or check --tokenizer{became}."


STAGE = "vocabulary"


@dataclasses.dataclass(frozen=True)
class VocabularyNumbers:
    """What is recorded of the vocabulary."""

    words: Number
    tokens: Number
    """tokens of the text that are in the vocabulary"""
    units: Number
    """units of work in which the corpus was counted"""
    text_words: Number = 0
    """occurrences of all words in the text; 0 in runs of older versions"""


@dataclasses.dataclass(frozen=True)
class VocabularyRef:
    """The stored vocabulary."""

    artifact: Artifact
    words: int
    tokens: int
    """tokens of the text that are in the vocabulary"""
    text_words: int = 0
    """occurrences of all words in the text; 0 if not known"""

    @classmethod
    def of(cls, record: Record) -> VocabularyRef:
        numbers = record.read(VocabularyNumbers)
        return cls(record.artifact, numbers.words, numbers.tokens, numbers.text_words)

    def open(self, records: Records) -> Vocabulary:
        return Vocabulary.from_parquet(records.read(self.artifact))
