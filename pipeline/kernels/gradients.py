"""The gradients of one target, in two halves, so that two targets can be worked on at a time.

`weigh_outputs` scores a target's contexts against its outputs and makes gradient weights of the scores. `add_gradients`
makes gradient rows of the weights and adds them where the plan says. The weights of the next target are computed before
the gradient rows of this one: the sigmoid, a long chain of dependent operations, then overlaps with the independent
additions of the other target.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels import lanes, weight_rows
from pipeline.kernels.arithmetic import ONE, ZERO, bounded, cross_entropy, minus_sigmoid_lanes, step_scale
from pipeline.kernels.compile import kernel
from pipeline.kernels.lanes import LANES

f32, i64, u32, u64 = np.float32, np.int64, np.uint32, np.uint64


class Scratch(NamedTuple):
    """One thread's working memory, for targets of at most m contexts and P outputs.

    Arrays whose content outlives the first half of the work have two halves; `slot` 0 or 1 says which one to use.
    """

    most_contexts: int
    x_at: np.ndarray
    """int64: where the input row of each context of the tile begins"""
    tile_at: np.ndarray
    """int64: where its tile sum begins"""
    y_at: np.ndarray
    """int64 [targets of a tile and some ahead, P]: where their output rows begin"""
    h_at: np.ndarray
    """int64 [2]: where the slots of h begin"""
    g: np.ndarray
    """float32 [2, (m + 1) P]: gradient weights, for one group of up to 8 outputs after the other:
    [contexts, outputs of the group]"""
    raw: np.ndarray
    """float32: scores, with the layout of g"""
    h: np.ndarray
    """float32 [2, dims]: mean context vector (CBOW)"""
    scores: np.ndarray
    """float32 [m P]: scores of a target whose loss is taken"""
    loss: np.ndarray
    """float64 [2]: the loss of a tile, and the number of its pairs"""
    e: np.ndarray
    """float32 [m dims]: gradient rows of the contexts; the summed gradient of a weight row when updating"""
    s: np.ndarray
    """float32 [P dims]: gradient rows of the outputs of a damped target"""
    tile: np.ndarray
    """float32 [distinct contexts of a tile, dims]: tile sums"""
    to: np.ndarray
    """int64 [targets of a tile, P]: address that an output's gradient row is written to"""
    base: np.ndarray
    """int64 [targets of a tile, P]: address of what it is added to"""
    factor: np.ndarray
    """float32 [targets of a tile, P]: what it is multiplied by"""
    zeros: np.ndarray
    """float32 [dims]"""
    labels: np.ndarray
    """float32 [9, 16]: row b has 1 in lanes 0 and b: the label of the target, for one context or two with b outputs
    each. Gradient weight = label - sigmoid."""


TARGETS_AHEAD = 4
"""How many targets ahead of the gradients their output vectors are prefetched."""


def new_scratch(most_contexts: int, outputs: int, dims: int, tile: int, zeros) -> Scratch:
    """Working memory of one thread; `zeros(n)` gives aligned float32."""
    m = max(1, most_contexts)  # CBOW and the update of a weight row need one gradient row in any case
    # A group of w outputs has m + 1 rows of w weights: the last row keeps groups apart, and is never read. A store of
    # sixteen lanes may run over the end of the last group. Both halves begin at a multiple of LANES.
    size = lanes.rounded_up((m + 1) * outputs + LANES)
    labels = np.zeros((weight_rows.MOST_OUTPUTS + 1, LANES), f32)
    labels[:, 0] = 1
    labels[np.arange(weight_rows.MOST_OUTPUTS + 1), np.arange(weight_rows.MOST_OUTPUTS + 1)] = 1
    return Scratch(
        most_contexts=most_contexts,
        x_at=np.zeros(tile * m, i64),
        tile_at=np.zeros(tile * m, i64),
        y_at=np.zeros((tile + TARGETS_AHEAD) * outputs, i64),
        h_at=np.array([0, dims], i64),
        g=zeros(2 * size),
        raw=zeros(2 * size),
        h=zeros(2 * dims),
        scores=zeros(m * outputs),
        loss=np.zeros(2),
        e=zeros(m * dims),
        s=zeros(outputs * dims),
        tile=zeros(tile * most_contexts * dims),
        to=np.zeros(tile * outputs, i64),
        base=np.zeros(tile * outputs, i64),
        factor=np.zeros(tile * outputs, f32),
        zeros=zeros(dims),
        labels=labels.reshape(-1),
    )


@kernel(allocates=False)
def prepare_tile(start, stop, step_end, block, own, lr):
    """Look up where the rows of a tile's targets begin, and where the gradients of their outputs go.

    All gradients are stored by one formula, to[k] = fma(factor[k], gradient, base[k]):

      the only entry of its weight row in the step:  weights = lr * gradient + weights
      the first entry of a chunk sum:                sum = 1 * gradient + zeros
      a further entry:                               sum = 1 * gradient + sum

    One formula, and all targets of a tile in one loop, because the CPU would mispredict branches between the cases,
    and loops over the outputs of one target would be too short.

    Returns whether a negative is its own target.
    """
    target, offset, context, negatives = block.rows
    plan, dims, outputs = block.plan, u64(u32(block.weights.dims)), u64(negatives.shape[1] + 1)
    first = u64(offset[start])
    # Indexes and factors are unsigned: Numba checks signed indexes for negative values, and a product of two halves of
    # 64 bits is one instruction. Both hide from LLVM that the loads are of neighbours.
    for i in range(u64(offset[stop]) - first):
        own.x_at[i] = u64(u32(context[first + i])) * dims
        own.tile_at[i] = u64(u32(plan.in_slot[first + i])) * dims
    hit = False
    for t in range(start, stop + TARGETS_AHEAD):
        row = u64(min(t, step_end - 1))
        at = u64(t - start) * outputs
        own.y_at[at] = u64(u32(target[row])) * dims
        for k in range(u64(0), outputs - u64(1)):
            own.y_at[at + u64(1) + k] = u64(u32(negatives[row, k])) * dims
            hit |= negatives[row, k] == target[row]
    weights, sums, zeros = (
        u64(lanes.address(block.weights.w_out)),
        u64(lanes.address(block.sums.outputs)),
        u64(lanes.address(own.zeros)),
    )
    entry = u64(start) * outputs
    for i in range(u64(stop - start) * outputs):
        place = plan.out_place[entry + i]
        alone = place < 0  # no other thread reads or writes this row in the step, so it may change at once
        to = weights + u64(4) * u64(own.y_at[i]) if alone else sums + u64(u32(place) >> u32(1)) * (u64(4) * dims)
        own.to[i] = to
        own.base[i] = zeros if place & 1 and not alone else to
        own.factor[i] = lr if alone else ONE
    return hit


@kernel(inline="always", allocates=False)
def weigh_outputs(t, start, slot, block, own, hits, loss_wanted):
    """First half of a target's work: its gradient weights, into half `slot` of own.g."""
    offset, weights, outputs = block.rows.offset, block.weights, block.rows.negatives.shape[1] + 1
    g_from = slot * (len(own.g) // 2)
    x_from, y_from = i64(offset[t]) - i64(offset[start]), (t - start) * outputs
    m = i64(offset[t + 1]) - i64(offset[t])
    terms = m
    if block.rules.cbow:
        weight_rows.mean(own.h, slot * weights.dims, weights.w_in, own.x_at, x_from, m, ONE / f32(m), weights.dims)
        terms = i64(1)
        _weigh_terms(terms, outputs, own.h, own.h_at, slot, y_from, g_from, weights, own, loss_wanted)
    else:
        _weigh_terms(terms, outputs, weights.w_in, own.x_at, x_from, y_from, g_from, weights, own, loss_wanted)
    if loss_wanted:
        _add_loss(t, terms, block, own, g_from)
    if hits:
        _zero_weights_of_hits(terms, outputs, own, y_from, g_from)


@kernel(inline="always", allocates=False)
def add_gradients(t, start, slot, block, own, lr):
    """Second half: adds the contexts' gradient rows to the tile sums, and those of the outputs where the plan says."""
    offset, cbow, tau = block.rows.offset, block.rules.cbow, block.rules.tau
    weights, dims, outputs = block.weights, block.weights.dims, block.rows.negatives.shape[1] + 1
    g_from, h_from = slot * (len(own.g) // 2), slot * dims
    x_from, y_from = i64(offset[t]) - i64(offset[start]), (t - start) * outputs
    m = i64(offset[t + 1]) - i64(offset[t])
    terms = i64(1) if cbow else m
    # A weight row with a single entry in the step has just these pairs, so damping is decided here. For the others
    # `step._update` decides it by their sums; here their gradients only take a detour through own.s, with equal bits.
    damped = f32(terms) > tau
    if damped:
        _redirect_to_scratch(outputs, own, y_from, dims)
    groups = _group_count(outputs)
    k = 0
    for group in range(groups):
        width = _group_width(outputs, groups, group)
        y = y_from + k
        soon = y + TARGETS_AHEAD * outputs
        if cbow:
            weight_rows.gradients_of_mean(width, h_from, y, k, g_from + 2 * k, soon, weights, own)
        else:
            kind = weight_rows.WHOLE if groups == 1 else weight_rows.GROUP
            flags = (weight_rows.FIRST if group == 0 else 0) + (weight_rows.LAST if group == groups - 1 else 0)
            weight_rows.gradients(kind, flags, width, x_from, m, y, g_from + k * (m + 1), soon, weights, own)
        k += width
    if cbow:  # each context gets the whole gradient of the mean vector
        weight_rows.add_to_each(own.tile, own.tile_at, x_from, m, own.e, dims)
    if damped:
        _add_damped_gradients(t, outputs, y_from, block, own, step_scale(terms, lr, tau))


@kernel(allocates=False)
def _redirect_to_scratch(outputs, own, y_from, dims):
    """Redirect the gradient rows of a damped target to own.s: how far they move depends on all their dims."""
    for k in range(outputs):
        own.to[y_from + k] = lanes.address(own.s) + 4 * k * dims
        own.base[y_from + k] = lanes.address(own.zeros)
        own.factor[y_from + k] = ONE


@kernel(inline="always", allocates=False)
def _group_count(outputs):
    return (outputs + weight_rows.MOST_OUTPUTS - 1) // weight_rows.MOST_OUTPUTS


@kernel(inline="always", allocates=False)
def _group_width(outputs, groups, group):
    """Outputs are split evenly: with more than 8 of them, every group has 4 to 8."""
    return outputs // groups + i64(group < outputs % groups)


@kernel(inline="always", allocates=False)
def _weigh_terms(m, outputs, x, x_at, x_from, y_from, g_from, weights, own, raw_too):
    """Gradient weights of m rows of x against all outputs, into own.g; scores into own.raw."""
    groups = _group_count(outputs)
    k = 0
    for group in range(groups):
        width = _group_width(outputs, groups, group)
        at = g_from + k * (m + 1)
        labels = lanes.load(own.labels, width * LANES) if k == 0 else lanes.zero()
        # Two contexts with up to 8 outputs each fill the sixteen lanes, so one sigmoid serves both. A store of sixteen
        # lanes runs over into the next weights, which are written after it: hence the rising order.
        for a in range(0, m - 1, 2):
            scores = weight_rows.dots_of_two(
                width, x, x_at, x_from + a, weights.w_out, own.y_at, y_from + k, weights.dims
            )
            if raw_too:
                lanes.store(own.raw, at + a * width, scores)
            lanes.store(own.g, at + a * width, lanes.add(minus_sigmoid_lanes(scores), labels))
        if m % 2:
            a = m - 1
            scores = weight_rows.dots_of_one(
                width, x, x_at, x_from + a, weights.w_out, own.y_at, y_from + k, weights.dims
            )
            if raw_too:
                lanes.store(own.raw, at + a * width, scores)
            lanes.store(own.g, at + a * width, lanes.add(minus_sigmoid_lanes(scores), labels))
        k += width


@kernel(allocates=False)
def _add_loss(t, m, block, own, g_from):
    """Add the target's cross-entropy, from own.raw; its groups are put in the order [context, output] first."""
    target, negatives = block.rows.target[t], block.rows.negatives[t]
    outputs = len(negatives) + 1
    groups = _group_count(outputs)
    k = 0
    for group in range(groups):
        width = _group_width(outputs, groups, group)
        for a in range(m):
            for j in range(width):
                own.scores[a * outputs + k + j] = own.raw[g_from + k * (m + 1) + a * width + j]
        k += width
    loss, pairs = cross_entropy(own.scores, 0, m, outputs, target, negatives, block.rules.zero_hits)
    own.loss[0] += loss
    own.loss[1] += pairs


@kernel(allocates=False)
def _zero_weights_of_hits(m, outputs, own, y_from, g_from):
    """Set the gradient weights of negatives that are the target itself to 0."""
    groups = _group_count(outputs)
    k = 0
    for group in range(groups):
        width = _group_width(outputs, groups, group)
        for j in range(width):
            if k + j > 0 and own.y_at[y_from + k + j] == own.y_at[y_from]:
                for a in range(m):
                    own.g[g_from + k * (m + 1) + a * width + j] = ZERO
        k += width


@kernel(allocates=False)
def _add_damped_gradients(t, outputs, y_from, block, own, scale):
    """Add the gradient rows in own.s: to the weights, by a bounded length, or to their chunk sums."""
    w_out, sums_out, dims = block.weights.w_out, block.sums.outputs, block.weights.dims
    for k in range(outputs):
        place = i64(block.plan.out_place[t * outputs + k])
        at = own.y_at[y_from + k] if place < 0 else (place >> 1) * dims
        factor = lanes.splat(bounded(scale, weight_rows.squares(own.s, k * dims, dims)) if place < 0 else ONE)
        for q in range(0, dims, LANES):
            gradient = lanes.load(own.s, k * dims + q)
            if place < 0:
                lanes.store(w_out, at + q, lanes.fma(factor, gradient, lanes.load(w_out, at + q)))
            elif place & 1:
                lanes.store(sums_out, at + q, gradient)
            else:
                lanes.store(sums_out, at + q, lanes.add(lanes.load(sums_out, at + q), gradient))
