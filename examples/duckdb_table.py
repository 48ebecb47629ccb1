"""Training rows from a table of DuckDB, by transforms in a pipeline of your own.

    python -m examples.duckdb_table texts.duckdb articles body rows

Reads the column `body` of the table `articles`, a sentence a row: text, or a list of words. Writes the words as text
(rows/words-*.txt, word i in line i) and the training rows as Parquet (rows/batches-*.parquet). For BigQuery, take
`beam.io.ReadFromBigQuery(query="SELECT body FROM ...")` in place of `read`: all else stays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import duckdb

from pipeline.batches.rows import schema
from transforms import CountWords, GenerateBatches, UnigramDistribution

ROWS = 10_000
"""Rows that a worker reads at a time."""
MIN_COUNT, NEGATIVES = 2, 5


def main(arguments: Sequence[str]) -> None:
    if len(arguments) < 4:
        sys.exit("usage: python -m examples.duckdb_table DATABASE TABLE COLUMN FOLDER [BEAM OPTIONS]")
    database, table, column, folder, *options = arguments
    with beam.Pipeline(argv=options or ["--runner=FnApiRunner"]) as pipeline:
        starts = pipeline | beam.Create(range(0, rows_of(database, table), ROWS)) | beam.Reshuffle()
        sentences = starts | "Read" >> beam.FlatMap(read, database, table, column)
        counts = sentences | CountWords() | beam.Filter(lambda counted: counted[1] >= MIN_COUNT)
        unigram = counts | UnigramDistribution()
        batches = sentences | GenerateBatches(unigram, window=5, negatives=NEGATIVES, seed=1)
        words = unigram | beam.FlatMap(lambda made: ["\n".join(made.words.to_pylist())])
        _ = words | beam.io.WriteToText(f"{folder}/words", ".txt")
        rows = batches | "Rows" >> beam.FlatMap(lambda batch: batch.to_pylist())
        _ = rows | beam.io.WriteToParquet(f"{folder}/batches", schema(NEGATIVES), file_name_suffix=".parquet")


def rows_of(database: str, table: str) -> int:
    with duckdb.connect(database, read_only=True) as connection:
        return int(connection.execute(f"SELECT coalesce(max(rowid) + 1, 0) FROM {table}").fetchall()[0][0])


def read(start: int, database: str, table: str, column: str) -> Iterator[Any]:
    """The sentences of ROWS rows."""
    with duckdb.connect(database, read_only=True) as connection:
        query = f"SELECT {column} FROM {table} WHERE rowid BETWEEN ? AND ? AND {column} IS NOT NULL ORDER BY rowid"
        for (sentence,) in connection.execute(query, [start, start + ROWS - 1]).fetchall():
            yield sentence


if __name__ == "__main__":
    if sys.argv[1:2] in (["--help"], ["-h"]):
        sys.exit(print(__doc__))
    main(sys.argv[1:])
