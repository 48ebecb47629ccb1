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

i32, i64, u64 = np.int32, np.int64, np.uint64

ENTRIES, LAST_SEEN, PLACES, PAIRS = u64(0), u64(1), u64(2), u64(3)
FIELDS = 4
"""A word's fields stand together in a table of int32 [V * 4]. Indexes are unsigned, which
spares the check for negative ones: half the work of a plan."""
_WORD = u64(FIELDS)


class Side(NamedTuple):
    """The weight rows (input or output side) that a step touches; stretch `at` belongs to the step."""

    row: np.ndarray
    """int32: the weight row"""
    first: np.ndarray
    """int32: its first place"""
    places: np.ndarray
    """int32: how many places, one a chunk"""
    pairs: np.ndarray
    """int64: (context, output) pairs that touch it in the step"""


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
        return Side(np.empty(n, i32), np.empty(n, i32), np.empty(n, i32), np.empty(n, i64))

    return Plan(
        np.empty(rows * outputs, i32), np.empty(contexts, i32), np.empty(contexts, i32), np.empty(rows, i32),
        side(contexts), side(rows * outputs), np.empty((steps, 2), i64),
    )  # fmt: skip


@kernel(allocates=False)
def plan_step(step, target, offset, context, negatives, bounds, cbow, tile, chunk, table, plan):
    """Plan one step; `table` is int32 [V * 4], all zero before and after."""
    begin, end = bounds[step], bounds[step + 1]
    plan.sizes[step, 0] = _plan_inputs(begin, end, offset, context, negatives.shape[1] + 1, tile, chunk, table, plan)
    plan.sizes[step, 1] = _plan_outputs(begin, end, target, offset, negatives, cbow, chunk, table, plan)


@kernel(inline="always", allocates=False)
def _meet_word(table, word_id, chunk, side, at):
    """Count the entries of `word` and the chunks that have some; list it when it is new.

    Returns where the next one is listed. No branches: they would be guessed wrong too often.
    """
    word = u64(word_id) * _WORD
    entries, last = table[word + ENTRIES], table[word + LAST_SEEN]
    side.row[at] = word_id
    table[word + ENTRIES] = entries + i32(1)
    table[word + LAST_SEEN] = chunk
    table[word + PLACES] += i32(last != chunk)
    return at + u64(entries == 0)


@kernel(allocates=False)
def _give_places(table, side, begin, end, pairs_an_entry, single):
    """Give each listed word its stretch of places; with `single`, words of one entry need none."""
    place = i32(0)
    for i in range(begin, end):
        word = u64(side.row[i]) * _WORD
        entries = table[word + ENTRIES]
        places = table[word + PLACES] * i32(1 - (single & (entries == 1)))
        side.first[i] = place
        side.places[i] = places
        side.pairs[i] = table[word + PAIRS] if pairs_an_entry == 0 else i64(entries) * i64(pairs_an_entry)
        table[word + PLACES] = place - i32(1)
        table[word + LAST_SEEN] = 0
        place += places


@kernel(allocates=False)
def _forget(table, side, begin, end):
    for i in range(begin, end):
        word = u64(side.row[i]) * _WORD
        table[word + ENTRIES] = 0
        table[word + LAST_SEEN] = 0
        table[word + PLACES] = 0
        table[word + PAIRS] = 0


@kernel(allocates=False)
def _plan_inputs(begin, end, offset, context, outputs, tile, chunk, table, plan):
    side, first = plan.inputs, u64(offset[begin])
    known = first
    number = i32(0)
    for start in range(begin, end, chunk):
        number += i32(1)
        for i in range(u64(offset[start]), u64(offset[min(start + chunk, end)])):
            known = _meet_word(table, context[i], number, side, known)
    _give_places(table, side, first, known, outputs, False)
    tiles = i32(chunk // tile)
    number = i32(0)  # of the tile, from 1
    chunk_begins = i32(1)  # number of the first tile of the chunk
    for start in range(begin, end, tile):
        number += i32(1)
        if number - chunk_begins == tiles:
            chunk_begins = number
        base, slots = u64(offset[start]), i32(0)
        for i in range(base, u64(offset[min(start + tile, end)])):
            word = u64(context[i]) * _WORD
            last = table[word + LAST_SEEN]
            new_in_tile, new_in_chunk = last != number, i32(last < chunk_begins)
            slot = slots if new_in_tile else table[word + PAIRS]
            place = table[word + PLACES] + new_in_chunk
            table[word + LAST_SEEN] = number
            table[word + PLACES] = place
            table[word + PAIRS] = slot
            plan.in_slot[i] = slot
            plan.slot_place[base + u64(slots)] = (place << i32(1)) | new_in_chunk
            slots += i32(new_in_tile)
        plan.slots[start] = slots
    _forget(table, side, first, known)
    return i64(known - first)


@kernel(allocates=False)
def _plan_outputs(begin, end, target, offset, negatives, cbow, chunk, table, plan):
    count = u64(negatives.shape[1])
    flat = negatives.reshape(-1)
    side, first = plan.outputs, u64(begin) * (count + u64(1))
    known = first
    number = i32(0)
    for start in range(begin, end, chunk):
        number += i32(1)
        for t in range(u64(start), u64(min(start + chunk, end))):
            pairs = offset[t + u64(1)] - offset[t]
            if pairs == 0:
                continue
            touched = i32(1) if cbow else pairs
            known = _meet_word(table, target[t], number, side, known)
            table[u64(target[t]) * _WORD + PAIRS] += touched
            for j in range(t * count, (t + u64(1)) * count):
                known = _meet_word(table, flat[j], number, side, known)
                table[u64(flat[j]) * _WORD + PAIRS] += touched
    _give_places(table, side, first, known, 0, True)
    number = i32(0)
    for start in range(begin, end, chunk):
        number += i32(1)
        for t in range(u64(start), u64(min(start + chunk, end))):
            if offset[t + u64(1)] == offset[t]:
                continue
            at = t * (count + u64(1))
            plan.out_place[at] = _place(table, target[t], number)
            for j in range(u64(0), count):
                plan.out_place[at + u64(1) + j] = _place(table, flat[t * count + j], number)
    _forget(table, side, first, known)
    return i64(known - first)


@kernel(inline="always", allocates=False)
def _place(table, word_id, number):
    """Where an output's gradient goes, as in `Plan.out_place`."""
    word = u64(word_id) * _WORD
    new = i32(table[word + LAST_SEEN] != number)
    place = table[word + PLACES] + new
    table[word + LAST_SEEN] = number
    table[word + PLACES] = place
    return i32(-1) if table[word + ENTRIES] == 1 else (place << i32(1)) | new
