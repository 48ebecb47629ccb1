"""Files in several formats, and what is counted in them."""

from __future__ import annotations

import csv
import io

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batches.tokens import encode_unit
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.work_units import plan_work_units
from pipeline.options import Options
from pipeline.words.counts import count_unit
from pipeline.words.merging import merge_counts
from pipeline.words.vocabulary import Vocabulary, build_vocabulary


def jsonl(path, rows):
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def parquet(path, column, rows, kind=None, group=37, **options):
    array = rows if isinstance(rows, pa.Array) else pa.array(rows, kind)
    pq.write_table(pa.table({column: array, "other": pa.nulls(len(array))}), path, row_group_size=group, **options)
    return path


def counted(files, options, block_bytes=1 << 20):
    """(counts by word, sentences of words, dead letters as rows, good and bad lines)"""
    reader = open_reader(options, files)
    sources = [cut(reader, file, reader.source(file), block_bytes) for file in files]
    units = plan_work_units(sources, block_bytes)
    counts = [count_unit(unit, reader) for unit in units]
    table = build_vocabulary([merge_counts([count.table for count in counts])], 1)
    vocabulary = Vocabulary.from_table(table)
    encoded = [encode_unit(unit, vocabulary, reader, count.fingerprint) for unit, count in zip(units, counts)]
    shards = [unit.table["tokens"].to_pylist() for unit in encoded]
    words = vocabulary.words.to_pylist()
    sentences = [[words[i] for i in sentence] for shard in shards for sentence in shard]
    dead = [row for count in counts for row in count.dead_letters.table().to_pylist()]
    return sentences, dead, sum(count.lines for count in counts)


def cut(reader, file, source, block_bytes):
    """The source with its cuts, as a run finds them."""
    is_cut = source is not None and source.cuts is not None and source.size > block_bytes
    return source._replace(cuts=reader.cuts(file)) if is_cut else source


def csv_file(path, rows, header=("id", "text"), **dialect):
    """A CSV file with LF for line ends, as Python's csv writes it."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n", **dialect).writerows([header, *rows] if header else rows)
    path.write_text(out.getvalue(), encoding="utf-8", newline="")
    return path


def options(format, field="text", **more):
    return Options.checked({"input_format": format, "field": field, **more})
