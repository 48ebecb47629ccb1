"""Adds up the counts of many units. Words are divided into buckets by hash, and each bucket is merged by itself."""

# Without postponed annotations: Beam reads those of `total` to type the edges of a graph.

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipeline.corpus.word_table import WordTable, word_hashes
from pipeline.errors import ArtifactError
from pipeline.storage.commits import Commits
from pipeline.storage.records import Artifact, Records

SCHEMA = pa.schema([pa.field("word", pa.string(), nullable=False), pa.field("count", pa.int64(), nullable=False)])
ELEMENT_BYTES = 4 << 20
"""About the largest element of `split_by_bucket`: runners have problems with elements above 10 MB."""
_FEWEST_BUCKETS, _MOST_BUCKETS, _BUCKET_BYTES = 32, 1024, 4 << 30
"""Fewest and most buckets, and the bytes of input for each."""
_SUMMARY = b"beam2vec"
_BUCKETS = "buckets"
"""The folder of a count that holds large buckets until the vocabulary is stored."""


def buckets_for(input_bytes: int) -> int:
    """The number of buckets for so much input. It never changes the vocabulary.

    A worker holds about 80 bytes for each different word of a bucket: 80 MB for 6 TB of text with a billion words.
    """
    return min(_MOST_BUCKETS, max(_FEWEST_BUCKETS, input_bytes // _BUCKET_BYTES))


def split_by_bucket(table: pa.Table, buckets: int) -> Iterator[tuple[int, bytes]]:
    """Cuts a table of counts by the words' hashes, so that each bucket can be merged by itself.

    Yields:
      (bucket, Arrow IPC bytes of some of its rows), buckets in order. A bucket above ELEMENT_BYTES is yielded in
      several pieces, an empty one not at all.
    """
    if not table.num_rows:
        return
    words = table["word"].combine_chunks() if table["word"].num_chunks != 1 else table["word"].chunk(0)
    if isinstance(words, pa.ChunkedArray):  # more than 2 GiB of words
        rows = table.num_rows // words.num_chunks // 2 + 1
        for start in range(0, table.num_rows, rows):
            yield from split_by_bucket(table.slice(start, rows), buckets)
        return
    bucket = ((word_hashes(words) >> np.uint64(32)) * np.uint64(buckets)) >> np.uint64(32)
    order = np.argsort(bucket.astype(np.uint16 if buckets <= 1 << 16 else np.uint32), kind="stable")
    sorted_table = table.take(pa.array(order))
    sizes = np.bincount(bucket.astype(np.int64), minlength=buckets)
    row_bytes = max(1, table.nbytes // table.num_rows)
    rows = max(1, ELEMENT_BYTES // row_bytes)
    start = 0
    for number, size in enumerate(sizes.tolist()):
        for first in range(start, start + size, rows):
            yield number, table_bytes(sorted_table.slice(first, min(rows, start + size - first)))
        start += size


class MergedCounts:
    """The sum of tables of counts; words in the order in which they are first added."""

    def __init__(self) -> None:
        self._words = WordTable()

    def add(self, counts: pa.Table | bytes) -> None:
        """Adds a table of counts, or its Arrow IPC bytes."""
        for batch in _opened(counts).to_batches():
            self._words.add(batch.column(0), batch.column(1).to_numpy())

    def __len__(self) -> int:
        return len(self._words)

    def table(self) -> pa.Table:
        return pa.table([self._words.words(), pa.array(self._words.values())], schema=SCHEMA)


def merge_counts(tables: Iterable[pa.Table | bytes]) -> pa.Table:
    """Adds up tables of counts (or their Arrow IPC bytes); words in the order in which they first appear.

    >>> first = pa.table({"word": ["a", "rose"], "count": [1, 2]})
    >>> second = pa.table({"word": ["rose", "is"], "count": [3, 1]})
    >>> merge_counts([first, second]).to_pydict()
    {'word': ['a', 'rose', 'is'], 'count': [1, 5, 1]}
    """
    merged = MergedCounts()
    for table in tables:
        merged.add(table)
    return merged.table()


def prune(table: pa.Table, min_count: int) -> pa.Table:
    """The words that occur at least `min_count` times; the metadata keeps the `summary` of the table before."""
    kept = table.filter(pa.array(table["count"].to_numpy() >= min_count))
    words, largest = summary([table])
    return kept.replace_schema_metadata({_SUMMARY: json.dumps({"words": words, "largest": largest})})


def summary(tables: Iterable[pa.Table]) -> tuple[int, int]:
    """(number of different words, largest count) of tables without common words, as they were before `prune`."""
    words = largest = 0
    for table in tables:
        noted = (table.schema.metadata or {}).get(_SUMMARY)
        if noted:
            before = json.loads(noted)
            words, largest = words + before["words"], max(largest, before["largest"])
        elif table.num_rows:
            words, largest = words + table.num_rows, max(largest, int(table["count"].to_numpy().max()))
    return words, largest


def table_bytes(table: pa.Table) -> bytes:
    """Arrow IPC stream of a table, with its own rows only, whatever it was sliced from."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def table_from_bytes(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(data).read_all()


def _opened(table: pa.Table | bytes) -> pa.Table:
    return table if isinstance(table, pa.Table) else table_from_bytes(table)


@dataclasses.dataclass(frozen=True)
class UnitSummary:
    """The numbers of a counted unit, without the words."""

    index: int
    bytes: int
    lines: int
    bad_lines: int
    tokens: int
    units: int = 0
    """1, or the number of units that were added up"""
    of: int = 0
    """how many units there are"""


def total(units: Iterable[UnitSummary]) -> UnitSummary:
    """The sum of many units; its index is that of the first unit with bad lines."""
    units = list(units)
    sums = {
        name: sum(getattr(unit, name) for unit in units) for name in ("bytes", "lines", "bad_lines", "tokens", "units")
    }
    first_bad = min((unit.index for unit in units if unit.bad_lines), default=0)
    return UnitSummary(first_bad, **sums, of=max((unit.of for unit in units), default=0))


@dataclasses.dataclass(frozen=True)
class BucketCounts:
    """The counts of one bucket's words over all units, without rare words: in `table` if they are few, else stored.

    All buckets come together in one element of the graph, which must not grow with the vocabulary.
    """

    table: bytes = b""
    """Arrow IPC bytes; empty if they are stored"""
    artifact: Artifact | None = None
    """the same bytes, stored. No record names it: it is removed when the vocabulary is stored"""
    tokens: int = 0
    """occurrences of all words of the bucket, also rare ones"""

    def open(self, records: Records) -> pa.Table:
        return table_from_bytes(records.read(self.artifact) if self.artifact else self.table)

    @classmethod
    def of(cls, commits: Commits, bucket: int, merged: pa.Table, kept: pa.Table, buckets: int) -> "BucketCounts":
        """Stores the table if it is large, so that all buckets together stay below ELEMENT_BYTES.

        Args:
          commits: of the count.
          merged: all words of the bucket.
          kept: those without rare ones.
        """
        tokens = int(merged["count"].to_numpy().sum())
        data = table_bytes(kept)
        if len(data) <= ELEMENT_BYTES // buckets:
            return cls(data, tokens=tokens)
        # Runners deliver pieces in any order, so words are in any order too, and another attempt may write other bytes.
        name = f"{_BUCKETS}/{bucket:04d}-{hashlib.sha256(data).hexdigest()[:16]}.arrow"
        return cls(artifact=commits.put(name, data), tokens=tokens)


def forget_buckets(commits: Commits) -> None:
    """Removes the stored buckets of a count, also those of killed attempts; call it when they are not needed."""
    storage = commits.records.storage
    for info in storage.list(commits.path(_BUCKETS)):
        storage.delete(info.path)


def check_complete(summaries: Iterable[UnitSummary], counts: Iterable[BucketCounts]) -> None:
    """ArtifactError if the runner has lost some of the counts: compares what has arrived with what was sent."""
    counted, tokens = total(summaries), sum(bucket.tokens for bucket in counts)
    if counted.units != counted.of or tokens != counted.tokens:
        raise ArtifactError(
            f"the runner delivered {counted.units:,} of {counted.of:,} units and the counts of {tokens:,} of"
            f" {counted.tokens:,} tokens: nothing was stored, start the run again"
        )


class OpenedCounts(Collection[pa.Table]):
    """The tables of buckets; each is opened when it is reached, and again in the next iteration."""

    def __init__(self, records: Records, buckets: Sequence[BucketCounts]):
        self._records, self._buckets = records, buckets

    def __len__(self) -> int:
        return len(self._buckets)

    def __iter__(self) -> Iterator[pa.Table]:
        return (bucket.open(self._records) for bucket in self._buckets)

    def __contains__(self, table: object) -> bool:
        return any(table is opened for opened in self)
