"""Adaptive summation: the moves that several replicas made of one weight row, merged into one move."""

from __future__ import annotations

import numpy as np

from pipeline.kernels import lanes
from pipeline.kernels.compile import kernel

f32 = np.float32

WHOLE_MOVE = f32(1)
"""A sum of the replicas' moves up to this length (Euclidean) is taken whole, whether they agree or not. A damped row
may move as far in one training step (`arithmetic.MOST_MOVE`)."""


@kernel(allocates=False)
def add_moves(base, ids, rows, dims, total, squares):
    """Add one replica's moves to the sum of those of the replicas before it.

    Args:
      base: float32 [n dims], dims a multiple of 16 (padded with zeros): the rows that all replicas began with.
      ids: int32 [m]: which rows the replica changed.
      rows: float32 [m dims]: these rows after its training.
      total: float32 [n dims], gets the sum of the moves; squares: float32 [n], that of their squared lengths.
    """
    mode = lanes.set_float_mode(np.uint32(lanes.DEFAULT_FLOAT_MODE))
    for i in range(len(ids)):
        at, own = np.int64(ids[i]) * dims, i * dims
        sums = lanes.zero()
        for q in range(0, dims, lanes.LANES):
            # Float addition depends on its order: the caller calls this in the order of the replicas.
            move = lanes.subtract(lanes.load(rows, own + q), lanes.load(base, at + q))
            lanes.store(total, at + q, lanes.add(lanes.load(total, at + q), move))
            sums = lanes.fma(move, move, sums)
        squares[ids[i]] += lanes.total(sums)
    lanes.set_float_mode(mode)


@kernel(allocates=False)
def move_rows(rows, dims, total, squares, replicas):
    """Move each row by its share of the sum of moves, in place; `share` has the formula.

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
def share(of_sum, of_moves, replicas):
    """The factor by which the sum of a row's moves is multiplied.

    Where the sum is longer than WHOLE_MOVE, it is 1 / clip(of_sum / of_moves, 1, replicas): 1 where the moves are at
    right angles, and 1 / replicas where they are all the same (adaptive summation, Maleki et al. 2020). The row still
    moves by at least WHOLE_MOVE. A shorter sum is taken whole.

    Args:
      of_sum: float32, squared length of the sum of the moves.
      of_moves: float32, sum of the squared lengths of the moves; above 0.
    """
    length = np.sqrt(of_sum)
    if length <= WHOLE_MOVE:
        return f32(1)
    agreement = min(max(of_sum / of_moves, f32(1)), f32(replicas))
    return max(f32(1) / agreement, WHOLE_MOVE / length)
