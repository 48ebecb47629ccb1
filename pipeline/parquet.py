"""Tables as the bytes of Parquet objects: the same table gives the same bytes."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ArtifactError


def to_parquet(table: pa.Table, encodings: dict[str, str] | None = None) -> pa.Buffer:
    """The table as Parquet; without dictionaries, which words and ids are too varied for.

    Args:
      encodings: Parquet encoding by the path of a column, where the plain one is not the best.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        column_encoding=encodings,
        write_statistics=False,
        store_schema=True,
    )
    return sink.getvalue()


def from_parquet(data: bytes | pa.Buffer) -> pa.Table:
    """The table of `to_parquet`; ArtifactError where the bytes are none."""
    try:
        return pq.read_table(pa.BufferReader(data), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"not a Parquet table: {error}") from error
