"""Adaptive summation: what several replicas learned about a row, as one move of that row."""

from __future__ import annotations

import numpy as np

from pipeline.kernels import lanes
from pipeline.kernels.compile import kernel

f32 = np.float32

WHOLE_MOVE = f32(1)
"""Up to this length (Euclidean) the sum of the replicas' moves is taken as it is, whether they agree or not. It is
as far as a damped row may move in one training step (`arithmetic.MOST_MOVE`)."""


@kernel(allocates=False)
def add_moves(base, ids, rows, dims, total, squares):
    """Add one replica's moves to those of the replicas before it.

    Args:
      base: float32 [n dims], dims a multiple of 16 (padded with zeros): the rows that all replicas began with.
      ids: int32 [m]: which of them the replica changed.
      rows: float32 [m dims]: what it made of them.
      total: float32 [n dims], gets the sum of the moves; squares: float32 [n], that of their squared lengths.
    """
    mode = lanes.set_float_mode(np.uint32(lanes.DEFAULT_FLOAT_MODE))
    for i in range(len(ids)):
        at, own = np.int64(ids[i]) * dims, i * dims
        sums = lanes.zero()
        for q in range(0, dims, lanes.LANES):
            # The replicas' moves are added in their order: the caller hands them over in it.
            move = lanes.subtract(lanes.load(rows, own + q), lanes.load(base, at + q))
            lanes.store(total, at + q, lanes.add(lanes.load(total, at + q), move))
            sums = lanes.fma(move, move, sums)
        squares[ids[i]] += lanes.total(sums)
    lanes.set_float_mode(mode)


@kernel(allocates=False)
def move_rows(rows, dims, total, squares, replicas):
    """Move each row by its share of the sum of moves, in place: see `share`.

    Args:
      rows: float32 [n dims], dims a multiple of 16; total, squares: of `add_moves`, from all replicas.
    """
    mode = lanes.set_float_mode(np.uint32(lanes.DEFAULT_FLOAT_MODE))
    for i in range(len(squares)):
        if squares[i] == f32(0):
            continue
        at = i * dims
        sums = lanes.zero()
        for q in range(0, dims, lanes.LANES):
            value = lanes.load(total, at + q)
            sums = lanes.fma(value, value, sums)
        factor = lanes.splat(share(lanes.total(sums), squares[i], replicas))
        for q in range(0, dims, lanes.LANES):
            lanes.store(rows, at + q, lanes.fma(factor, lanes.load(total, at + q), lanes.load(rows, at + q)))
    lanes.set_float_mode(mode)


@kernel(allocates=False)
def share(together, apart, replicas):
    """How much of the sum of its moves a row makes.

    All of it up to WHOLE_MOVE; beyond that 1 / clip(together / apart, 1, replicas), which is 1 where the moves
    are at right angles and 1 / replicas where they are the same (adaptive summation, Maleki et al. 2020),
    but never less than what takes the row as far as WHOLE_MOVE.

    Args:
      together: float32, squared length of the sum of the moves; apart: the sum of their squared lengths, above 0.
    """
    length = np.sqrt(together)
    if length <= WHOLE_MOVE:
        return f32(1)
    agreement = min(max(together / apart, f32(1)), f32(replicas))
    return max(f32(1) / agreement, WHOLE_MOVE / length)
