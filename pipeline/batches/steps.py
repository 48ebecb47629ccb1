"""Blocks of whole training steps, from shards and record batches, which end anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from pipeline.batches.rows import Rows, to_numpy

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class StepRange:
    """Consecutive steps of one epoch: step first + s is the rows bounds[s]:bounds[s+1] of `rows`."""

    first: int
    rows: Any
    """`Rows`, or what the backend that has made the rows takes for one"""
    bounds: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.bounds) - 1


def step_ranges(
    batches: Iterable[pa.RecordBatch], batch_size: int, first: int, end: int, negatives: int
) -> Iterator[StepRange]:
    """Blocks that cover steps first..end-1 of an epoch exactly once, in order; a step may be without rows.

    Args:
      batches: record batches in corpus order; rows of steps before `first` are passed over.
      first, end: steps counted within the epoch. Batches behind them are not asked for.
    """
    position, rows = np.empty(0, np.int64), empty_rows(negatives)
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


def _cut(position: np.ndarray, rows: Rows, first: int, end: int, batch_size: int) -> tuple[StepRange, int]:
    edges = np.arange(first, end + 1, dtype=np.int64) * batch_size
    bounds = np.searchsorted(position, edges).astype(np.int64)
    block = StepRange(first, part(rows, bounds[0], bounds[-1]), bounds - bounds[0])
    return block, int(bounds[-1])


def empty_rows(negatives: int) -> Rows:
    return Rows(np.empty(0, np.int32), np.zeros(1, np.int32), np.empty(0, np.int32), np.empty((0, negatives), np.int32))


def join(a: Rows, b: Rows) -> Rows:
    """The rows of a, then those of b."""
    if not a.size:
        return b
    return Rows(
        np.concatenate([a.target, b.target]),
        np.concatenate([a.offset, b.offset[1:] + a.offset[-1]]),
        np.concatenate([a.context, b.context]),
        np.concatenate([a.negatives, b.negatives]),
    )


def part(rows: Rows, begin: int, end: int) -> Rows:
    """Rows begin..end-1, with offsets from 0."""
    offset = rows.offset[begin : end + 1]
    return Rows(
        rows.target[begin:end], offset - offset[0], rows.context[offset[0] : offset[-1]], rows.negatives[begin:end]
    )
