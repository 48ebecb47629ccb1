"""The training step, fast: a team of threads over plans, chunks and rows.

The arithmetic is that of `definition`, bit for bit; only who does what, and when,
is decided here. Three phases: plan all steps of the block; then for each step sum
the gradients of its chunks from frozen weights, and add them to the weights.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels import lanes, rows, team
from pipeline.kernels.arithmetic import bounded, step_scale
from pipeline.kernels.compile import kernel
from pipeline.kernels.gradients import TARGETS_AHEAD, form, prepare_tile, weigh
from pipeline.kernels.lanes import LANES
from pipeline.kernels.plan import plan_step

f32, i64, u64 = np.float32, np.int64, np.uint64

MOST_CONTEXTS_AHEAD = 8
"""Targets beyond those whose input vectors are asked for: they are the contexts of the ones before."""
UPDATES_AHEAD = 6
"""Weight rows that are asked for before they are updated."""
UPDATES = 64
"""Weight rows a thread takes at a time when updating."""


COUNTERS_OF_A_STEP = 4
"""Per thread: steps planned, chunks summed, input and output rows updated."""
MEETINGS = 8
"""Counters before those of the steps: the first is of the team's meetings, the rest keep its cache line free."""


@kernel(allocates=False)
def _clear_tile_sums(slots, own, dims):
    for i in range(slots * dims // LANES):
        lanes.store(own.tile, i * LANES, lanes.zero())


@kernel(allocates=False)
def _tile_sums_to_chunk(slots, base, slot_place, own, sums_in, dims):
    """Add the tile sums in own.tile to the chunk sums."""
    nothing = lanes.zero()
    for slot in range(slots):
        place = i64(slot_place[base + slot])
        at = (place >> 1) * dims
        if place & 1:
            for q in range(0, dims, LANES):
                lanes.store(sums_in, at + q, lanes.add(nothing, lanes.load(own.tile, slot * dims + q)))
        else:
            rows.add(sums_in, at, own.tile, slot * dims, dims)


@kernel(allocates=False)
def _sum_chunk(
    begin,
    end,
    step_end,
    loss_wanted_every,
    tiles_before,
    step_rows,
    plan,
    w_in,
    w_out,
    sums_in,
    sums_out,
    own,
    dims,
    lr,
    tau,
    cbow,
    zero_hits,
    tile,
    loss,
    pairs_of_loss,
):
    """Gradients of rows begin..end, from frozen weights: chunk sums, and output rows that are alone."""
    target, offset, _, _ = step_rows
    contexts_ahead = TARGETS_AHEAD + min(own.most_contexts // 2, MOST_CONTEXTS_AHEAD)
    for start in range(begin, end, tile):
        tile_number = tiles_before + (start - begin) // tile
        loss_wanted = tile_number % loss_wanted_every == 0
        slots = i64(plan.slots[start])
        _clear_tile_sums(slots, own, dims)
        own.loss[0] = own.loss[1] = 0.0
        stop = min(start + tile, end)
        hits = prepare_tile(start, stop, step_end, step_rows, plan, own, w_out, sums_out, lr, dims) and zero_hits
        for following in range(start, stop + 1):  # weights of one target, then gradients of the one before
            rows.prefetch(w_in, i64(target[min(following + contexts_ahead, step_end - 1)]) * dims, dims)
            slot = (following - start) & 1
            if following < stop and offset[following + 1] > offset[following]:
                weigh(following, start, slot, step_rows, own, w_in, w_out, dims, cbow, hits, zero_hits, loss_wanted)
            t = following - 1
            if following > start and offset[t + 1] > offset[t]:
                form(t, start, 1 - slot, step_rows, plan, own, w_in, w_out, sums_out, dims, lr, tau, cbow)
        _tile_sums_to_chunk(slots, i64(offset[start]), plan.slot_place, own, sums_in, dims)
        if loss_wanted:
            loss[tile_number // loss_wanted_every] = own.loss[0]
            pairs_of_loss[tile_number // loss_wanted_every] = i64(own.loss[1])


@kernel(allocates=False)
def _update(side, begin, end, last, weights, sums, row_sum, dims, lr, tau):
    """Move weight rows side.row[begin:end] by the sums of their chunk sums, added in chunk order.

    Args:
      last: end of the step's rows in `side`.
      row_sum: float32 [dims], to work in.
    """
    nothing = lanes.zero()
    for i in range(begin, end):
        rows.prefetch(weights, i64(side.row[u64(min(i + UPDATES_AHEAD, last - 1))]) * dims, dims)
        count = side.places[u64(i)]
        at, first, pairs = i64(side.row[u64(i)]) * dims, i64(side.first[u64(i)]) * dims, side.pairs[u64(i)]
        scale, damped = step_scale(pairs, lr, tau), f32(pairs) > tau
        if count == 1 and not damped:  # most rows
            factor = lanes.splat(scale)
            for q in range(0, dims, LANES):
                value = lanes.add(nothing, lanes.load(sums, first + q))
                lanes.store(weights, at + q, lanes.fma(factor, value, lanes.load(weights, at + q)))
            continue
        squares = nothing
        for q in range(0, dims, LANES):
            value = lanes.add(nothing, lanes.load(sums, first + q))
            for j in range(1, count):
                value = lanes.add(value, lanes.load(sums, first + j * dims + q))
            lanes.store(row_sum, q, value)
            squares = lanes.fma(value, value, squares)
        if damped:
            scale = bounded(scale, lanes.total(squares))
        factor = lanes.splat(scale)
        for q in range(0, dims, LANES):
            lanes.store(weights, at + q, lanes.fma(factor, lanes.load(row_sum, q), lanes.load(weights, at + q)))


@kernel(allocates=False)
def _update_side(counters, at, thread, threads, side, first, count, weights, sums, row_sum, dims, lr, tau):
    """This thread's share of side[first : first + count]."""
    tasks = (count + UPDATES - 1) // UPDATES
    number = team.next_task(counters, at, tasks, thread, threads)
    while number < tasks:
        begin = first + number * UPDATES
        last = first + count
        _update(side, begin, min(begin + UPDATES, last), last, weights, sums, row_sum, dims, lr, tau)
        number = team.next_task(counters, at, tasks, thread, threads)


@kernel(allocates=False)
def train(
    thread,
    threads,
    counters,
    step_rows,
    bounds,
    learning_rates,
    tau,
    cbow,
    zero_hits,
    tile,
    chunk,
    loss_tiles,
    w_in,
    w_out,
    dims,
    plan,
    notes,
    sums_in,
    sums_out,
    own,
    loss,
    pairs_of_loss,
):
    """One thread's part of a block of steps; all `threads` of the team must call it.

    Args:
      thread: which one, from 0.
      counters: int64 [MEETINGS + COUNTERS_OF_A_STEP * threads * S], zeros.
      step_rows: (target, offset, context, negatives) as in `Batch`; bounds: int64 [S+1].
      learning_rates: float32 [S]; tau: float32.
      w_in, w_out: float32 [V dims]; dims: a multiple of 16.
      plan: `Plan` of the block; sums_in, sums_out: float32, places of a step times dims.
      notes: int32 [V FIELDS], zeros: this thread's memory for plans; own: its `Scratch`.
      loss, pairs_of_loss: float64, int64 [S, sampled tiles], written.
    """
    mode = lanes.set_float_mode(np.uint32(lanes.DEFAULT_FLOAT_MODE))
    target, offset, context, negatives = step_rows
    steps = len(bounds) - 1
    meeting = 0
    for step in range(steps):
        taken = MEETINGS + COUNTERS_OF_A_STEP * threads * step
        if step % threads == 0:  # so late that the plan is still in the cache when it is followed
            count = min(threads, steps - step)
            number = team.next_task(counters, taken, count, thread, threads)
            while number < count:
                plan_step(step + number, target, offset, context, negatives, bounds, cbow, tile, chunk, notes, plan)
                number = team.next_task(counters, taken, count, thread, threads)
        meeting += 1
        team.meet(counters, 0, threads, meeting)
        lr = learning_rates[step]
        begin, end = bounds[step], bounds[step + 1]
        chunks = (end - begin + chunk - 1) // chunk
        number = team.next_task(counters, taken + threads, chunks, thread, threads)
        while number < chunks:
            start = begin + number * chunk
            _sum_chunk(
                start,
                min(start + chunk, end),
                end,
                loss_tiles,
                number * (chunk // tile),
                step_rows,
                plan,
                w_in,
                w_out,
                sums_in,
                sums_out,
                own,
                dims,
                lr,
                tau,
                cbow,
                zero_hits,
                tile,
                loss[step],
                pairs_of_loss[step],
            )
            number = team.next_task(counters, taken + threads, chunks, thread, threads)
        meeting += 1
        team.meet(counters, 0, threads, meeting)
        ins, outs = plan.sizes[step, 0], plan.sizes[step, 1]
        at_in, at_out = i64(offset[begin]), begin * (negatives.shape[1] + 1)
        at = taken + 2 * threads
        _update_side(counters, at, thread, threads, plan.inputs, at_in, ins, w_in, sums_in, own.e, dims, lr, tau)
        at += threads
        _update_side(counters, at, thread, threads, plan.outputs, at_out, outs, w_out, sums_out, own.e, dims, lr, tau)
    lanes.set_float_mode(mode)
