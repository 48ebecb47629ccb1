"""Stored batches: rows in Parquet, with their names, paths and row groups."""

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
"""Size of a row group of stored batches, which is what a reader gets at once and can skip."""


def stored_name(epoch: int, shard: int) -> str:
    """The name of the record of a shard's stored batches; `stored_place` reads it."""
    return f"epoch={epoch:05d}-shard-{shard:09d}"


def stored_path(epoch: int, shard: int) -> str:
    """Their path in the folder of the stage."""
    return f"epoch={epoch:05d}/shard-{shard:09d}.parquet"


@dataclasses.dataclass(frozen=True)
class BatchNumbers:
    """What is recorded of the stored batches of a shard in one epoch."""

    epoch: Number
    positions: Number


def stored_place(name: str) -> tuple[int, int] | None:
    """(epoch, shard) from the name of a record; None if it is not one of stored batches."""
    match = _STORED.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def stored_batches(records: Records, key: str, shard: int, epochs: int = MAX_EPOCHS) -> tuple[Artifact, ...]:
    """The stored batches of a shard: one artefact for each of its first epochs, up to the first that is missing.

    Raises:
      ArtifactError: they are in the output of another run, and missing there or of another size.
    """
    artifacts: list[Artifact] = []
    while len(artifacts) < epochs and (record := records.valid(STAGE, stored_name(len(artifacts), shard), key)):
        artifacts.append(record.artifact)
    return tuple(artifacts)


def write_batches(batches: Iterable[pa.RecordBatch], negatives: int) -> pa.Buffer:
    """Parquet of a shard's batches of one epoch, in the groups of `row_groups`.

    Statistics of `position` let readers skip row groups.
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
    """Groups of consecutive batches, each closed when it reaches GROUP_ROWS rows or GROUP_BYTES bytes.

    So groups have about that size, however few rows subsampling leaves, or however many contexts a row has. Batches
    without rows are left out.
    """
    group: list[pa.RecordBatch] = []
    for batch in batches:
        if not len(batch):  # Parquet has no row groups without rows
            continue
        group.append(batch)
        if sum(map(len, group)) >= GROUP_ROWS or sum(batch_of_group.nbytes for batch_of_group in group) >= GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group


def read_batches(data: bytes | pa.Buffer, first: int = 0, end: int = MAX_POSITION) -> Iterator[pa.RecordBatch]:
    """The rows of `write_batches`, row group by row group, without groups that have no position first..end-1."""
    file = pq.ParquetFile(pa.BufferReader(data))
    for group in range(file.num_row_groups):
        positions = file.metadata.row_group(group).column(0).statistics
        if positions.max >= first and positions.min < end:
            yield from file.read_row_group(group).combine_chunks().to_batches()
