"""Word counts: of a unit of work, merged bucket by bucket over all of them, pruned by --min_count."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipeline.corpus.dead_letters import DeadLetters, write_dead_letters
from pipeline.corpus.digests import STAGE as INPUTS_STAGE
from pipeline.corpus.files import check_all_unchanged
from pipeline.corpus.readers.reader import Reader
from pipeline.corpus.word_table import WordTable, word_hashes
from pipeline.corpus.work_units import WorkUnit
from pipeline.errors import ArtifactError
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.storage.records import Record, Records

STAGE = "counts"
SCHEMA = pa.schema([pa.field("word", pa.string(), nullable=False), pa.field("count", pa.int64(), nullable=False)])

ELEMENT_BYTES = 4 << 20
"""About how large an element of `split_by_bucket` gets: runners dislike those above 10 MB."""
_FEWEST_BUCKETS, _MOST_BUCKETS, _BUCKET_BYTES = 32, 1024, 4 << 30
"""Parts that words are merged in, and the input that one of them is enough for."""

_SUMMARY = b"beam2vec"


@dataclass(frozen=True)
class UnitCounts:
    """What counting one unit found."""

    table: pa.Table
    """word: string, count: int64; in the order in which words first occur."""
    lines: int
    """All lines or rows, bad ones too."""
    bad_lines: int
    tokens: int
    bytes: int
    fingerprint: str
    """16 hex digits over all tokens in order and the ends of sentences; encoding has to find the same."""
    dead_letters: pa.Table | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    """uri -> content digests of the fixed ranges that begin in this unit; see `input_digests`."""
    reused: bool = False
    """Read back from an earlier run's artefact."""


def count_unit(unit: WorkUnit, reader: Reader, whole: bool = True) -> UnitCounts:
    """Reads and counts one unit of work.

    Memory: some blocks of 8 MiB and the unit's distinct words.

    Args:
      whole: with dead letters and content digests of the input, which are noted once a run.

    Raises:
      InputError: a file is not what it was when it was listed; the user's tokeniser failed.
    """
    words, dead_letters = WordTable(), DeadLetters()
    inputs: dict[str, str] = {}
    lines = tokens = 0
    for portion in reader.portions(unit.ranges, dead_letters, inputs if whole else None):
        lines += portion.lines
        for spans in portion.spans:
            words.count(spans)
            tokens += len(spans.start)
    check_all_unchanged(unit.ranges)
    return UnitCounts(
        table=pa.table([words.words(), pa.array(words.values())], schema=SCHEMA),
        lines=lines + dead_letters.count,
        bad_lines=dead_letters.count,
        tokens=tokens,
        bytes=unit.size,
        fingerprint=words.fingerprint,
        dead_letters=dead_letters.table() if whole and dead_letters.count else None,
        inputs=inputs,
    )


def counted_unit(
    records: Records,
    key: str,
    unit: WorkUnit,
    reader: Reader,
    stage: str = STAGE,
    folder: str = STAGE,
    renew_lock: Callable[[], None] = lambda: None,
) -> UnitCounts:
    """The unit's counts: from its artefact where that is whole, else counted and committed.

    Args:
      renew_lock: called when the unit is counted, before anything is written; raises when the lock is lost.
    """
    done = load_unit_counts(records, key, unit, stage)
    if done:
        return done
    counts = count_unit(unit, reader, whole=stage == STAGE)
    renew_lock()
    return commit_unit_counts(records, key, unit, counts, stage, folder)


def commit_unit_counts(
    records: Records, key: str, unit: WorkUnit, counts: UnitCounts, stage: str = STAGE, folder: str = STAGE
) -> UnitCounts:
    """Writes the counts into `folder`, dead_letters/ and the records of one unit; returns `counts`."""
    artifacts = [records.write_artifact(f"{folder}/{unit.name}.parquet", to_parquet(counts.table))]
    if counts.dead_letters is not None:
        path = f"dead_letters/{unit.name}.parquet"
        artifacts.append(records.write_artifact(path, write_dead_letters(counts.dead_letters)))
    if _reads_input(unit, stage):
        records.commit(Record(INPUTS_STAGE, unit.name, key, (), dict(counts.inputs)))
    numbers = {name: getattr(counts, name) for name in _NUMBERS} | {"words": counts.table.num_rows}
    records.commit(Record(stage, unit.name, key, tuple(artifacts), numbers))
    return counts


def _reads_input(unit: WorkUnit, stage: str) -> bool:
    """Whether digests of the input are recorded beside the counts; of a compressed file, those who unpack it do it."""
    return stage == STAGE and any(part.version for part in unit.ranges)


_NUMBERS = ("lines", "bad_lines", "tokens", "bytes", "fingerprint")


def load_unit_counts(records: Records, key: str, unit: WorkUnit, stage: str = STAGE) -> UnitCounts | None:
    """What an earlier attempt committed; None where that is nothing, or damaged."""
    record = records.valid(stage, unit.name, key)
    if record is None or (_reads_input(unit, stage) and records.load(INPUTS_STAGE, unit.name, key) is None):
        return None
    try:
        table = from_parquet(records.read(record.artifacts[0]))
    except ArtifactError:
        return None
    return UnitCounts(table=table, **{name: record.numbers[name] for name in _NUMBERS}, reused=True)


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
