"""The plan of a step: where every gradient row goes. Integers only, no weights.

A step sums gradients by tile (input side), then by chunk, then adds the chunk
sums of a weight row in order. The plan gives each (chunk, weight row) a place in
a buffer such that the places of one weight row follow each other in chunk order:
threads fill places in any order, and the update of a row then reads a stretch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels import weight_rows
from pipeline.kernels.compile import kernel

i32, i64, u64 = np.int32, np.int64, np.uint64

PAIRS = u64(0)
"""Field of a word in a table of int64: its (context, output) pairs; then its slot in a tile."""
LAST_SEEN, PLACES = u64(2), u64(3)
"""Fields in the same table as int32: twice the chunk of the word's last entry, and 1 if it was not the first; the
chunks that have some, and then its last place."""
_WORD, _HALVES = u64(2), u64(4)
"""A word's fields stand together. Indexes are unsigned, which spares the check for negative ones: half the work of a
plan."""
_ALONE = i32(-2)
"""The place before the first of a word that needs none: its only entry then gets -1."""


TARGETS_AHEAD = u64(8)
"""Targets whose outputs' numbers are asked for before they are needed: the table of all words is large."""


class Notes(NamedTuple):
    """One thread's memory for plans of steps of at most n entries a side."""

    number: np.ndarray
    """int32 [V], zeros before and after: the number, from 1, of a word among those of the step"""
    word: np.ndarray
    """int32 [n + 1]: the word of a number"""
    table: np.ndarray
    """int64 [(n + 1) 2], zeros before and after: fields of a number's word. Numbers are few and given in
    turn, so this stays in the cache where a table of all words would not."""
    halves: np.ndarray
    """int32: the same memory"""
    entry: np.ndarray
    """int32 [n]: the number of each entry's word"""


def new_notes(words: int, entries: int) -> Notes:
    """Memory for steps of so many entries."""
    table = np.zeros((entries + 1) * int(_WORD), i64)
    return Notes(np.zeros(words, i32), np.zeros(entries + 1, i32), table, table.view(i32), np.zeros(entries, i32))


class Side(NamedTuple):
    """The weight rows (input or output side) that a step updates when its gradients are summed."""

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
        np.empty(rows * outputs, i32),
        np.empty(contexts, i32),
        np.empty(contexts, i32),
        np.empty(rows, i32),
        side(contexts),
        side(rows * outputs),
        np.empty((steps, 2), i64),
    )


@kernel(allocates=False)
def plan_step(step, block, notes):
    """Plan one step of a `Block`, into its plan."""
    begin, end = block.bounds[step], block.bounds[step + 1]
    block.plan.sizes[step, 1] = _plan_outputs(begin, end, block.rows, block.rules, notes, block.plan)
    block.plan.sizes[step, 0] = _plan_inputs(begin, end, block.rows, block.rules, notes, block.plan)


@kernel(inline="always", allocates=False)
def _meet_word(notes, word_id, entry, chunk, pairs, known):
    """Number the entry's word, add its pairs, and count the chunks that have some.

    Returns how many words are known. No branches: they would be guessed wrong too often.
    """
    number = notes.number[u64(word_id)]
    number = known + i32(1) if number == 0 else number
    notes.number[u64(word_id)] = number
    notes.word[u64(number)] = word_id
    notes.entry[entry] = number
    notes.table[u64(number) * _WORD + PAIRS] += pairs
    at = u64(number) * _HALVES
    last = notes.halves[at + LAST_SEEN]
    notes.halves[at + LAST_SEEN] = (chunk << i32(1)) | i32(last != 0)
    notes.halves[at + PLACES] += i32((last >> i32(1)) != chunk)
    return max(known, number)


@kernel(allocates=False)
def _give_places(notes, known, side, at, single):
    """Give each word its stretch of places and list it; with `single`, words of one entry need neither.

    Words come in the order in which the step meets them, so the places do not depend on threads.

    Returns how many are listed, from side[at] on.
    """
    place, listed = i32(0), at
    for number in range(u64(1), u64(known) + u64(1)):
        half = number * _HALVES
        word, places = notes.word[number], notes.halves[half + PLACES]
        alone = i32(single) & ~notes.halves[half + LAST_SEEN] & i32(1)
        places = places * (i32(1) - alone)
        side.row[listed] = word
        side.first[listed] = place
        side.places[listed] = places
        side.pairs[listed] = notes.table[number * _WORD + PAIRS]
        listed += u64(1) - u64(alone)
        notes.halves[half + PLACES] = _ALONE if alone else place - i32(1)
        notes.halves[half + LAST_SEEN] = 0
        notes.number[u64(word)] = 0
        place += places
    return i64(listed - at)


@kernel(allocates=False)
def _forget(notes, known):
    """Zeros again, for the next step: only what was used, since the tables are as large as the largest step."""
    for i in range(u64(0), (u64(known) + u64(1)) * _WORD):
        notes.table[i] = 0


@kernel(allocates=False)
def _plan_inputs(begin, end, rows, rules, notes, plan):
    offset, context, outputs, tile, chunk = (
        rows.offset,
        rows.context,
        rows.negatives.shape[1] + 1,
        rules.tile,
        rules.chunk,
    )
    table, halves, first = notes.table, notes.halves, u64(offset[begin])
    # Two passes over the entries: the first counts each word's chunks, for only then is known where its places begin.
    known, number = i32(0), i32(0)
    for start in range(begin, end, chunk):
        number += i32(1)
        for i in range(u64(offset[start]), u64(offset[min(start + chunk, end)])):
            known = _meet_word(notes, context[i], i - first, number, i64(outputs), known)
    # Inputs always go by a tile sum, so even a word of one entry needs a place: `single` is False.
    listed = _give_places(notes, known, plan.inputs, first, False)
    tiles = i32(chunk // tile)
    number = i32(0)  # of the tile, from 1
    chunk_begins = i32(1)  # number of the first tile of the chunk
    for start in range(begin, end, tile):
        number += i32(1)
        if number - chunk_begins == tiles:
            chunk_begins = number
        base, slots = u64(offset[start]), i32(0)
        for i in range(base, u64(offset[min(start + tile, end)])):
            word = u64(notes.entry[i - first])
            half = word * _HALVES
            last = halves[half + LAST_SEEN]
            new_in_tile, new_in_chunk = last != number, i32(last < chunk_begins)
            slot = slots if new_in_tile else i32(table[word * _WORD + PAIRS])
            place = halves[half + PLACES] + new_in_chunk
            halves[half + LAST_SEEN] = number
            halves[half + PLACES] = place
            table[word * _WORD + PAIRS] = slot
            plan.in_slot[i] = slot
            # Written even where the slot is an old one: the next new slot overwrites it, and no branch is guessed.
            plan.slot_place[base + u64(slots)] = (place << i32(1)) | new_in_chunk
            slots += i32(new_in_tile)
        plan.slots[start] = slots
    _forget(notes, known)
    return listed


@kernel(allocates=False)
def _plan_outputs(begin, end, rows, rules, notes, plan):
    target, offset, chunk = rows.target, rows.offset, rules.chunk
    halves, count = notes.halves, u64(rows.negatives.shape[1])
    flat = rows.negatives.reshape(-1)
    first = u64(begin) * (count + u64(1))
    known, number = i32(0), i32(0)
    for start in range(begin, end, chunk):
        number += i32(1)
        for t in range(u64(start), u64(min(start + chunk, end))):
            pairs = offset[t + u64(1)] - offset[t]
            if pairs == 0:
                continue
            touched = i64(1) if rules.cbow else i64(pairs)
            ahead = min(t + TARGETS_AHEAD, u64(end) - u64(1))
            weight_rows.ask(notes.number, i64(target[ahead]))
            for j in range(ahead * count, (ahead + u64(1)) * count):
                weight_rows.ask(notes.number, i64(flat[j]))
            entry = t * (count + u64(1)) - first
            known = _meet_word(notes, target[t], entry, number, touched, known)
            for j in range(u64(1), count + u64(1)):
                known = _meet_word(notes, flat[t * count + j - u64(1)], entry + j, number, touched, known)
    listed = _give_places(notes, known, plan.outputs, first, True)
    number = i32(0)
    for start in range(begin, end, chunk):
        number += i32(1)
        for t in range(u64(start), u64(min(start + chunk, end))):
            if offset[t + u64(1)] == offset[t]:
                continue
            for at in range(t * (count + u64(1)), (t + u64(1)) * (count + u64(1))):
                half = u64(notes.entry[at - first]) * _HALVES
                new = i32(halves[half + LAST_SEEN] != number)
                place = halves[half + PLACES] + new
                halves[half + LAST_SEEN] = number
                halves[half + PLACES] = place
                plan.out_place[at] = (place << i32(1)) | new
    _forget(notes, known)
    return listed
