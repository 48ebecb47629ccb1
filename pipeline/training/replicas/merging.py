"""The changes that replicas make to a partition of the vocabulary: how they are stored and merged."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.backends.backend import padded
from pipeline.kernels import merge as kernels
from pipeline.model.checkpoints import vector_lists, vector_type, vectors_of
from pipeline.model.model import BLOCK_ROWS

Changes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(rows of the partition, int32 [m]; their input and output vectors after a replica's training, float32 [m, dims])."""


def merge_rows(
    w_in: np.ndarray, w_out: np.ndarray, changes: Iterable[Changes], replicas: int
) -> tuple[np.ndarray, np.ndarray]:
    """Adaptive summation of the changes of several replicas; `kernels.merge.share` has the formula.

    Args:
      w_in, w_out: float32 [n, dims], the weights that all replicas began with.
      changes: one for each replica, in their order; rows that are not in it were not changed.
      replicas: number of replicas.

    Returns:
      (input vectors, output vectors), float32 [n, dims] each.
    """
    n, dims = w_in.shape
    merged = [padded(weights).reshape(-1) for weights in (w_in, w_out)]
    width = len(merged[0]) // max(1, n)
    totals = [np.zeros_like(weights) for weights in merged]
    squares = [np.zeros(n, np.float32) for _ in merged]
    for rows, *changed in changes:
        for weights, total, square, matrix in zip(merged, totals, squares, changed):
            kernels.add_moves(weights, rows, padded(matrix).reshape(-1), width, total, square)
    for weights, total, square in zip(merged, totals, squares):
        kernels.move_rows(weights, width, total, square, replicas)
    w_in, w_out = (weights.reshape(n, width)[:, :dims] for weights in merged)
    return w_in, w_out


def changes_to_parquet(ids: np.ndarray, w_in: np.ndarray, w_out: np.ndarray) -> pa.Buffer:
    vector = vector_type(w_in.shape[1])
    kinds = {"id": pa.int32(), "input": vector, "output": vector}
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])
    table = pa.table([ids.astype(np.int32), vector_lists(w_in), vector_lists(w_out)], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="none", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def read_changes(data: bytes, dims: int, index: int) -> Changes:
    table = pq.read_table(pa.BufferReader(data), use_threads=False)
    w_in, w_out = (vectors_of(table[name].combine_chunks(), dims) for name in ("input", "output"))
    return table["id"].to_numpy() - np.int32(index * BLOCK_ROWS), w_in, w_out
