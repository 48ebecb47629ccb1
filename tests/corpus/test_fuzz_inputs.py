"""Random and mutated files end in a result or in one clear error, never in a crash or a hang."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pathlib
import tempfile
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.corpus.files import match_inputs
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.unpacking import unpack
from pipeline.corpus.work_units import plan_work_units
from pipeline.errors import InputError
from pipeline.options import Options
from pipeline.words.counts import count_unit
from tests.helpers.formats import cut
from tests.helpers.unpacking import text_commits

LINES = [f"some words of line {i % 13} 한국어" for i in range(300)]
SOME = LINES[:60]
"""Enough where the text is not in pages with rows."""
TEXT = "\n".join(SOME).encode()
CSV = b"id,text\n" + b"\n".join(b'%d,"%s\nof ""two"" lines"' % (i, line.encode()) for i, line in enumerate(SOME))
ROWS = b"\n".join(orjson.dumps({"a": {"b": line.split()}}) for line in SOME)


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


def parquet(column, **options) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": column, "z": [1] * len(column)}), sink, row_group_size=100, **options)
    return sink.getvalue()


FILES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "text": (TEXT, {}),
    "unicode_words": (TEXT, {"tokenizer": "unicode_words", "lowercase": True, "normalize": "nfkc"}),
    "characters": (TEXT, {"tokenizer": "characters"}),
    "gzip": (gzip.compress(TEXT), {}),
    "bzip2": (bz2.compress(TEXT), {}),
    "xz": (lzma.compress(TEXT), {}),
    "zstd": (zstd(TEXT), {}),
    "jsonl": (ROWS, {"input_format": "jsonl", "field": "a.b"}),
    "csv": (CSV, {"input_format": "csv", "field": "2"}),
    "packed csv": (gzip.compress(CSV), {"input_format": "csv", "field": "2", "separator": ","}),
    "packed jsonl": (gzip.compress(ROWS), {"input_format": "jsonl", "field": "a.b"}),
    "parquet": (parquet(LINES), {"input_format": "parquet", "field": "a"}),
    "plain parquet": (
        parquet(LINES, compression="none", use_dictionary=False),
        {"input_format": "parquet", "field": "a"},
    ),
    "lists": (parquet([line.split() for line in LINES]), {"input_format": "parquet", "field": "a"}),
    "integers": (parquet([[i, i % 7] for i in range(300)]), {"input_format": "parquet", "field": "a"}),
}


def tokens_of(data: bytes, values: dict, allow_truncated: bool) -> int:
    """Reads a file as the job does, in units of 300 bytes; the number of its tokens."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "file")
        path.write_bytes(data)
        files = match_inputs([str(path)])
        options = Options.checked({"block_bytes": 300, "max_line_bytes": 2000, **values})
        reader = open_reader(options, files)
        reader.preview(files[0])
        source = reader.source(files[0])
        if source is None:
            commits = text_commits(str(path) + "-run")
            ends = reader.ends()
            text = unpack(commits, files[0], 0, options.max_line_bytes, 400, allow_truncated, ends)
            sources = list(text.sources)
        else:
            sources = [cut(reader, files[0], source, options.block_bytes)]
        return sum(count_unit(unit, reader).tokens for unit in plan_work_units(sources, options.block_bytes))


def outcome(data: bytes, values: dict, allow_truncated: bool) -> str:
    try:
        return f"{tokens_of(data, values, allow_truncated)} tokens"
    except InputError as error:
        return str(error)


@st.composite
def mutations(draw, data):
    """The file with some bytes changed, cut out, doubled or put in."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(0, 20))
        new = draw(st.binary(max_size=20) | st.just(data[at : at + length] * 2) | st.just(b"\0"))
        data = data[:at] + new + data[at + length :]
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


@pytest.mark.parametrize("name", FILES)
@given(st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_a_mutated_file_ends_in_a_result_or_a_clear_error(name, data):
    whole, values = FILES[name]
    message = outcome(data.draw(mutations(whole)), values, data.draw(st.booleans()))
    assert len(message) < 1000
    assert "\n" not in message


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: b"PAR1" + data + b"PAR1"))
@settings(deadline=None, max_examples=100)
def test_random_bytes_end_in_a_result_or_a_clear_error(data):
    for values in ({}, {"tokenizer": "unicode_words"}, FILES["jsonl"][1], FILES["parquet"][1]):
        assert len(outcome(data, values, False)) < 1000


@pytest.mark.parametrize("name", FILES)
def test_the_whole_file_is_read(name):
    values = FILES[name][1]
    characters = sum(len(line.replace(" ", "")) for line in SOME)
    in_rows = dict.fromkeys(("csv", "packed csv"), 9 * len(SOME))
    expected = {**in_rows, "integers": 600, "characters": characters}
    words = 6 * len(LINES if values.get("input_format") == "parquet" else SOME)
    assert tokens_of(*FILES[name], False) == expected.get(name, words)
