"""Counts of many units -> the counts of all, cut by hash so that each bucket is merged by itself."""

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
"""About how large an element of `split_by_bucket` gets: runners dislike those above 10 MB."""
_FEWEST_BUCKETS, _MOST_BUCKETS, _BUCKET_BYTES = 32, 1024, 4 << 30
"""Parts that words are merged in, and the input that one of them is enough for."""
_SUMMARY = b"beam2vec"
_BUCKETS = "buckets"
"""Folder of a count where the words of large buckets lie until the words of all are ordered."""


def buckets_for(input_bytes: int) -> int:
    """In how many parts, by hash, the words of so much input are merged; decides no byte of the vocabulary.

    What a worker holds of a part is about 80 bytes a different word: of 6 TB of text with a billion, 80 MB.
    """
    return min(_MOST_BUCKETS, max(_FEWEST_BUCKETS, input_bytes // _BUCKET_BYTES))


def split_by_bucket(table: pa.Table, buckets: int) -> Iterator[tuple[int, bytes]]:
    """Cuts a table of counts by the words' hashes, so that each bucket can be merged by itself.

    Yields:
      (bucket, Arrow IPC bytes of a part of the table), buckets in order; a bucket comes
      more than once where it is above ELEMENT_BYTES, and not at all where it is empty.
    """
    if not table.num_rows:
        return
    words = table["word"].combine_chunks() if table["word"].num_chunks != 1 else table["word"].chunk(0)
    if isinstance(words, pa.ChunkedArray):  # above 2 GiB of words
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
    """The sum of tables of counts; words in the order in which they first come."""

    def __init__(self) -> None:
        self._words = WordTable()

    def add(self, counts: pa.Table | bytes) -> None:
        """A table of counts, or its Arrow IPC bytes."""
        for batch in _opened(counts).to_batches():
            self._words.add(batch.column(0), batch.column(1).to_numpy())

    def __len__(self) -> int:
        return len(self._words)

    def table(self) -> pa.Table:
        return pa.table([self._words.words(), pa.array(self._words.values())], schema=SCHEMA)


def merge_counts(tables: Iterable[pa.Table | bytes]) -> pa.Table:
    """Adds up tables of counts (or their Arrow IPC bytes); words in the order in which they first come."""
    merged = MergedCounts()
    for table in tables:
        merged.add(table)
    return merged.table()


def prune(table: pa.Table, min_count: int) -> pa.Table:
    """The words that occur at least `min_count` times; what was there before is noted in the metadata."""
    kept = table.filter(pa.array(table["count"].to_numpy() >= min_count))
    words, largest = summary([table])
    return kept.replace_schema_metadata({_SUMMARY: json.dumps({"words": words, "largest": largest})})


def summary(tables: Iterable[pa.Table]) -> tuple[int, int]:
    """(number of different words, largest count) of tables without common words, before they were pruned."""
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
    """Arrow IPC stream of a table: only its own rows, whatever it was sliced from."""
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
    """What counting a unit found, without the words."""

    index: int
    bytes: int
    lines: int
    bad_lines: int
    tokens: int
    units: int = 0
    """1, or how many units were put together"""
    of: int = 0
    """How many units there are."""


def total(units: Iterable[UnitSummary]) -> UnitSummary:
    """Of many units; its index is that of the first with bad lines."""
    units = list(units)
    sums = {
        name: sum(getattr(unit, name) for unit in units) for name in ("bytes", "lines", "bad_lines", "tokens", "units")
    }
    first_bad = min((unit.index for unit in units if unit.bad_lines), default=0)
    return UnitSummary(first_bad, **sums, of=max((unit.of for unit in units), default=0))


@dataclasses.dataclass(frozen=True)
class BucketCounts:
    """The counts of one bucket's words over all units, rare ones left out: as they are where they are few, else stored.

    All buckets come together in one element, which must not grow with the vocabulary.
    """

    table: bytes = b""
    """Arrow IPC bytes; empty where they are stored."""
    artifact: Artifact | None = None
    """The same bytes. No record names it: it is removed once the vocabulary is there."""

    tokens: int = 0
    """Occurrences of all its words, those left out too."""

    def open(self, records: Records) -> pa.Table:
        return table_from_bytes(records.read(self.artifact) if self.artifact else self.table)

    @classmethod
    def of(cls, commits: Commits, bucket: int, kept: pa.Table, tokens: int, buckets: int) -> "BucketCounts":
        """Stores the table where it is large: all buckets together may be ELEMENT_BYTES.

        Args:
          commits: of the count.
          kept: the words of the bucket that are not left out.
          tokens: occurrences of all its words.
        """
        data = table_bytes(kept)
        if len(data) <= ELEMENT_BYTES // buckets:
            return cls(data, tokens=tokens)
        # Parts come in any order, and so do words: another attempt at this bucket may write other bytes.
        name = f"{_BUCKETS}/{bucket:04d}-{hashlib.sha256(data).hexdigest()[:16]}.arrow"
        return cls(artifact=commits.put(name, data), tokens=tokens)


def forget_buckets(commits: Commits) -> None:
    """Removes the buckets that were stored of a count, those of killed attempts too.

    Call it when what is made of them has been committed.
    """
    storage = commits.records.storage
    for info in storage.list(commits.path(_BUCKETS)):
        storage.delete(info.path)


def check_complete(summaries: Iterable[UnitSummary], counts: Iterable[BucketCounts]) -> None:
    """Hold what has arrived of a count against what was sent: ArtifactError if the runner has lost some of it."""
    found, tokens = total(summaries), sum(one.tokens for one in counts)
    if found.units != found.of or tokens != found.tokens:
        raise ArtifactError(
            f"the runner delivered {found.units:,} of {found.of:,} units and the counts of {tokens:,} of"
            f" {found.tokens:,} tokens: nothing was made of them, run the same command again"
        )


class OpenedCounts(Collection[pa.Table]):
    """The tables of buckets, each opened when it is come to, and again the next time."""

    def __init__(self, records: Records, buckets: Sequence[BucketCounts]):
        self._records, self._buckets = records, buckets

    def __len__(self) -> int:
        return len(self._buckets)

    def __iter__(self) -> Iterator[pa.Table]:
        return (bucket.open(self._records) for bucket in self._buckets)

    def __contains__(self, table: object) -> bool:
        return any(table is one for one in self)
