"""The plan of a step: where every gradient row goes. Integers only, no weights.

A step sums gradients by tile (input side), then by chunk, then adds the chunk
sums of a weight row in order. The plan gives each (chunk, weight row) a place in
a buffer such that the places of one weight row follow each other in chunk order:
threads fill places in any order, and the update of a row then reads a stretch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.compile import kernel

i32, i64 = np.int32, np.int64

ENTRIES, LAST_SEEN, PLACES, PAIRS = 0, 1, 2, 3
"""Fields of a word's entry in a table of int32 [V, 4]."""


class Side(NamedTuple):
    """The weight rows (input or output side) that a step touches; stretch `at` belongs to the step."""

    row: np.ndarray
    """int32: the weight row"""
    first: np.ndarray
    """int32: its first place"""
    places: np.ndarray
    """int32: how many places, one a chunk"""
    pairs: np.ndarray
    """int32: (context, output) pairs that touch it in the step"""


class Plan(NamedTuple):
    """Plans of the steps of a block of n rows and m contexts with P outputs a row."""

    out_place: np.ndarray
    """int32 [n P]: place << 1 | first of the chunk; -1: the only entry of its row in the step"""
    in_slot: np.ndarray
    """int32 [m]: slot of the context word among the distinct ones of its tile"""
    slot_place: np.ndarray
    """int32 [m]: place << 1 | first of the chunk, of slot i of the tile that begins at row t: at offset[t] + i"""
    slots: np.ndarray
    """int32 [n]: distinct context words of the tile that begins at row t"""
    inputs: Side
    """stretch of a step: offset[first row] on"""
    outputs: Side
    """stretch of a step: first row * P on"""
    sizes: np.ndarray
    """int64 [S, 2]: rows of `inputs` and of `outputs` in each step"""


def new_plan(rows: int, contexts: int, outputs: int, steps: int) -> Plan:
    """Room for a block."""

    def side(n: int) -> Side:
        return Side(*(np.empty(n, i32) for _ in range(4)))

    return Plan(
        np.empty(rows * outputs, i32), np.empty(contexts, i32), np.empty(contexts, i32), np.empty(rows, i32),
        side(contexts), side(rows * outputs), np.empty((steps, 2), i64),
    )  # fmt: skip


@kernel
def plan_step(step, target, offset, context, negatives, bounds, cbow, tile, chunk, table, plan):
    """Plan one step; `table` is int32 [V, 4], all zero before and after."""
    begin, end = bounds[step], bounds[step + 1]
    plan.sizes[step, 0] = _plan_inputs(begin, end, offset, context, negatives.shape[1] + 1, tile, chunk, table, plan)
    plan.sizes[step, 1] = _plan_outputs(begin, end, target, offset, negatives, cbow, chunk, table, plan)


@kernel(inline="always")
def _meet_word(table, word, chunk_number, side, at, known):
    """Count the chunks that touch `word`; list it when it is new. Returns how many words are listed."""
    if table[word, ENTRIES] == 0:
        side.row[at + known] = word
        known += 1
        table[word, LAST_SEEN] = -1
    table[word, ENTRIES] += 1
    if table[word, LAST_SEEN] != chunk_number:
        table[word, LAST_SEEN] = chunk_number
        table[word, PLACES] += 1
    return known


@kernel
def _give_places(table, side, at, known, pairs_an_entry, single):
    """Give each listed word its stretch of places; with `single`, words of one entry need none."""
    place = i32(0)
    for i in range(at, at + known):
        word = side.row[i]
        side.first[i] = place
        side.pairs[i] = table[word, PAIRS] if pairs_an_entry == 0 else table[word, ENTRIES] * i32(pairs_an_entry)
        side.places[i] = 0 if single and table[word, ENTRIES] == 1 else table[word, PLACES]
        table[word, PLACES] = place - i32(1)
        table[word, LAST_SEEN] = -1
        place += side.places[i]


@kernel
def _forget(table, side, at, known):
    for i in range(at, at + known):
        word = side.row[i]
        table[word, ENTRIES] = 0
        table[word, PLACES] = 0
        table[word, PAIRS] = 0


@kernel
def _plan_inputs(begin, end, offset, context, outputs, tile, chunk, table, plan):
    side, at, known = plan.inputs, i64(offset[begin]), i64(0)
    for start in range(begin, end, chunk):
        number = i32((start - begin) // chunk)
        for i in range(offset[start], offset[min(start + chunk, end)]):
            known = _meet_word(table, context[i], number, side, at, known)
    _give_places(table, side, at, known, outputs, False)
    for start in range(begin, end, tile):
        number = i32((start - begin) // tile)
        tiles = i32(chunk // tile)
        base, slots = offset[start], i32(0)
        for i in range(base, offset[min(start + tile, end)]):
            word = context[i]
            last = table[word, LAST_SEEN]
            if last != number:
                new = last < 0 or last // tiles != number // tiles
                table[word, LAST_SEEN] = number
                table[word, PLACES] += i32(new)
                table[word, PAIRS] = slots
                plan.slot_place[base + slots] = (table[word, PLACES] << i32(1)) | i32(new)
                slots += i32(1)
            plan.in_slot[i] = table[word, PAIRS]
        plan.slots[start] = slots
    _forget(table, side, at, known)
    return known


@kernel
def _plan_outputs(begin, end, target, offset, negatives, cbow, chunk, table, plan):
    outputs = negatives.shape[1] + 1
    side, at, known = plan.outputs, begin * outputs, i64(0)
    for t in range(begin, end):
        pairs = offset[t + 1] - offset[t]
        if pairs == 0:
            continue
        number = i32((t - begin) // chunk)
        for k in range(outputs):
            word = target[t] if k == 0 else negatives[t, k - 1]
            known = _meet_word(table, word, number, side, at, known)
            table[word, PAIRS] += i32(1) if cbow else pairs
    _give_places(table, side, at, known, 0, True)
    for t in range(begin, end):
        if offset[t + 1] == offset[t]:
            continue
        number = i32((t - begin) // chunk)
        for k in range(outputs):
            word = target[t] if k == 0 else negatives[t, k - 1]
            if table[word, ENTRIES] == 1:
                plan.out_place[t * outputs + k] = -1
                continue
            new = table[word, LAST_SEEN] != number
            table[word, LAST_SEEN] = number
            table[word, PLACES] += i32(new)
            plan.out_place[t * outputs + k] = (table[word, PLACES] << i32(1)) | i32(new)
    _forget(table, side, at, known)
    return known
