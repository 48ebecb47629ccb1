"""How negatives are drawn: by the alias table first, and again where the policy forbids the word.

Each position has its own random numbers (see `philox`), which are used so:
  NEGATIVES   draw j: negatives 2j (words 0, 1) and 2j+1 (words 2, 3)
  REDRAW      draw 64 k + i: the i-th redraw of negative k (words 0, 1)
  EXACT_DRAW  draw k: negative k over what is still allowed (words 0, 1 as one 64-bit number)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels import philox
from pipeline.kernels.compile import kernel
from pipeline.kernels.philox import below

ANY, EXCLUDE_TARGET, DISTINCT = 0, 1, 2
"""Negative policies."""
REDRAWS = 64
"""After so many failed redraws a negative is drawn exactly, which takes time linear in the vocabulary, or logarithmic
if words are marked."""
SEARCHED = 256
"""Most negatives of a row that are searched for a word. Words are marked where there are more, or many for the
vocabulary."""


class DrawRules(NamedTuple):
    """How the rows of an epoch are drawn."""

    window: int
    """int64: the largest radius; 0 takes all other kept tokens of the sentence"""
    policy: int
    """int64: ANY, EXCLUDE_TARGET or DISTINCT"""
    epoch: int
    """int64, from 0, less than 2^16"""
    k0: np.uint32
    """uint32: the seed's low half"""
    k1: np.uint32
    """uint32: its high half"""


i32, i64, u32, u64 = np.int32, np.int64, np.uint32, np.uint64
_HALF, _LOW = u64(32), u64(0xFFFFFFFF)


@kernel(inline="always")
def _high_word(position, epoch):
    return u32(u64(position) >> _HALF) | (u32(epoch) << u32(16))


@kernel
def fill(out, positions, n, purpose, draw, rules):
    """Philox words of n positions into out[0:4, :n]."""
    for i in range(n):
        position = positions[i]
        low, high = u32(u64(position) & _LOW), _high_word(position, rules.epoch)
        a, b, c, d = philox.philox(low, high, purpose, draw, rules.k0, rules.k1)
        out[0, i] = a
        out[1, i] = b
        out[2, i] = c
        out[3, i] = d


@kernel(inline="always")
def _from_alias_table(x, y, packed):
    """A word from two uint32 (Walker, Vose): the first picks a column of the table, the second one of its two words."""
    i = below(x, len(packed))
    entry = packed[i]
    return i32(i) if y < u32(entry & _LOW) else i32(entry >> _HALF)


@kernel
def _multiply_high(a, b):
    """High 64 bits of the product of two uint64."""
    # Schoolbook multiplication by 32-bit halves: Numba has no 128-bit integers.
    a_low, a_high, b_low, b_high = a & _LOW, a >> _HALF, b & _LOW, b >> _HALF
    middle = a_high * b_low + ((a_low * b_low) >> _HALF)
    other = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> _HALF) + (other >> _HALF)


@kernel
def _allowed(word, row, k, target, policy):
    if word == target:
        return False
    if policy == DISTINCT:
        for j in range(k):
            if row[j] == word:
                return False
    return True


@kernel
def _redraw(row, k, target, position, tables, rules):
    """Another negative k for a row whose first draw is not allowed: by the same law, in bounded time.

    Drawing again until the word is allowed (rejection) gives each allowed word its probability among those allowed.
    """
    policy, weights = rules.policy, tables.weights
    for i in range(REDRAWS):
        word = _redrawn(k, i, position, tables, rules)
        if _allowed(word, row, k, target, policy):
            return word
    # Rejection takes too long where one word is nearly all of the distribution. So the last draw inverts the running
    # sum of the weights of the allowed words: the word in whose part of 0..total-1 the random number falls.
    total = u64(0)
    for word in range(len(weights)):
        if _allowed(word, row, k, target, policy):
            total += u64(weights[word])
    rest = _multiply_high(_exact_random(k, position, rules), total)
    for word in range(len(weights)):
        if _allowed(word, row, k, target, policy):
            if rest < u64(weights[word]):
                return i32(word)
            rest -= u64(weights[word])
    return i32(-1)  # unreachable: rest < total, and `Sampling.check` has made sure that a word is allowed


@kernel(inline="always")
def _redrawn(k, i, position, tables, rules):
    """The word of the i-th redraw of negative k."""
    low, high = u32(u64(position) & _LOW), _high_word(position, rules.epoch)
    a, b, _, _ = philox.philox(low, high, u32(philox.REDRAW), u32(REDRAWS * k + i), rules.k0, rules.k1)
    return _from_alias_table(a, b, tables.packed)


@kernel(inline="always")
def _exact_random(k, position, rules):
    """64 random bits for the exact draw of negative k."""
    low, high = u32(u64(position) & _LOW), _high_word(position, rules.epoch)
    a, b, _, _ = philox.philox(low, high, u32(philox.EXACT_DRAW), u32(k), rules.k0, rules.k1)
    return (u64(a) << _HALF) | u64(b)


class _Taken(NamedTuple):
    """The words that a row may not draw again, for rows with many distinct negatives. Empty arrays for other rows."""

    mark: np.ndarray
    """int32 [V]: the last row (from 1) that took the word"""
    sums: np.ndarray
    """int64 [V + 1]: a Fenwick tree (1994) of the weights, without those of words that were taken out. Entry i is the
    sum over the words i - (i & -i) .. i - 1, entry 0 that over all."""
    state: np.ndarray
    """int64 [2]: whether `sums` is filled; how many words are taken out: the target, then the negatives in order"""


@kernel
def new_taken(vocabulary, count, policy):
    is_dense = count > 16 and 4 * count > vocabulary
    size = vocabulary if policy == DISTINCT and (is_dense or count > SEARCHED) else 0
    return _Taken(np.zeros(size, np.int32), np.empty(size + 1, i64), np.zeros(2, i64))


@kernel
def _redraw_marked(row, target, position, tables, rules, taken, number):
    """Redraws all negatives of a row that are not allowed, as `_redraw` does, and marks them; `number` is from 1.

    Whether a word is allowed is one look-up, and an exact draw takes time logarithmic in the vocabulary.
    """
    mark, state = taken.mark, taken.state
    for k in range(len(row)):
        word, i = row[k], 0
        while (word == target or mark[word] == number) and i < REDRAWS:
            word = _redrawn(k, i, position, tables, rules)
            i += 1
        if word == target or mark[word] == number:
            _take_out(row, k, target, tables.weights, taken)
            word = _at_running_sum(_multiply_high(_exact_random(k, position, rules), u64(taken.sums[0])), taken.sums)
        row[k] = word
        mark[word] = number
    for missing in range(state[1]):
        _add(taken.sums, target if missing == 0 else row[missing - 1], tables.weights, 1)
    state[1] = 0


@kernel
def _take_out(row, k, target, weights, taken):
    """Takes the target and the negatives before k out of the tree, which is filled when it is needed first."""
    sums, state, size = taken.sums, taken.state, len(weights)
    if state[0] == 0:
        sums[:] = 0
        for word in range(size):
            _add(sums, word, weights, 1)
        state[0] = 1
    while state[1] <= k:
        _add(sums, target if state[1] == 0 else row[state[1] - 1], weights, -1)
        state[1] += 1


@kernel
def _at_running_sum(rest, sums):
    """The first word whose running sum is above `rest`."""
    step, word = i64(1), i64(0)
    while 2 * step < len(sums):
        step *= 2
    left = i64(rest)
    while step:
        if word + step < len(sums) and sums[word + step] <= left:
            word += step
            left -= sums[word]
        step //= 2
    return i32(word)


@kernel
def _add(sums, word, weights, sign):
    """Adds the weight of a word to the tree, or takes it out."""
    weight = sign * weights[word]
    sums[0] += weight
    i = i64(word) + 1
    while i < len(sums):
        sums[i] += weight
        i += i & -i


@kernel
def draw_negatives(negatives, target, positions, first, rows, tables, rules, scratch, taken):
    """The negatives of rows first..first+rows-1; `scratch` is uint32 [4, >= rows]."""
    count, policy = negatives.shape[1], rules.policy
    # First the random numbers of all rows, then all look-ups. Each loop is then simple enough for vector instructions,
    # or at least for cache misses that overlap. One call of Philox gives two draws.
    for j in range((count + 1) // 2):
        fill(scratch, positions[first : first + rows], rows, u32(philox.NEGATIVES), u32(j), rules)
        for i in range(rows):
            negatives[first + i, 2 * j] = _from_alias_table(scratch[0, i], scratch[1, i], tables.packed)
        if 2 * j + 1 < count:
            for i in range(rows):
                negatives[first + i, 2 * j + 1] = _from_alias_table(scratch[2, i], scratch[3, i], tables.packed)
    if policy == ANY:
        return
    if len(taken.mark):
        for i in range(first, first + rows):
            _redraw_marked(negatives[i], target[i], positions[i], tables, rules, taken, i + 1)
        return
    for i in range(first, first + rows):
        for k in range(count):
            word = negatives[i, k]
            clash = word == target[i]
            if policy == DISTINCT:
                for j in range(k):
                    clash |= negatives[i, j] == word
            if clash:
                negatives[i, k] = _redraw(negatives[i], k, target[i], positions[i], tables, rules)
