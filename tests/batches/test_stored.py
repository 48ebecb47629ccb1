"""Stored batches: row groups that readers like, and that come back row for row."""

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from pipeline.batches import rows as batches
from pipeline.batches import stored as stored_rows
from pipeline.batches.rows import generate_rows, to_numpy
from pipeline.batches.sampling import Sampling
from tests.helpers.training_rows import tables_of


def test_stored_batches_come_back_row_for_row(tmp_path):
    tables, sampling = tables_of([50, 40, 30, 20, 10]), Sampling(5, 4, "distinct", 1)
    tokens = np.random.default_rng(1).integers(0, 5, 3000).astype(np.int32)
    sentences = np.arange(0, 3001, 30)
    parts = [generate_rows(tokens, sentences[i : i + 51], 30 * i, tables, sampling, 2) for i in (0, 50)]
    back = list(stored_rows.read_batches(stored_rows.write_batches(iter(parts), 4)))
    assert pa.Table.from_batches(back).equals(pa.Table.from_batches(parts))
    sliced = parts[0].slice(7, 20)
    position, rows = to_numpy(sliced)
    assert [rows.context[a:b].tolist() for a, b in zip(rows.offset, rows.offset[1:])] == [
        r["context"] for r in sliced.to_pylist()
    ]
    assert rows.negatives.tolist() == [r["negatives"] for r in sliced.to_pylist()]
    assert position.tolist() == [r["position"] for r in sliced.to_pylist()]


def test_a_shard_without_rows_can_be_stored():
    tables, sampling = tables_of([50, 40]), Sampling(5, 1, "any", 1)
    alone = generate_rows(np.zeros(3, np.int32), np.arange(4), 0, tables, sampling, 0)  # sentences of one word
    assert alone.num_rows == 0
    for none in ([], [alone], [alone, alone]):
        assert list(stored_rows.read_batches(stored_rows.write_batches(iter(none), 1))) == []


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3000), max_size=6), st.integers(0, 3000), st.integers(0, 3000))
def test_a_stretch_of_stored_batches_is_whole_and_little_more(cuts, first, end):
    tables, sampling = tables_of([50, 40, 30, 20, 10]), Sampling(5, 4, "distinct", 1)
    tokens = np.random.default_rng(1).integers(0, 5, 3000).astype(np.int32)
    whole = generate_rows(tokens, np.arange(0, 3001, 30), 0, tables, sampling, 2)
    edges = [0, *sorted(min(cut, whole.num_rows) for cut in cuts), whole.num_rows]
    parts = [whole.slice(a, b - a) for a, b in zip(edges, edges[1:])]  # some of them empty
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_rows, "GROUP_ROWS", 1)  # a row group a part
        stored = stored_rows.write_batches(iter(parts), 4)
    found = [batch["position"].to_numpy() for batch in stored_rows.read_batches(stored, first, end)]
    positions = whole["position"].to_numpy()
    wanted = positions[(positions >= first) & (positions < end)]
    joined = np.concatenate([np.empty(0, np.int64), *found])
    assert joined[(joined >= first) & (joined < end)].tolist() == wanted.tolist()
    assert all(part[-1] >= first and part[0] < end for part in found)
    for last in (int(part["position"][-1].as_py()) for part in parts if len(part)):  # the only one of its group
        assert last in [
            row for batch in stored_rows.read_batches(stored, last, last + 1) for row in batch["position"].to_pylist()
        ]


@pytest.mark.parametrize(
    ("contexts", "rows", "groups"),
    [(2, 30_000, [90_000, 90_000, 20_000]), (40, 30_000, [90_000, 90_000, 20_000]), (1000, 4096, [8192, 8192, 3616])],
)
def test_row_groups_are_of_a_size_that_readers_like(contexts, rows, groups):
    total = sum(groups)
    parts = [batch_of(begin, min(total, begin + rows), contexts) for begin in range(0, total, rows)]
    data = stored_rows.write_batches(parts, 5)
    file = pq.ParquetFile(pa.BufferReader(data))
    found = [file.metadata.row_group(n) for n in range(file.num_row_groups)]
    assert [group.num_rows for group in found] == groups
    position = file.schema_arrow.get_field_index("position")
    limits = [group.column(position).statistics for group in found]
    assert [(limit.min, limit.max) for limit in limits][:2] == [(0, groups[0] - 1), (groups[0], sum(groups[:2]) - 1)]
    assert pa.Table.from_batches(stored_rows.read_batches(data)).equals(pa.Table.from_batches(parts))


def batch_of(begin: int, end: int, contexts: int) -> pa.RecordBatch:
    fields, rows = batches.schema(5), end - begin
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * contexts)
    values = pa.array(np.zeros(rows * contexts, np.int32))
    negatives = pa.array(np.zeros(rows * 5, np.int32))
    columns = [
        pa.array(np.arange(begin, end)),
        pa.ListArray.from_arrays(offsets, values, type=fields.field("context").type),
        pa.array(np.zeros(rows, np.int32)),
        pa.FixedSizeListArray.from_arrays(negatives, type=fields.field("negatives").type),
    ]
    return pa.record_batch(columns, schema=fields)
