"""The training step, fast: a team of threads over plans, chunks and weight_rows.

The arithmetic is that of `definition`, bit for bit; only who does what, and when,
is decided here. Three phases: plan all steps of the block; then for each step sum
the gradients of its chunks from frozen weights, and add them to the weights.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels import lanes, team, weight_rows
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


def new_counters(threads: int, steps: int) -> np.ndarray:
    """The counters of a team's `Member`s for so many steps."""
    return np.zeros(team.FIRST_TASKS + COUNTERS_OF_A_STEP * threads * steps, i64)


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
            weight_rows.add(sums_in, at, own.tile, slot * dims, dims)


@kernel(allocates=False)
def _sum_chunk(step, number, block, own):
    """Gradients of the rows of a step's chunk, from frozen weights: chunk sums, and output rows that are alone.

    Args:
      block: `Block`; own: `Scratch`.
    """
    target, offset, _, _ = block.rows
    rules, weights, lr = block.rules, block.weights, block.learning_rates[step]
    tile, dims, step_end = rules.tile, weights.dims, block.bounds[step + 1]
    begin = block.bounds[step] + number * rules.chunk
    end = min(begin + rules.chunk, step_end)
    contexts_ahead = TARGETS_AHEAD + min(own.most_contexts // 2, MOST_CONTEXTS_AHEAD)
    for start in range(begin, end, tile):
        tile_number = number * (rules.chunk // tile) + (start - begin) // tile
        loss_wanted = tile_number % rules.loss_tiles == 0
        slots = i64(block.plan.slots[start])
        _clear_tile_sums(slots, own, dims)
        own.loss[0] = own.loss[1] = 0.0
        stop = min(start + tile, end)
        hits = prepare_tile(start, stop, step_end, block, own, lr) and rules.zero_hits
        # One turn more than there are targets: it weighs `following` and forms the target before. `gradients` says why.
        for following in range(start, stop + 1):
            weight_rows.prefetch(weights.w_in, i64(target[min(following + contexts_ahead, step_end - 1)]) * dims, dims)
            slot = (following - start) & 1
            if following < stop and offset[following + 1] > offset[following]:
                weigh(following, start, slot, block, own, hits, loss_wanted)
            t = following - 1
            if following > start and offset[t + 1] > offset[t]:
                form(t, start, 1 - slot, block, own, lr)
        _tile_sums_to_chunk(slots, i64(offset[start]), block.plan.slot_place, own, block.sums.inputs, dims)
        if loss_wanted:
            block.loss.total[step, tile_number // rules.loss_tiles] = own.loss[0]
            block.loss.pairs[step, tile_number // rules.loss_tiles] = i64(own.loss[1])


@kernel(allocates=False)
def _update(side, begin, end, last, weights, sums, row_sum, dims, lr, tau):
    """Move weight rows side.row[begin:end] by the sums of their chunk sums, added in chunk order.

    Args:
      last: end of the step's rows in `side`.
      row_sum: float32 [dims], to work in.
    """
    nothing = lanes.zero()
    for i in range(begin, end):
        weight_rows.prefetch(weights, i64(side.row[u64(min(i + UPDATES_AHEAD, last - 1))]) * dims, dims)
        count = side.places[u64(i)]
        at, first, pairs = i64(side.row[u64(i)]) * dims, i64(side.first[u64(i)]) * dims, side.pairs[u64(i)]
        scale, damped = step_scale(pairs, lr, tau), f32(pairs) > tau
        if count == 1 and not damped:  # most rows
            factor = lanes.splat(scale)
            for q in range(0, dims, LANES):
                value = lanes.add(nothing, lanes.load(sums, first + q))
                lanes.store(weights, at + q, lanes.fma(factor, value, lanes.load(weights, at + q)))
            continue
        # Places in order, from +0: chunk by chunk, as the definition adds, whoever has filled them.
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
def _update_side(member, at, side, first, count, weights, sums, row_sum, dims, lr, tau):
    """This thread's share of side[first : first + count]; `at` is where its counters begin."""
    tasks = (count + UPDATES - 1) // UPDATES
    number = team.next_task(member, at, tasks)
    while number < tasks:
        begin = first + number * UPDATES
        last = first + count
        _update(side, begin, min(begin + UPDATES, last), last, weights, sums, row_sum, dims, lr, tau)
        number = team.next_task(member, at, tasks)


@kernel(allocates=False)
def train(member, block, notes, own):
    """One thread's part of a block of steps; all threads of the team must call it.

    Args:
      member: `team.Member`, with `new_counters`.
      block: `Block`, one for all threads.
      notes: `Notes`; own: `Scratch`: this thread's memory.
    """
    # A float mode belongs to a thread, and any library may have switched this one's; it gets its own back at the end.
    mode = lanes.set_float_mode(np.uint32(lanes.DEFAULT_FLOAT_MODE))
    offset, outputs = block.rows.offset, block.rows.negatives.shape[1] + 1
    plan, weights, sums, dims, tau = block.plan, block.weights, block.sums, block.weights.dims, block.rules.tau
    threads, steps, meeting = member.threads, len(block.bounds) - 1, 0
    for step in range(steps):
        at = team.FIRST_TASKS + COUNTERS_OF_A_STEP * threads * step
        # A plan needs no weights, so steps could all be planned first. They are planned a team's worth at a time: each
        # thread has one, and the plan is still in the cache when it is followed.
        if step % threads == 0:
            count = min(threads, steps - step)
            number = team.next_task(member, at, count)
            while number < count:
                plan_step(step + number, block, notes)
                number = team.next_task(member, at, count)
        # Nobody sums before all is planned, nor before the weights are those that the step before has left.
        meeting += 1
        team.meet(member, meeting)
        begin, end = block.bounds[step], block.bounds[step + 1]
        chunks = (end - begin + block.rules.chunk - 1) // block.rules.chunk
        at += threads
        number = team.next_task(member, at, chunks)
        while number < chunks:
            _sum_chunk(step, number, block, own)
            number = team.next_task(member, at, chunks)
        # Nobody changes weights before all gradients of the step are taken from them.
        meeting += 1
        team.meet(member, meeting)
        lr = block.learning_rates[step]
        first, count = i64(offset[begin]), plan.sizes[step, 0]
        at += threads
        _update_side(member, at, plan.inputs, first, count, weights.w_in, sums.inputs, own.e, dims, lr, tau)
        first, count = begin * outputs, plan.sizes[step, 1]
        at += threads
        _update_side(member, at, plan.outputs, first, count, weights.w_out, sums.outputs, own.e, dims, lr, tau)
    lanes.set_float_mode(mode)
