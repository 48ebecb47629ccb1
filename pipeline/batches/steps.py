"""Blocks of whole training steps, from shards and record batches, which end anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from pipeline.batches.rows import Batch, to_numpy

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class StepBlock:
    """Consecutive steps of one epoch: step first + s is the rows bounds[s]:bounds[s+1] of `batch`."""

    first: int
    batch: Any
    """`Batch`, or what the backend that has made the rows takes for one"""
    bounds: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.bounds) - 1


def blocks_of_steps(
    batches: Iterable[pa.RecordBatch], batch_size: int, first: int, end: int, negatives: int
) -> Iterator[StepBlock]:
    """Blocks that cover steps first..end-1 of an epoch exactly once, in order; a step may be without rows.

    Args:
      batches: record batches in corpus order; rows of steps before `first` are passed over.
      first, end: steps counted within the epoch. Batches behind them are not asked for.
    """
    position, rows = np.empty(0, np.int64), empty_batch(negatives)
    step = first
    for more in batches:
        more_position, more_rows = to_numpy(more)
        if not len(more_position):
            continue
        position, rows = np.concatenate([position, more_position]), join(rows, more_rows)
        complete = min(end, int(position[-1]) // batch_size)  # the step of the last row may go on in the next batch
        if complete > step:
            block, used = _cut(position, rows, step, complete, batch_size)
            yield block
            position, rows = position[used:], part(rows, used, len(position))
            step = complete
        if step == end:
            return
    if step < end:
        yield _cut(position, rows, step, end, batch_size)[0]


def _cut(position: np.ndarray, rows: Batch, first: int, end: int, batch_size: int) -> tuple[StepBlock, int]:
    edges = np.arange(first, end + 1, dtype=np.int64) * batch_size
    bounds = np.searchsorted(position, edges).astype(np.int64)
    block = StepBlock(first, part(rows, bounds[0], bounds[-1]), bounds - bounds[0])
    return block, int(bounds[-1])


def empty_batch(negatives: int) -> Batch:
    return Batch(
        np.empty(0, np.int32), np.zeros(1, np.int32), np.empty(0, np.int32), np.empty((0, negatives), np.int32)
    )


def join(a: Batch, b: Batch) -> Batch:
    """The rows of a, then those of b."""
    if not a.rows:
        return b
    return Batch(
        np.concatenate([a.target, b.target]),
        np.concatenate([a.offset, b.offset[1:] + a.offset[-1]]),
        np.concatenate([a.context, b.context]),
        np.concatenate([a.negatives, b.negatives]),
    )


def part(rows: Batch, begin: int, end: int) -> Batch:
    """Rows begin..end-1, with offsets from 0."""
    offset = rows.offset[begin : end + 1]
    return Batch(
        rows.target[begin:end], offset - offset[0], rows.context[offset[0] : offset[-1]], rows.negatives[begin:end]
    )
