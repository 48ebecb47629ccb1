"""The plan of a step: where every gradient row goes. It is made of integers alone, from the rows, without the weights.

A step sums gradients by tile (input side only), then by chunk, and then adds the chunk sums of a weight row in order.
The plan gives each (chunk, weight row) a place in a buffer. The places of one weight row follow each other in chunk
order. So threads may fill places in any order, and the update of a weight row reads consecutive places and adds them in
the order of the definition.

An entry is one use of a weight row: a context on the input side, a target or a negative on the output side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.bits import prefetch
from pipeline.kernels.compile import kernel

i32, i64, u64 = np.int32, np.int64, np.uint64

# A word has four fields side by side in one table, which is viewed as int64 and as int32. They change their meaning
# from the first pass over the entries to the second.
PAIRS = u64(0)
"""int64 field. First pass: the word's (context, output) pairs. Second: its slot in the current tile."""
LAST_SEEN, PLACES = u64(2), u64(3)
"""int32 fields. LAST_SEEN, first pass: 2 * chunk of the word's last entry, + 1 if there was one before it; second: its
last tile or chunk. PLACES, first pass: the number of chunks that have the word; second: the place it used last."""
_WORD, _HALVES = u64(2), u64(4)
"""Numbers of a word in the table, as int64 and as int32. Indexes are unsigned: Numba checks signed ones for negative
values, which was half the work of a plan."""
_ALONE = i32(-2)
"""Stands in for the last place used by a word that needs no place: its only entry then gets -1."""


NUMBERS_AHEAD = u64(8)
"""How many targets ahead of the plan the numbers of their outputs' words are prefetched: that table is of all words."""


class PlanScratch(NamedTuple):
    """One thread's working memory for plans of steps of at most n entries a side."""

    number: np.ndarray
    """int32 [V], zeros before and after: the number of a word among those of the step, from 1 in order of appearance"""
    word: np.ndarray
    """int32 [n + 1]: the word of a number"""
    table: np.ndarray
    """int64 [(n + 1) 2], zeros before and after: the fields of the word with a number. It has only the words of the
    step, so it stays in the cache, which a table of all words would not."""
    halves: np.ndarray
    """int32: the same memory as `table`"""
    entry: np.ndarray
    """int32 [n]: the number of each entry's word"""


def new_plan_scratch(words: int, entries: int) -> PlanScratch:
    """Memory for steps of so many entries."""
    table = np.zeros((entries + 1) * int(_WORD), i64)
    return PlanScratch(np.zeros(words, i32), np.zeros(entries + 1, i32), table, table.view(i32), np.zeros(entries, i32))


class Side(NamedTuple):
    """The weight rows (input or output side) that a step updates when its gradients are summed."""

    row: np.ndarray
    """int32: the weight row"""
    first: np.ndarray
    """int32: its first place"""
    places: np.ndarray
    """int32: how many places it has, one for each chunk that touches it"""
    pairs: np.ndarray
    """int64: (context, output) pairs that touch it in the step"""


class Plan(NamedTuple):
    """Plans of the steps of a block of n rows and m contexts with P outputs a row."""

    out_place: np.ndarray
    """int32 [n P]: place << 1 | (1 where the entry is the first of its chunk); -1 for the only entry of its weight row
    in the step, which is added to the weights directly"""
    in_slot: np.ndarray
    """int32 [m]: slot of the context word among the distinct context words of its tile"""
    slot_place: np.ndarray
    """int32 [m]: at index offset[t] + i, the place of slot i of the tile that begins at row t; as in `out_place`"""
    slots: np.ndarray
    """int32 [n]: at index t, the number of distinct context words of the tile that begins at row t"""
    inputs: Side
    """those of a step begin at offset[first row]"""
    outputs: Side
    """those of a step begin at first row * P"""
    sizes: np.ndarray
    """int64 [S, 2]: how many weight rows `inputs` and `outputs` list for each step"""


def new_plan(rows: int, contexts: int, outputs: int, steps: int) -> Plan:
    """An empty plan with room for a block of this size."""

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
def plan_step(step, block, scratch):
    """Plan one step of a `Block`: writes its parts of `block.plan`."""
    begin, end = block.bounds[step], block.bounds[step + 1]
    block.plan.sizes[step, 1] = _plan_outputs(begin, end, block.rows, block.rules, scratch, block.plan)
    block.plan.sizes[step, 0] = _plan_inputs(begin, end, block.rows, block.rules, scratch, block.plan)


@kernel(inline="always", allocates=False)
def _number_word(scratch, word_id, entry, chunk, pairs, known):
    """Number the entry's word, add its pairs, and count the chunks that have the word.

    Returns how many words have a number. It has no branches, because the CPU would mispredict them too often.
    """
    number = scratch.number[u64(word_id)]
    number = known + i32(1) if number == 0 else number
    scratch.number[u64(word_id)] = number
    scratch.word[u64(number)] = word_id
    scratch.entry[entry] = number
    scratch.table[u64(number) * _WORD + PAIRS] += pairs
    at = u64(number) * _HALVES
    last = scratch.halves[at + LAST_SEEN]
    scratch.halves[at + LAST_SEEN] = (chunk << i32(1)) | i32(last != 0)
    scratch.halves[at + PLACES] += i32((last >> i32(1)) != chunk)
    return max(known, number)


@kernel(allocates=False)
def _assign_places(scratch, known, side, at, single):
    """Give each word its consecutive places, and list it in `side`; with `single`, words of one entry get neither.

    Words are taken in the order in which the step meets them, so places do not depend on threads.

    Returns how many words are listed, from side[at] on.
    """
    place, listed = i32(0), at
    for number in range(u64(1), u64(known) + u64(1)):
        half = number * _HALVES
        word, places = scratch.word[number], scratch.halves[half + PLACES]
        alone = i32(single) & ~scratch.halves[half + LAST_SEEN] & i32(1)
        places = places * (i32(1) - alone)
        side.row[listed] = word
        side.first[listed] = place
        side.places[listed] = places
        side.pairs[listed] = scratch.table[number * _WORD + PAIRS]
        listed += u64(1) - u64(alone)
        scratch.halves[half + PLACES] = _ALONE if alone else place - i32(1)
        scratch.halves[half + LAST_SEEN] = 0
        scratch.number[u64(word)] = 0
        place += places
    return i64(listed - at)


@kernel(allocates=False)
def _clear_table(scratch, known):
    """Make the used part of the table zeros again. The rest is zeros still: tables are as large as the largest step."""
    for i in range(u64(0), (u64(known) + u64(1)) * _WORD):
        scratch.table[i] = 0


@kernel(allocates=False)
def _plan_inputs(begin, end, rows, rules, scratch, plan):
    offset, context, outputs, tile, chunk = (
        rows.offset,
        rows.context,
        rows.negatives.shape[1] + 1,
        rules.tile,
        rules.chunk,
    )
    table, halves, first = scratch.table, scratch.halves, u64(offset[begin])
    # Two passes over the entries: a word's places can only be laid out when the first has counted its chunks.
    known, chunk_number = i32(0), i32(0)
    for start in range(begin, end, chunk):
        chunk_number += i32(1)
        for i in range(u64(offset[start]), u64(offset[min(start + chunk, end)])):
            known = _number_word(scratch, context[i], i - first, chunk_number, i64(outputs), known)
    # `single` is False: the input side always goes through a tile sum, so even a word of one entry needs a place.
    listed = _assign_places(scratch, known, plan.inputs, first, False)
    tiles_a_chunk = i32(chunk // tile)
    tile_number = i32(0)  # from 1: 0 in a word's LAST_SEEN stands for no tile
    first_of_chunk = i32(1)  # number of the first tile of this tile's chunk
    for start in range(begin, end, tile):
        tile_number += i32(1)
        if tile_number - first_of_chunk == tiles_a_chunk:
            first_of_chunk = tile_number
        base, slots = u64(offset[start]), i32(0)
        for i in range(base, u64(offset[min(start + tile, end)])):
            word = u64(scratch.entry[i - first])
            half = word * _HALVES
            last = halves[half + LAST_SEEN]
            new_in_tile, new_in_chunk = last != tile_number, i32(last < first_of_chunk)
            slot = slots if new_in_tile else i32(table[word * _WORD + PAIRS])
            place = halves[half + PLACES] + new_in_chunk
            halves[half + LAST_SEEN] = tile_number
            halves[half + PLACES] = place
            table[word * _WORD + PAIRS] = slot
            plan.in_slot[i] = slot
            # Written even if the slot is not new: the next new slot overwrites it, and no branch can be mispredicted.
            plan.slot_place[base + u64(slots)] = (place << i32(1)) | new_in_chunk
            slots += i32(new_in_tile)
        plan.slots[start] = slots
    _clear_table(scratch, known)
    return listed


@kernel(allocates=False)
def _plan_outputs(begin, end, rows, rules, scratch, plan):
    target, offset, chunk = rows.target, rows.offset, rules.chunk
    halves, count = scratch.halves, u64(rows.negatives.shape[1])
    flat = rows.negatives.reshape(-1)
    first = u64(begin) * (count + u64(1))
    known, chunk_number = i32(0), i32(0)
    for start in range(begin, end, chunk):
        chunk_number += i32(1)
        for t in range(u64(start), u64(min(start + chunk, end))):
            pairs = offset[t + u64(1)] - offset[t]
            if pairs == 0:
                continue
            touched = i64(1) if rules.cbow else i64(pairs)
            ahead = min(t + NUMBERS_AHEAD, u64(end) - u64(1))
            prefetch(scratch.number, i64(target[ahead]))
            for j in range(ahead * count, (ahead + u64(1)) * count):
                prefetch(scratch.number, i64(flat[j]))
            entry = t * (count + u64(1)) - first
            known = _number_word(scratch, target[t], entry, chunk_number, touched, known)
            for j in range(u64(1), count + u64(1)):
                known = _number_word(scratch, flat[t * count + j - u64(1)], entry + j, chunk_number, touched, known)
    listed = _assign_places(scratch, known, plan.outputs, first, True)
    chunk_number = i32(0)
    for start in range(begin, end, chunk):
        chunk_number += i32(1)
        for t in range(u64(start), u64(min(start + chunk, end))):
            if offset[t + u64(1)] == offset[t]:
                continue
            for at in range(t * (count + u64(1)), (t + u64(1)) * (count + u64(1))):
                half = u64(scratch.entry[at - first]) * _HALVES
                new = i32(halves[half + LAST_SEEN] != chunk_number)
                place = halves[half + PLACES] + new
                halves[half + LAST_SEEN] = chunk_number
                halves[half + PLACES] = place
                plan.out_place[at] = (place << i32(1)) | new
    _clear_table(scratch, known)
    return listed
