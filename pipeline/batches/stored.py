"""Rows in Parquet: their names, paths and row groups."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batches.rows import schema
from pipeline.options import MAX_EPOCHS, MAX_POSITION
from pipeline.storage.records import Artifact, Number, Records

STAGE = "batches"
_STORED = re.compile(r"epoch=(\d{5})-shard-(\d{9})")
GROUP_ROWS, GROUP_BYTES = 1 << 16, 16 << 20
"""Of a row group of stored batches: what a reader gets at once, and what it can skip."""


def stored_name(epoch: int, shard: int) -> str:
    """The name of the record of a shard's stored batches; `stored_place` reads it."""
    return f"epoch={epoch:05d}-shard-{shard:09d}"


def stored_path(epoch: int, shard: int) -> str:
    """Where they lie in the folder of the stage."""
    return f"epoch={epoch:05d}/shard-{shard:09d}.parquet"


@dataclasses.dataclass(frozen=True)
class BatchNumbers:
    """What is recorded of a shard's stored batches of one epoch."""

    epoch: Number
    positions: Number


def stored_place(name: str) -> tuple[int, int] | None:
    """(epoch, shard) of a record's name; None if it is none of stored batches."""
    match = _STORED.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def stored_batches(records: Records, key: str, shard: int, epochs: int = MAX_EPOCHS) -> tuple[Artifact, ...]:
    """The batches of a shard that are stored: of its first epochs, up to the first that is missing.

    Raises:
      ArtifactError: they lie in the output of another run, and are missing there or of another size.
    """
    found: list[Artifact] = []
    while len(found) < epochs and (record := records.valid(STAGE, stored_name(len(found), shard), key)):
        found.append(record.artifacts[0])
    return tuple(found)


def write_batches(batches: Iterable[pa.RecordBatch], negatives: int) -> pa.Buffer:
    """Parquet of a shard's batches of one epoch, in row groups of `row_groups`.

    Statistics of `position` let readers pass over what they do not want.
    """
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        schema(negatives),
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        write_statistics=["position"],
    ) as writer:
        for group in row_groups(batches):
            writer.write_table(pa.Table.from_batches(group), row_group_size=sum(map(len, group)))
    return sink.getvalue()


def row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Consecutive batches that have rows, put together up to GROUP_ROWS rows or GROUP_BYTES bytes, at least one each.

    Neither is passed by more than one batch, however few rows subsampling leaves, or however many
    contexts a row has.
    """
    group: list[pa.RecordBatch] = []
    for batch in batches:
        if not len(batch):  # Parquet knows no row group without rows
            continue
        group.append(batch)
        if sum(map(len, group)) >= GROUP_ROWS or sum(one.nbytes for one in group) >= GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group


def read_batches(data: bytes | pa.Buffer, first: int = 0, end: int = MAX_POSITION) -> Iterator[pa.RecordBatch]:
    """The rows that `write_batches` wrote, row group by row group; of those with a position first..end-1."""
    file = pq.ParquetFile(pa.BufferReader(data))
    for group in range(file.num_row_groups):
        positions = file.metadata.row_group(group).column(0).statistics
        if positions.max >= first and positions.min < end:
            yield from file.read_row_group(group).combine_chunks().to_batches()
