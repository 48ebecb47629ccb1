"""The definition of the training step, written plainly: the oracle of every other backend.

It has no plan and no threads, and keeps gradients in dense tables. The order of every float operation here *is* the
definition (docs/definition.md, "The training step"): every backend has to give these bits.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels import lanes
from pipeline.kernels.arithmetic import ONE, ZERO, bounded, cross_entropy, minus_sigmoid, step_scale
from pipeline.kernels.compile import kernel

f32 = np.float32


@kernel
def dot(x, i, y, j, dims):
    """Inner product of row i of x and row j of y: lane l sums dims l, l + 16, ... by fma, then the lanes are summed."""
    sums = lanes.zero()
    for q in range(0, dims, 16):
        sums = lanes.fma(lanes.load(x, i * dims + q), lanes.load(y, j * dims + q), sums)
    return lanes.total(sums)


@kernel
def add_scaled(to, i, scale, rows, j, dims):
    """to[i] = fma(scale, rows[j], to[i])"""
    factor = lanes.splat(scale)
    for q in range(0, dims, 16):
        lanes.store(to, i * dims + q, lanes.fma(factor, lanes.load(rows, j * dims + q), lanes.load(to, i * dims + q)))


@kernel
def clear(rows, i, dims):
    for q in range(0, dims, 16):
        lanes.store(rows, i * dims + q, lanes.zero())


@kernel
def step(rows, weights, lr, rules):
    """One step: sums the gradients of all rows from the weights as they are, then updates the weights in place.

    For a score s = dot(x, y) of an input vector x and an output vector y, the gradient weight is g = 1 - sigmoid(s)
    for the target and g = -sigmoid(s) for a negative. The gradient rows are e = sum over outputs of g y for the input
    side, and sum over contexts of g x for an output. Both point to where the loss falls, so they are added.

    Args:
      rows: `Rows`, the step's rows; its offset may start above 0.
      weights: `Weights`; lr: float32; rules: `StepRules`.

    Returns:
      (loss, pairs) of every `loss_tiles`-th tile.
    """
    target, offset, context, negatives = rows
    w_in, w_out, dims = weights
    tau, cbow, zero_hits, tile, chunk, loss_tiles = rules
    n, count = negatives.shape
    outputs = count + 1
    v = len(w_in) // dims
    tile_sum, chunk_in, chunk_out = np.zeros(v * dims, f32), np.zeros(v * dims, f32), np.zeros(v * dims, f32)
    sum_in, sum_out = np.zeros(v * dims, f32), np.zeros(v * dims, f32)
    pairs_in, pairs_out = count_pairs(rows, cbow, v)
    e, h = np.zeros(dims, f32), np.zeros(dims, f32)
    out = np.zeros(outputs, np.int64)
    loss, pairs = 0.0, 0
    # Sums have three levels: tile, chunk and step. Each starts from +0 and adds in row order. So different threads (or
    # blocks of a GPU) can sum different chunks, and their speed never changes which number is added to which.
    for chunk_start in range(0, n, chunk):
        chunk_end = min(chunk_start + chunk, n)
        in_chunk, out_chunk = np.zeros(v, np.bool_), np.zeros(v, np.bool_)
        for tile_start in range(chunk_start, chunk_end, tile):
            tile_end = min(tile_start + tile, chunk_end)
            in_tile = np.zeros(v, np.bool_)
            tile_loss, tile_pairs = 0.0, 0
            for t in range(tile_start, tile_end):
                first, m = offset[t], offset[t + 1] - offset[t]
                if m == 0:
                    continue
                out[0] = target[t]
                for k in range(count):
                    out[k + 1] = negatives[t, k]
                terms = 1 if cbow else m
                if cbow:
                    clear(h, 0, dims)
                    for a in range(m):
                        add_scaled(h, 0, ONE, w_in, context[first + a], dims)
                    share = lanes.splat(ONE / f32(m))  # rounded once, then multiplied: not a division a lane
                    for q in range(0, dims, 16):
                        lanes.store(h, q, lanes.multiply(lanes.load(h, q), share))
                scores, g = np.zeros(terms * outputs, f32), np.zeros(terms * outputs, f32)
                for a in range(terms):
                    for k in range(outputs):
                        if cbow:
                            score = dot(h, 0, w_out, out[k], dims)
                        else:
                            score = dot(w_in, context[first + a], w_out, out[k], dims)
                        weight = minus_sigmoid(score)
                        if k == 0:
                            weight = weight + ONE
                        elif zero_hits and out[k] == out[0]:
                            weight = ZERO
                        scores[a * outputs + k], g[a * outputs + k] = score, weight
                if (tile_start // tile) % loss_tiles == 0:
                    row_loss, row_pairs = cross_entropy(scores, 0, terms, outputs, target[t], negatives[t], zero_hits)
                    tile_loss += row_loss
                    tile_pairs += row_pairs
                # Input side: e = sum over k of g[k] y_k, in order of the outputs, then added to the tile's sum.
                for a in range(terms):
                    clear(e, 0, dims)
                    for k in range(outputs):
                        add_scaled(e, 0, g[a * outputs + k], w_out, out[k], dims)
                    if not cbow:
                        add_scaled(tile_sum, context[first + a], ONE, e, 0, dims)
                        in_tile[context[first + a]] = True
                if cbow:  # each context gets the whole gradient of the mean, as in word2vec.c, not 1/m of it
                    for a in range(m):
                        add_scaled(tile_sum, context[first + a], ONE, e, 0, dims)
                        in_tile[context[first + a]] = True
                # Output side: sum over contexts of g x, in order of the contexts. It goes to the chunk's sum at once:
                # this side has no tile sums.
                for k in range(outputs):
                    clear(e, 0, dims)
                    for a in range(terms):
                        if cbow:
                            add_scaled(e, 0, g[k], h, 0, dims)
                        else:
                            add_scaled(e, 0, g[a * outputs + k], w_in, context[first + a], dims)
                    add_scaled(chunk_out, out[k], ONE, e, 0, dims)
                    out_chunk[out[k]] = True
            for r in range(v):
                if in_tile[r]:
                    add_scaled(chunk_in, r, ONE, tile_sum, r, dims)
                    clear(tile_sum, r, dims)
                    in_chunk[r] = True
            loss += tile_loss
            pairs += tile_pairs
        for r in range(v):
            if in_chunk[r]:
                add_scaled(sum_in, r, ONE, chunk_in, r, dims)
                clear(chunk_in, r, dims)
            if out_chunk[r]:
                add_scaled(sum_out, r, ONE, chunk_out, r, dims)
                clear(chunk_out, r, dims)
    # Weights change last, since all gradients are taken from the weights before the step.
    for r in range(v):
        update(w_in, r, sum_in, pairs_in[r], lr, tau, dims)
        update(w_out, r, sum_out, pairs_out[r], lr, tau, dims)
    return loss, pairs


@kernel
def update(weights, r, sums, pairs, lr, tau, dims):
    """Move a weight row by its summed gradient; rows that the step does not touch stay as they are."""
    if pairs == 0:
        return
    scale = step_scale(pairs, lr, tau)
    if f32(pairs) > tau:
        scale = bounded(scale, dot(sums, r, sums, r, dims))
    add_scaled(weights, r, scale, sums, r, dims)


@kernel
def count_pairs(rows, cbow, v):
    """(context, output) pairs that touch each input and output row in the step; int64 [v] each."""
    target, offset, context, negatives = rows
    n, count = negatives.shape
    pairs_in, pairs_out = np.zeros(v, np.int64), np.zeros(v, np.int64)
    for t in range(n):
        m = offset[t + 1] - offset[t]
        terms = min(m, 1) if cbow else m
        if m > 0:
            pairs_out[target[t]] += terms
        for k in range(count):
            pairs_out[negatives[t, k]] += terms
        for a in range(offset[t], offset[t + 1]):
            pairs_in[context[a]] += count + 1
    return pairs_in, pairs_out
