"""Rows of (context, target, negatives) from sentences of token ids.

All arithmetic is on integers: keep probabilities and alias thresholds are uint32 and are compared as such. So every
machine makes the same rows. Each position has its own random numbers (see `philox`):
  KEEP_AND_RADIUS  draw 0: word 0 decides whether the token is kept, word 1 its window radius
and those for its negatives (`negatives.py`).
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels import philox
from pipeline.kernels.compile import kernel
from pipeline.kernels.negatives import draw_negatives, fill, new_taken
from pipeline.kernels.philox import below

MICRO_BLOCK = 4096
"""Positions that are worked on together, so that the scratch arrays stay in the cache."""

i32, i64, u32 = np.int32, np.int64, np.uint32


@kernel
def generate(tokens, sentences, first_position, tables, rules, position, room):
    """Rows of whole sentences; returns how many.

    Args:
      tokens: int32 [n]; sentences: int64 [s + 1], offsets into tokens.
      first_position: position of tokens[sentences[0]] in the corpus.
      tables: `Tables`; rules: `DrawRules`.
      position: int64 [n], written: where in the corpus each row's target is; n >= the positions of the sentences.
      room: a `Rows` with room for n rows, written. Its contexts have room for 2 window n, or with window 0 for the
        sum of length * (length - 1) over the sentences, and for one more: a context is written before it counts.
    """
    target, offset, context, negatives = room
    keep, window = tables.keep, rules.window
    longest = i64(MICRO_BLOCK)
    for s in range(len(sentences) - 1):
        longest = max(longest, sentences[s + 1] - sentences[s])
    drawn = np.empty((4, longest), u32)
    places = np.empty(longest + 1, i64)
    kept = np.empty(longest + 1, i32)
    kept_sentence = np.empty(longest + 1, i32)
    radius = np.empty(longest + 1, u32)
    taken = new_taken(len(keep), negatives.shape[1], rules.policy)
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
        fill(drawn, places, n, u32(philox.KEEP_AND_RADIUS), u32(0), rules)
        m = i64(0)
        for sentence in range(start, stop):
            for i in range(sentences[sentence] - begin, sentences[sentence + 1] - begin):
                word = tokens[begin + i]
                # Written always, counted only if kept: compaction in place (m <= i), without a branch to mispredict.
                places[m] = base + i
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
            # Written always and counted after, as the tokens above: the next context overwrites what does not count.
            for j in range(low, high):
                context[contexts] = kept[j]
                contexts += i64((kept_sentence[j] == kept_sentence[i]) & (j != i))
            position[rows] = places[i]
            target[rows] = kept[i]
            if contexts > before:
                rows += 1
                offset[rows] = contexts
        draw_negatives(negatives, target, position, first, rows - first, tables, rules, drawn, taken)
    return rows
