"""The scalar arithmetic of a training step: sigmoid, step scale, cross-entropy.

A row of target o, contexts c and negatives n has, for each context (skip-gram) or for their mean (CBOW), the loss

    -log sigmoid(dot(c, o)) - sum over n of log sigmoid(-dot(c, n))

This is negative sampling, equation 4 of Mikolov et al. 2013 (Distributed representations of words and phrases and
their compositionality), with the sign turned. The gradient weight of an output is minus the derivative of the loss by
its score: 1 - sigmoid for the target, -sigmoid for a negative. So one function, `minus_sigmoid`, serves both.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.kernels import lanes
from pipeline.kernels.compile import kernel

f32 = np.float32

HALF, ONE, ZERO = f32(0.5), f32(1), f32(0)
CLIP = f32(7.9)
"""tanh is taken as constant from here on, where 1 - tanh is below 3e-7: five float32 units in the last place."""
MOST_MOVE = ONE
"""A damped row moves at most this far in one step (Euclidean length). Good runs never come near it. In a vocabulary of
a few dozen words every row is touched thousands of times a step: there the limit keeps training from diverging."""
# tanh(h) ~ h (A0 + A1 u + ... ) / (B0 + B1 u + ...), u = h*h: the minimax quotient that Eigen made widely used.
A = tuple(
    f32(x)
    for x in (
        4.89352455891786e-03,
        6.37261928875436e-04,
        1.48572235717979e-05,
        5.12229709037114e-08,
        -8.60467152213735e-11,
        2.00018790482477e-13,
        -2.76076847742355e-16,
    )
)
B = tuple(f32(x) for x in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06))


@kernel(allocates=False)
def minus_sigmoid(score):
    """-sigmoid(score) from +, -, * and / alone, each rounded once: the same bits everywhere."""
    # sigmoid(s) = 1/2 + tanh(s/2) / 2, and tanh is a quotient of polynomials. exp() would come from a C library, and
    # each library rounds it differently.
    # The polynomials are in Horner's scheme: p = h (A0 + u (A1 + ...)), q = B0 + u (B1 + ...). Each * and + is rounded
    # by itself. No compiler may reorder or fuse them, here, on lanes (below) or on the GPU: the bits would differ.
    h = min(max(score * HALF, -CLIP), CLIP)
    u = h * h
    p = h * (A[0] + u * (A[1] + u * (A[2] + u * (A[3] + u * (A[4] + u * (A[5] + u * A[6]))))))
    q = B[0] + u * (B[1] + u * (B[2] + u * B[3]))
    return -HALF - HALF * (p / q)


@kernel(allocates=False)
def minus_sigmoid_lanes(scores):
    """`minus_sigmoid` of sixteen scores: the same operations in the same order, so the same bits."""
    half = lanes.splat(HALF)
    h = lanes.clamp(lanes.multiply(scores, half), lanes.splat(CLIP))
    u = lanes.multiply(h, h)
    p = lanes.splat(A[6])
    p = lanes.add(lanes.splat(A[5]), lanes.multiply(u, p))
    p = lanes.add(lanes.splat(A[4]), lanes.multiply(u, p))
    p = lanes.add(lanes.splat(A[3]), lanes.multiply(u, p))
    p = lanes.add(lanes.splat(A[2]), lanes.multiply(u, p))
    p = lanes.add(lanes.splat(A[1]), lanes.multiply(u, p))
    p = lanes.multiply(h, lanes.add(lanes.splat(A[0]), lanes.multiply(u, p)))
    q = lanes.add(lanes.splat(B[2]), lanes.multiply(u, lanes.splat(B[3])))
    q = lanes.add(lanes.splat(B[1]), lanes.multiply(u, q))
    q = lanes.add(lanes.splat(B[0]), lanes.multiply(u, q))
    return lanes.subtract(lanes.splat(-HALF), lanes.multiply(half, lanes.divide(p, q)))


@kernel(allocates=False)
def step_scale(pairs, lr, tau):
    """lr * min(1, tau / pairs): the scale of the summed gradient of a row that `pairs` pairs touched in the step."""
    # `pairs` is an exact integer and is rounded once. lr * (tau / c) would give other bits: keep this order.
    c = f32(pairs)
    return lr if c <= tau else (lr * tau) / c


@kernel(allocates=False)
def bounded(scale, squares):
    """The scale of a damped row, reduced where the row would move further than MOST_MOVE.

    Args:
      squares: float32, squared length of the row's summed gradient.
    """
    move = scale * np.sqrt(squares)
    return scale / move if move > MOST_MOVE else scale


@kernel(allocates=False)
def cross_entropy(scores, at, count, outputs, target, negatives, zero_hits):
    """Loss of one row's pairs: -log sigmoid(s) for the target, -log sigmoid(-s) for negatives, in float64.

    Args:
      scores: float32, [count, outputs] from index `at` on; output 0 is the target.
      negatives: int32 [outputs - 1]; with `zero_hits`, those equal to `target` are left out.

    Returns:
      (sum, number of pairs).
    """
    # -log sigmoid(s) = max(-s, 0) + log(1 + exp(-|s|)), which neither overflows nor cancels. In float64, and by the
    # library's exp and log: the loss is only reported, no byte of the model depends on it.
    linear = 0.0
    product = 1.0  # product of the (1 + exp(-|s|)): sum of logarithms = logarithm of the product, taken seldom
    logs = 0.0
    pairs = 0
    for k in range(outputs):
        if k > 0 and zero_hits and negatives[k - 1] == target:
            continue
        for a in range(count):
            score = np.float64(scores[at + a * outputs + k])
            if k == 0:
                score = -score
            linear += max(score, 0.0)
            product *= 1.0 + math.exp(-abs(score))
            pairs += 1
            if product > 1e200:  # each factor is at most 2, so the product cannot overflow before this is seen
                logs += math.log(product)
                product = 1.0
    return linear + logs + math.log(product), pairs
