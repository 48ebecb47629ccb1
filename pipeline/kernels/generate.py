"""Rows of (context, target, negatives) from sentences of token ids.

Everything is integers: keep-probabilities and alias thresholds arrive as uint32
and are compared as such, so any machine makes the same rows.
Uses of the random numbers of one position (see `philox`):
  KEEP_AND_RADIUS  draw 0: word 0 decides whether the token is kept, word 1 its window radius
  NEGATIVES        draw j: negatives 2j (words 0, 1) and 2j+1 (words 2, 3)
  REDRAW           draw 64 k + i: the i-th redraw of negative k (words 0, 1)
  EXACT_DRAW       draw k: negative k over what is still allowed (words 0, 1 as one 64-bit number)
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels import philox
from pipeline.kernels.compile import kernel
from pipeline.kernels.philox import below

ANY, EXCLUDE_TARGET, DISTINCT = 0, 1, 2
"""Negative policies."""
REDRAWS = 64
"""After so many redraws a negative is drawn exactly, in time linear in the vocabulary."""
MICRO_BLOCK = 4096
"""Positions worked on at a time: the scratch arrays stay in the cache."""

i32, i64, u32, u64 = np.int32, np.int64, np.uint32, np.uint64
_HALF, _LOW = u64(32), u64(0xFFFFFFFF)


@kernel(inline="always")
def _high_word(position, epoch):
    return u32(u64(position) >> _HALF) | (u32(epoch) << u32(16))


@kernel
def _fill(out, positions, n, epoch, purpose, draw, k0, k1):
    """Philox words of n positions into out[0:4, :n]."""
    for i in range(n):
        position = positions[i]
        a, b, c, d = philox.philox(u32(u64(position) & _LOW), _high_word(position, epoch), purpose, draw, k0, k1)
        out[0, i] = a
        out[1, i] = b
        out[2, i] = c
        out[3, i] = d


@kernel(inline="always")
def _from_alias_table(x, y, size, table):
    """Walker/Vose draw from two uint32: table entries are alias << 32 | threshold."""
    i = below(x, size)
    entry = table[i]
    return i32(i) if y < u32(entry & _LOW) else i32(entry >> _HALF)


@kernel
def _multiply_high(a, b):
    """High 64 bits of the product of two uint64."""
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
def _redraw(row, k, target, position, epoch, policy, table, weights, k0, k1):
    """Another negative k for a row whose first draw is not allowed: the same law, in bounded time."""
    low, high = u32(u64(position) & _LOW), _high_word(position, epoch)
    for i in range(REDRAWS):
        a, b, _, _ = philox.philox(low, high, u32(philox.REDRAW), u32(REDRAWS * k + i), k0, k1)
        word = _from_alias_table(a, b, len(table), table)
        if _allowed(word, row, k, target, policy):
            return word
    total = u64(0)
    for word in range(len(weights)):
        if _allowed(word, row, k, target, policy):
            total += u64(weights[word])
    a, b, _, _ = philox.philox(low, high, u32(philox.EXACT_DRAW), u32(k), k0, k1)
    rest = _multiply_high((u64(a) << _HALF) | u64(b), total)
    for word in range(len(weights)):
        if _allowed(word, row, k, target, policy):
            if rest < u64(weights[word]):
                return i32(word)
            rest -= u64(weights[word])
    return i32(-1)  # unreachable: rest < total, and the caller has checked that a word is allowed


@kernel
def _draw_negatives(negatives, target, positions, first, rows, epoch, policy, table, weights, scratch, k0, k1):
    count = negatives.shape[1]
    for j in range((count + 1) // 2):
        _fill(scratch, positions[first : first + rows], rows, epoch, u32(philox.NEGATIVES), u32(j), k0, k1)
        for i in range(rows):
            negatives[first + i, 2 * j] = _from_alias_table(scratch[0, i], scratch[1, i], len(table), table)
        if 2 * j + 1 < count:
            for i in range(rows):
                negatives[first + i, 2 * j + 1] = _from_alias_table(scratch[2, i], scratch[3, i], len(table), table)
    if policy == ANY:
        return
    for i in range(first, first + rows):
        for k in range(count):
            word = negatives[i, k]
            clash = word == target[i]
            if policy == DISTINCT:
                for j in range(k):
                    clash |= negatives[i, j] == word
            if clash:
                negatives[i, k] = _redraw(
                    negatives[i], k, target[i], positions[i], epoch, policy, table, weights, k0, k1
                )


@kernel
def generate(
    tokens,
    sentences,
    first_position,
    keep,
    table,
    weights,
    window,
    policy,
    epoch,
    k0,
    k1,
    position,
    target,
    offset,
    context,
    negatives,
):
    """Rows of whole sentences; returns how many.

    Args:
      tokens: int32 [n]; sentences: int64 [s+1] offsets into it.
      first_position: position of tokens[sentences[0]] in the corpus.
      keep: uint32 [V]; table: uint64 [V], alias << 32 | threshold; weights: int64 [V].
      window, policy, epoch, k0, k1: integers; window 0 takes all other kept tokens of the sentence.
      position, target: int64, int32 [n]; offset: int32 [n+1]; context: int32 [>= 2 window n, or with
        window 0 the sum of length * (length - 1) over the sentences];
      negatives: int32 [n, K]. All written in place. n >= the positions of the sentences.
    """
    longest = i64(MICRO_BLOCK)
    for s in range(len(sentences) - 1):
        longest = max(longest, sentences[s + 1] - sentences[s])
    drawn = np.empty((4, longest), u32)
    places = np.empty(longest + 1, i64)
    kept = np.empty(longest + 1, i32)
    kept_sentence = np.empty(longest + 1, i32)
    radius = np.empty(longest + 1, u32)
    rows = i64(0)
    contexts = i64(0)
    offset[0] = 0
    s = 0
    while s < len(sentences) - 1:
        start, stop = s, s + 1
        while stop < len(sentences) - 1 and sentences[stop + 1] - sentences[start] <= longest:
            stop += 1
        s = stop
        begin, end = sentences[start], sentences[stop]
        n = end - begin
        base = first_position + begin - sentences[0]
        for i in range(n):
            places[i] = base + i
        _fill(drawn, places, n, epoch, u32(philox.KEEP_AND_RADIUS), u32(0), k0, k1)
        m = i64(0)
        for sentence in range(start, stop):
            for i in range(sentences[sentence] - begin, sentences[sentence + 1] - begin):
                word = tokens[begin + i]
                places[m] = base + i  # m <= i: compaction in place, without a branch
                kept[m] = word
                kept_sentence[m] = sentence - start
                radius[m] = drawn[1, i]
                m += i64(drawn[0, i] <= keep[word])
        first = rows
        low, high = i64(0), i64(0)
        for i in range(m):
            before = contexts
            if window == 0:
                if i == high:
                    low = i64(i)
                    while high < m and kept_sentence[high] == kept_sentence[low]:
                        high += 1
            else:
                reach = below(radius[i], window) + 1
                low, high = i64(max(i - reach, 0)), i64(min(i + reach + 1, m))
            for j in range(low, high):
                context[contexts] = kept[j]
                contexts += i64((kept_sentence[j] == kept_sentence[i]) & (j != i))
            position[rows] = places[i]
            target[rows] = kept[i]
            if contexts > before:
                rows += 1
                offset[rows] = contexts
        _draw_negatives(negatives, target, position, first, rows - first, epoch, policy, table, weights, drawn, k0, k1)
    return rows
