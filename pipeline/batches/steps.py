"""Step ranges: whole training steps, cut from batches, which end anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.batches.rows import Rows, to_numpy


@dataclasses.dataclass(frozen=True)
class StepRange:
    """Consecutive steps of one epoch: step first + s is the rows bounds[s]:bounds[s + 1] of `rows`."""

    first: int
    rows: Any
    """`Rows`, or the rows in the form in which a `GeneratingBackend` makes them"""
    bounds: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.bounds) - 1


def step_ranges(
    batches: Iterable[pa.RecordBatch], batch_size: int, first: int, end: int, negatives: int
) -> Iterator[StepRange]:
    """Step ranges that cover the steps first..end-1 of an epoch once, in order; a step may have no rows.

    Args:
      batches: in corpus order; rows of steps before `first` are skipped.
      first, end: steps, counted within the epoch. Batches behind them are not read.
    """
    position, rows = np.empty(0, np.int64), empty_rows(negatives)
    step = first
    for batch in batches:
        more_position, more_rows = to_numpy(batch)
        if not len(more_position):
            continue
        position, rows = np.concatenate([position, more_position]), join(rows, more_rows)
        complete = min(end, int(position[-1]) // batch_size)  # the step of the last row may continue in the next batch
        if complete > step:
            steps, used = _cut(position, rows, step, complete, batch_size)
            yield steps
            position, rows = position[used:], slice_rows(rows, used, len(position))
            step = complete
        if step == end:
            return
    if step < end:
        yield _cut(position, rows, step, end, batch_size)[0]


def _cut(position: np.ndarray, rows: Rows, first: int, end: int, batch_size: int) -> tuple[StepRange, int]:
    edges = np.arange(first, end + 1, dtype=np.int64) * batch_size
    bounds = np.searchsorted(position, edges).astype(np.int64)
    block = StepRange(first, slice_rows(rows, bounds[0], bounds[-1]), bounds - bounds[0])
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


def slice_rows(rows: Rows, begin: int, end: int) -> Rows:
    """Rows begin..end-1, with offsets from 0."""
    offset = rows.offset[begin : end + 1]
    return Rows(
        rows.target[begin:end], offset - offset[0], rows.context[offset[0] : offset[-1]], rows.negatives[begin:end]
    )
