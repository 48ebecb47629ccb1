"""The training step, fast: a team of threads over plans, chunks and rows.

The arithmetic is that of `definition`, bit for bit; only who does what, and when,
is decided here. Three phases: plan all steps of the block; then for each step sum
the gradients of its chunks from frozen weights, and add them to the weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels import lanes, team
from pipeline.kernels.arithmetic import ONE, ZERO, bounded, cross_entropy, minus_sigmoid_lanes, step_scale
from pipeline.kernels.compile import kernel
from pipeline.kernels.plan import FIELDS, plan_step

f32, i64 = np.float32, np.int64

ROWS_AHEAD = 3
"""Targets whose vectors are asked for before they are needed."""
UPDATES_AHEAD = 6
UPDATES = 64
"""Weight rows a thread takes at a time when updating."""
LINE = 16
"""float32 numbers in a cache line."""


class Scratch(NamedTuple):
    """One thread's working memory, for rows of at most m contexts and P outputs."""

    x_at: np.ndarray
    """int64: where the input rows of the contexts begin"""
    y_at: np.ndarray
    """int64: where the output rows begin"""
    tile_at: np.ndarray
    """int64: where the tile sums of the contexts begin"""
    g: np.ndarray
    """float32: gradient weights, in planes of up to 8 outputs: [contexts, outputs of the plane]"""
    raw: np.ndarray
    """float32: scores, laid out like g"""
    scores: np.ndarray
    """float32 [m P]: scores of a row whose loss is taken"""
    e: np.ndarray
    """float32 [m dims]: gradient rows of the contexts"""
    s: np.ndarray
    """float32 [P dims]: gradient rows of the outputs"""
    tile: np.ndarray
    """float32 [distinct contexts of a tile, dims]: tile sums"""
    h: np.ndarray
    """float32 [dims]: mean context vector (CBOW); the summed gradient of a row when updating"""
    one: np.ndarray
    """float32 [9, 16]: row b has 1 in lanes 0 and b, what the target's gradient adds to -sigmoid"""
    table: np.ndarray
    """int32 [V * FIELDS], zeros: for plans"""


def new_scratch(most_contexts: int, outputs: int, dims: int, vocabulary: int, tile: int, zeros) -> Scratch:
    """Working memory of one thread; `zeros(n)` gives aligned float32."""
    m = most_contexts + 2
    one = np.zeros((lanes.MOST_OUTPUTS + 1, LINE), f32)
    one[:, 0] = 1
    one[np.arange(lanes.MOST_OUTPUTS + 1), np.arange(lanes.MOST_OUTPUTS + 1)] = 1
    return Scratch(
        np.zeros(m, i64), np.zeros(outputs, i64), np.zeros(m, i64), zeros(m * outputs + LINE),
        zeros(m * outputs + LINE), zeros(m * outputs), zeros(m * dims), zeros(outputs * dims),
        zeros(tile * most_contexts * dims), zeros(dims), one.reshape(-1), np.zeros(vocabulary * FIELDS, np.int32),
    )  # fmt: skip


@kernel(inline="always", allocates=False)
def _part_width(outputs, parts, part):
    """Outputs are dealt out evenly: every part has 4 to 8 of them when there are more than 8."""
    return outputs // parts + i64(part < outputs % parts)


@kernel(inline="always", allocates=False)
def _weigh(m, parts, outputs, own, w_out, x, dims, raw_too):
    """Gradient weights of m rows of x (at own.x_at) against all outputs, into own.g; scores into own.raw."""
    k = 0
    for part in range(parts):
        width = _part_width(outputs, parts, part)
        at = k * (m + 1)
        ones = lanes.load(own.one, width * LINE)
        nothing = lanes.zero()
        for a in range(0, m - 1, 2):
            scores = lanes.dots_of_two(width, x, own.x_at, a, w_out, own.y_at, k, dims)
            if raw_too:
                lanes.store(own.raw, at + a * width, scores)
            lanes.store(own.g, at + a * width, lanes.add(minus_sigmoid_lanes(scores), ones if k == 0 else nothing))
        if m % 2:
            a = m - 1
            scores = lanes.dots_of_one(width, x, own.x_at, a, w_out, own.y_at, k, dims)
            if raw_too:
                lanes.store(own.raw, at + a * width, scores)
            lanes.store(own.g, at + a * width, lanes.add(minus_sigmoid_lanes(scores), ones if k == 0 else nothing))
        k += width


@kernel(allocates=False)
def _loss_of_row(t, m, parts, outputs, target, negatives, zero_hits, own):
    """Cross-entropy of the scores in own.raw, brought into [context, output] order first."""
    k = 0
    for part in range(parts):
        width = _part_width(outputs, parts, part)
        for a in range(m):
            for j in range(width):
                own.scores[a * outputs + k + j] = own.raw[k * (m + 1) + a * width + j]
        k += width
    return cross_entropy(own.scores, 0, m, outputs, target[t], negatives[t], zero_hits)


@kernel(allocates=False)
def _zero_hits(t, m, parts, outputs, target, negatives, own):
    """A negative that is the target itself teaches nothing: its gradient weights become 0."""
    k = 0
    for part in range(parts):
        width = _part_width(outputs, parts, part)
        for j in range(width):
            if k + j > 0 and negatives[t, k + j - 1] == target[t]:
                for a in range(m):
                    own.g[k * (m + 1) + a * width + j] = ZERO
        k += width


@kernel(inline="always", allocates=False)
def _mean_of_contexts(m, own, w_in, contexts_at, dims):
    """own.h = the contexts' sum in order, times 1/m."""
    share = lanes.splat(ONE / f32(m))
    for q in range(0, dims, LINE):
        value = lanes.zero()
        for a in range(m):
            value = lanes.add(value, lanes.load(w_in, contexts_at[a] + q))
        lanes.store(own.h, q, lanes.multiply(value, share))


@kernel(inline="always", allocates=False)
def _place_output_rows(t, outputs, own, out_place, w_out, sums_out, pairs, dims, lr, tau):
    """Hand the gradient rows in own.s on: to the weights when alone in the step, else to their chunk sums."""
    scale, nothing = step_scale(pairs, lr, tau), lanes.zero()
    for k in range(outputs):
        place = i64(out_place[t * outputs + k])
        if place < 0:  # nobody else reads or writes this row in the step
            at = own.y_at[k]
            factor = lanes.splat(bounded(scale, _squares(own.s, k * dims, dims)) if f32(pairs) > tau else scale)
            for q in range(0, dims, LINE):
                gradient = lanes.add(nothing, lanes.load(own.s, k * dims + q))
                lanes.store(w_out, at + q, lanes.fma(factor, gradient, lanes.load(w_out, at + q)))
        elif place & 1:
            at = (place >> 1) * dims
            for q in range(0, dims, LINE):
                lanes.store(sums_out, at + q, lanes.add(nothing, lanes.load(own.s, k * dims + q)))
        else:
            at = (place >> 1) * dims
            for q in range(0, dims, LINE):
                lanes.store(sums_out, at + q, lanes.add(lanes.load(sums_out, at + q), lanes.load(own.s, k * dims + q)))


@kernel(allocates=False)
def _squares(rows, at, dims):
    """The row at rows[at:] times itself."""
    sums = lanes.zero()
    for q in range(0, dims, LINE):
        value = lanes.load(rows, at + q)
        sums = lanes.fma(value, value, sums)
    return lanes.total(sums)


@kernel(inline="always", allocates=False)
def _ask_for(t, target, offset, context, negatives, w_in, w_out, dims):
    """Prefetch the output rows of target t and its last context: the others have been seen already."""
    for k in range(negatives.shape[1] + 1):
        word = i64(target[t] if k == 0 else negatives[t, k - 1])
        for q in range(0, dims, LINE):
            lanes.prefetch(w_out, word * dims + q)
    if offset[t + 1] > offset[t]:
        word = i64(context[offset[t + 1] - 1])
        for q in range(0, dims, LINE):
            lanes.prefetch(w_in, word * dims + q)


@kernel(allocates=False)
def _tile_sums_to_chunk(start, offset, plan, own, sums_in, dims):
    """Add the tile sums in own.tile to the chunk sums."""
    nothing = lanes.zero()
    for slot in range(plan.slots[start]):
        place = i64(plan.slot_place[offset[start] + slot])
        at = (place >> 1) * dims
        if place & 1:
            for q in range(0, dims, LINE):
                lanes.store(sums_in, at + q, lanes.add(nothing, lanes.load(own.tile, slot * dims + q)))
        else:
            for q in range(0, dims, LINE):
                tile_sum = lanes.load(own.tile, slot * dims + q)
                lanes.store(sums_in, at + q, lanes.add(lanes.load(sums_in, at + q), tile_sum))


@kernel(allocates=False)
def _sum_chunk(
    begin, end, step_end, loss_wanted_every, tiles_before, rows, plan, w_in, w_out, sums_in, sums_out,
    own, dims, lr, tau, cbow, zero_hits, tile, loss, pairs_of_loss,
):  # fmt: skip
    """Gradients of rows begin..end, from frozen weights: chunk sums, and output rows that are alone."""
    target, offset, context, negatives = rows
    outputs = negatives.shape[1] + 1
    parts = (outputs + lanes.MOST_OUTPUTS - 1) // lanes.MOST_OUTPUTS
    for start in range(begin, end, tile):
        tile_number = tiles_before + (start - begin) // tile
        sampled = tile_number % loss_wanted_every == 0
        for i in range(i64(plan.slots[start]) * dims // LINE):
            lanes.store(own.tile, i * LINE, lanes.zero())
        tile_loss, tile_pairs = 0.0, 0
        for t in range(start, min(start + tile, end)):
            if t + ROWS_AHEAD < step_end:
                _ask_for(t + ROWS_AHEAD, target, offset, context, negatives, w_in, w_out, dims)
            base = i64(offset[t])
            m = i64(offset[t + 1]) - base
            if m == 0:
                continue
            own.y_at[0] = i64(target[t]) * dims
            for k in range(1, outputs):
                own.y_at[k] = i64(negatives[t, k - 1]) * dims
            for a in range(m):
                own.x_at[a] = i64(context[base + a]) * dims
                own.tile_at[a] = i64(plan.in_slot[base + a]) * dims
            terms = m
            if cbow:
                _mean_of_contexts(m, own, w_in, own.x_at, dims)
                own.x_at[0] = 0
                terms = i64(1)
                _weigh(terms, parts, outputs, own, w_out, own.h, dims, sampled)
            else:
                _weigh(terms, parts, outputs, own, w_out, w_in, dims, sampled)
            if sampled:
                row_loss, row_pairs = _loss_of_row(t, terms, parts, outputs, target, negatives, zero_hits, own)
                tile_loss += row_loss
                tile_pairs += row_pairs
            if zero_hits:
                _zero_hits(t, terms, parts, outputs, target, negatives, own)
            if cbow:
                _form_gradients_cbow(m, parts, outputs, own, w_out, dims)
            else:
                _form_gradients(m, parts, outputs, own, w_in, w_out, dims)
            _place_output_rows(t, outputs, own, plan.out_place, w_out, sums_out, terms, dims, lr, tau)
        _tile_sums_to_chunk(start, offset, plan, own, sums_in, dims)
        if sampled:
            loss[tile_number // loss_wanted_every] = tile_loss
            pairs_of_loss[tile_number // loss_wanted_every] = tile_pairs


@kernel(inline="always", allocates=False)
def _form_gradients(m, parts, outputs, own, w_in, w_out, dims):
    """Skip-gram: gradient rows of the outputs into own.s; those of the contexts onto the tile sums."""
    k = 0
    for part in range(parts):
        width = _part_width(outputs, parts, part)
        kind = lanes.WHOLE if parts == 1 else lanes.PART
        flags = (lanes.FIRST if part == 0 else 0) + (lanes.LAST if part == parts - 1 else 0)
        lanes.gradients(
            kind, flags, width, w_in, own.x_at, m, w_out, own.y_at, k, own.g, k * (m + 1), own.e, own.tile, own.tile_at,
            own.s, dims,
        )  # fmt: skip
        k += width


@kernel(allocates=False)
def _form_gradients_cbow(m, parts, outputs, own, w_out, dims):
    """CBOW: each context gets the whole gradient of the mean vector."""
    nothing = lanes.zero()
    for q in range(0, dims, LINE):
        mean = lanes.load(own.h, q)
        gradient = nothing
        k = 0
        for part in range(parts):
            width = _part_width(outputs, parts, part)
            for j in range(width):
                weight = lanes.splat(own.g[k * 2 + j])
                gradient = lanes.fma(weight, lanes.load(w_out, own.y_at[k + j] + q), gradient)
                lanes.store(own.s, (k + j) * dims + q, lanes.fma(weight, mean, nothing))
            k += width
        for a in range(m):
            at = own.tile_at[a] + q
            lanes.store(own.tile, at, lanes.add(lanes.load(own.tile, at), gradient))


@kernel(allocates=False)
def _update(side, begin, end, last, weights, sums, row_sum, dims, lr, tau):
    """Move weight rows side.row[begin:end] by the sums of their chunk sums, added in chunk order into `row_sum`."""
    for i in range(begin, end):
        if i + UPDATES_AHEAD < last:
            ahead = i64(side.row[i + UPDATES_AHEAD]) * dims
            for q in range(0, dims, LINE):
                lanes.prefetch(weights, ahead + q)
        count = side.places[i]
        if count == 0:
            continue
        at, first = i64(side.row[i]) * dims, i64(side.first[i]) * dims
        squares = lanes.zero()
        for q in range(0, dims, LINE):
            value = lanes.add(lanes.zero(), lanes.load(sums, first + q))
            for j in range(1, count):
                value = lanes.add(value, lanes.load(sums, first + j * dims + q))
            lanes.store(row_sum, q, value)
            squares = lanes.fma(value, value, squares)
        scale = step_scale(side.pairs[i], lr, tau)
        if f32(side.pairs[i]) > tau:
            scale = bounded(scale, lanes.total(squares))
        factor = lanes.splat(scale)
        for q in range(0, dims, LINE):
            lanes.store(weights, at + q, lanes.fma(factor, lanes.load(row_sum, q), lanes.load(weights, at + q)))


@kernel(allocates=False)
def train(
    threads, counters, rows, bounds, learning_rates, tau, cbow, zero_hits, tile, chunk, loss_tiles,
    w_in, w_out, dims, plan, sums_in, sums_out, own, loss, pairs_of_loss,
):  # fmt: skip
    """One thread's part of a block of steps; all `threads` of the team must call it.

    Args:
      counters: int64 [3 + 2 S], zeros: work handed out, and meetings of the team.
      rows: (target, offset, context, negatives) as in `Batch`; bounds: int64 [S+1].
      learning_rates: float32 [S]; tau: float32.
      w_in, w_out: float32 [V dims]; dims: a multiple of 16.
      plan: `Plan` of the block; sums_in, sums_out: float32, places of a step times dims.
      own: this thread's `Scratch`.
      loss, pairs_of_loss: float64, int64 [S, sampled tiles], written.
    """
    mode = lanes.set_float_mode(np.uint32(lanes.DEFAULT_FLOAT_MODE))
    target, offset, context, negatives = rows
    steps = len(bounds) - 1
    meeting = 0
    step = team.fetch_add(counters, 0, 1)
    while step < steps:
        plan_step(step, target, offset, context, negatives, bounds, cbow, tile, chunk, own.table, plan)
        step = team.fetch_add(counters, 0, 1)
    for step in range(steps):
        meeting += 1
        team.meet(counters, 1, threads, meeting)
        lr = learning_rates[step]
        begin, end = bounds[step], bounds[step + 1]
        chunks = (end - begin + chunk - 1) // chunk
        number = team.fetch_add(counters, 3 + 2 * step, 1)
        while number < chunks:
            start = begin + number * chunk
            _sum_chunk(
                start, min(start + chunk, end), end, loss_tiles, number * (chunk // tile), rows, plan, w_in, w_out,
                sums_in, sums_out, own, dims, lr, tau, cbow, zero_hits, tile, loss[step], pairs_of_loss[step],
            )  # fmt: skip
            number = team.fetch_add(counters, 3 + 2 * step, 1)
        meeting += 1
        team.meet(counters, 1, threads, meeting)
        ins, outs = plan.sizes[step, 0], plan.sizes[step, 1]
        at_in, at_out = i64(offset[begin]), begin * (negatives.shape[1] + 1)
        tasks_in = (ins + UPDATES - 1) // UPDATES
        tasks = tasks_in + (outs + UPDATES - 1) // UPDATES
        number = team.fetch_add(counters, 4 + 2 * step, 1)
        while number < tasks:
            if number < tasks_in:
                first = at_in + number * UPDATES
                last = at_in + ins
                _update(plan.inputs, first, min(first + UPDATES, last), last, w_in, sums_in, own.h, dims, lr, tau)
            else:
                first = at_out + (number - tasks_in) * UPDATES
                last = at_out + outs
                _update(plan.outputs, first, min(first + UPDATES, last), last, w_out, sums_out, own.h, dims, lr, tau)
            number = team.fetch_add(counters, 4 + 2 * step, 1)
    lanes.set_float_mode(mode)
