"""Tables as the bytes of Parquet objects: the same table gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ArtifactError
from pipeline.runtime.shown_text import shown
from pipeline.storage.storage import Storage

FORM: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": False,
    "write_statistics": False,
    "store_schema": True,
}
"""How all tables are written that only this project has to read fast."""
_GROUPS = b"beam2vec groups"


def to_parquet(table: pa.Table, encodings: dict[str, str] | None = None, group_rows: int | None = None) -> pa.Buffer:
    """The table as Parquet, without dictionaries: words and ids are too varied for them.

    Args:
      encodings: column path -> Parquet encoding, for columns where another than the plain one is better.
      group_rows: of a row group, for large tables: a group is in memory once more while it is written.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=group_rows, column_encoding=encodings, **FORM)
    return sink.getvalue()


def from_parquet(data: bytes | pa.Buffer, schema: pa.Schema | None = None, name: str = "") -> pa.Table:
    """The table of `to_parquet`; ArtifactError if the bytes are not Parquet, or not of this schema.

    Args:
      name: of the artefact, for the message.
    """
    try:
        table = pq.read_table(pa.BufferReader(data), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"{f'{name} is ' if name else ''}not a Parquet table: {shown(error)}") from error
    if schema is not None and not table.schema.equals(schema):
        raise ArtifactError(f"{f'{name} is ' if name else ''}not a table of {', '.join(schema.names)}")
    return table


def groups_to_parquet(
    groups: Iterable[tuple[int, pa.Table]], schema: pa.Schema, encodings: dict[str, str] | None = None
) -> pa.Buffer:
    """Numbered tables as row groups, for `read_group`; with checksums, since readers read a part of the file."""
    sink, numbers = pa.BufferOutputStream(), []
    with pq.ParquetWriter(sink, schema, write_page_checksum=True, column_encoding=encodings, **FORM) as writer:
        for number, table in groups:
            writer.write_table(table, row_group_size=table.num_rows)
            numbers.append(number)
        writer.add_key_value_metadata({_GROUPS: json.dumps(numbers)})
    return sink.getvalue()


def read_group(storage: Storage, path: str, number: int) -> pa.Table | None:
    """The table of this number, or None if there is none; ArtifactError where the file is damaged."""
    try:
        with storage.open(path) as file:
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
            numbers = json.loads(parquet.metadata.metadata[_GROUPS])
            return parquet.read_row_group(numbers.index(number), use_threads=False) if number in numbers else None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise ArtifactError(
            f"{storage.uri(path)} is damaged ({shown(error)}): delete it and start the run again, which makes it again"
        ) from error
