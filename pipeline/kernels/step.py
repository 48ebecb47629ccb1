"""The training step, fast: a team of threads plans steps, sums chunks and updates weight rows.

The arithmetic is that of `definition`, bit for bit. This module only decides which thread does what, and when. Each
step has three phases: its plan; the sums of the gradients of its chunks, from frozen weights; and the update of the
weights by these sums. Plans are made for as many steps at a time as there are threads.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels import lanes, team, weight_rows
from pipeline.kernels.arithmetic import bounded, step_scale
from pipeline.kernels.compile import kernel
from pipeline.kernels.gradients import TARGETS_AHEAD, add_gradients, prepare_tile, weigh_outputs
from pipeline.kernels.lanes import LANES
from pipeline.kernels.plan import plan_step

f32, i64, u64 = np.float32, np.int64, np.uint64

MOST_CONTEXTS_AHEAD = 8
"""The input vector of a target's word is prefetched at most so many targets before its output vector: targets before it
have the word as a context."""
UPDATES_AHEAD = 6
"""How many weight rows ahead of an update are prefetched."""
UPDATES = 64
"""Weight rows that a thread takes at a time when updating."""


COUNTERS_OF_A_STEP = 4
"""One for each thread and kind of task: steps to plan, chunks to sum, input rows and output rows to update."""


def new_counters(threads: int, steps: int) -> np.ndarray:
    """The counters that the `Member`s of a team share for so many steps."""
    return np.zeros(team.FIRST_TASKS + COUNTERS_OF_A_STEP * threads * steps, i64)


@kernel(allocates=False)
def _clear_tile_sums(slots, own, dims):
    for i in range(slots * dims // LANES):
        lanes.store(own.tile, i * LANES, lanes.zero())


@kernel(allocates=False)
def _tile_sums_to_chunk(slots, base, slot_place, own, sums_in, dims):
    """Add the tile sums in own.tile to the chunk sums.

    Each sum of the definition starts from +0. So the first tile sum of a chunk is added to +0 and not copied: that
    turns -0 into +0.
    """
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
    """Sum the gradients of one chunk of a step from frozen weights.

    Gradients go to chunk sums. An output row with a single entry in the step is updated at once: nothing else reads it.

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
        # Each turn weighs the outputs of target `following`, and adds the gradients of the target before it: see
        # `gradients`. So there is one turn more than there are targets.
        for following in range(start, stop + 1):
            weight_rows.prefetch(weights.w_in, i64(target[min(following + contexts_ahead, step_end - 1)]) * dims, dims)
            slot = (following - start) & 1
            if following < stop and offset[following + 1] > offset[following]:
                weigh_outputs(following, start, slot, block, own, hits, loss_wanted)
            t = following - 1
            if following > start and offset[t + 1] > offset[t]:
                add_gradients(t, start, 1 - slot, block, own, lr)
        _tile_sums_to_chunk(slots, i64(offset[start]), block.plan.slot_place, own, block.sums.inputs, dims)
        if loss_wanted:
            block.loss.total[step, tile_number // rules.loss_tiles] = own.loss[0]
            block.loss.pairs[step, tile_number // rules.loss_tiles] = i64(own.loss[1])


@kernel(allocates=False)
def _update(side, begin, end, last, weights, sums, row_sum, dims, lr, tau):
    """Move the weight rows side.row[begin:end] by their summed gradients: w += scale * (sum of the chunk sums).

    A sum starts from +0, also one of a single chunk sum (see `_tile_sums_to_chunk`).

    Args:
      last: end of the step's rows in `side`.
      row_sum: float32 [dims], working memory.
    """
    nothing = lanes.zero()
    for i in range(begin, end):
        weight_rows.prefetch(weights, i64(side.row[u64(min(i + UPDATES_AHEAD, last - 1))]) * dims, dims)
        count = side.places[u64(i)]
        at, first, pairs = i64(side.row[u64(i)]) * dims, i64(side.first[u64(i)]) * dims, side.pairs[u64(i)]
        scale, damped = step_scale(pairs, lr, tau), f32(pairs) > tau
        if count == 1 and not damped:  # most rows: no need to store the sum and read it again
            factor = lanes.splat(scale)
            for q in range(0, dims, LANES):
                value = lanes.add(nothing, lanes.load(sums, first + q))
                lanes.store(weights, at + q, lanes.fma(factor, value, lanes.load(weights, at + q)))
            continue
        # Places are added in order: chunk by chunk as in the definition, whichever thread filled them.
        weight_rows.sum_of_run(row_sum, sums, first, count, dims)
        if damped:
            scale = bounded(scale, weight_rows.squares(row_sum, 0, dims))
        factor = lanes.splat(scale)
        for q in range(0, dims, LANES):
            lanes.store(weights, at + q, lanes.fma(factor, lanes.load(row_sum, q), lanes.load(weights, at + q)))


@kernel(allocates=False)
def _update_side(member, at, side, first, count, weights, sums, row_sum, dims, lr, tau):
    """Update this thread's share of side[first : first + count]; the counters of these tasks begin at `at`."""
    tasks = (count + UPDATES - 1) // UPDATES
    number = team.next_task(member, at, tasks)
    while number < tasks:
        begin = first + number * UPDATES
        last = first + count
        _update(side, begin, min(begin + UPDATES, last), last, weights, sums, row_sum, dims, lr, tau)
        number = team.next_task(member, at, tasks)


@kernel(allocates=False)
def train(member, block, plan_scratch, own):
    """One thread's part of a block of steps; all threads of the team must call it.

    Args:
      member: `team.Member`, with `new_counters`.
      block: `Block`, one for all threads.
      plan_scratch: `PlanScratch`; own: `Scratch`: this thread's working memory.
    """
    # The float mode belongs to a thread, and a library may have switched this thread's. It is restored at the end.
    mode = lanes.set_float_mode(np.uint32(lanes.DEFAULT_FLOAT_MODE))
    offset, outputs = block.rows.offset, block.rows.negatives.shape[1] + 1
    plan, weights, sums, dims, tau = block.plan, block.weights, block.sums, block.weights.dims, block.rules.tau
    threads, steps, meetings = member.threads, len(block.bounds) - 1, 0
    for step in range(steps):
        at = team.FIRST_TASKS + COUNTERS_OF_A_STEP * threads * step
        # A plan needs no weights, so all steps could be planned first. Instead, as many are planned as there are
        # threads, one by each: so plans are still in the cache when they are used.
        if step % threads == 0:
            count = min(threads, steps - step)
            number = team.next_task(member, at, count)
            while number < count:
                plan_step(step + number, block, plan_scratch)
                number = team.next_task(member, at, count)
        # Barrier: sums need the plan, and the weights as the step before has left them.
        meetings += 1
        team.wait_for_all(member, meetings)
        begin, end = block.bounds[step], block.bounds[step + 1]
        chunks = (end - begin + block.rules.chunk - 1) // block.rules.chunk
        at += threads
        number = team.next_task(member, at, chunks)
        while number < chunks:
            _sum_chunk(step, number, block, own)
            number = team.next_task(member, at, chunks)
        # Barrier: weights change only when all gradients of the step have been taken from them.
        meetings += 1
        team.wait_for_all(member, meetings)
        lr = block.learning_rates[step]
        first, count = i64(offset[begin]), plan.sizes[step, 0]
        at += threads
        _update_side(member, at, plan.inputs, first, count, weights.w_in, sums.inputs, own.e, dims, lr, tau)
        first, count = begin * outputs, plan.sizes[step, 1]
        at += threads
        _update_side(member, at, plan.outputs, first, count, weights.w_out, sums.outputs, own.e, dims, lr, tau)
    lanes.set_float_mode(mode)
