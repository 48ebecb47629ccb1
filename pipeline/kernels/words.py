"""Kernels of the word table: an open-addressing hash table over the bytes of words.

Hashes decide where a word is stored, never what is counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.bits import fold_product, load_word, prefetch
from pipeline.kernels.compile import kernel

_K0, _K1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xA0761D6478BD642F)
_K2, _K3 = np.uint64(0xE7037ED1A0B428DB), np.uint64(0x8EBC6AF09C88C6E3)
_ALL, _ONE, _LOW32 = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(1), np.uint64(0xFFFFFFFF)
_BITS_LENGTH = np.uint64(31)
_LENGTH = np.uint64(2**31 - 1)
_B8, _B29, _B32, _B35, _B64 = np.uint64(8), np.uint64(29), np.uint64(32), np.uint64(35), np.uint64(64)

_AHEAD = 32
"""How many tokens are hashed, and their cache lines prefetched, before they are looked up."""


class Table(NamedTuple):
    """The arrays of a word table; `pipeline.corpus.word_table` allocates them and makes sure that they have room.

    A word of at most 16 bytes is compared by its entry alone, which is half a cache line. Only longer words are
    compared in the arena too.
    """

    slots: np.ndarray
    """uint64 [a power of two]: 0 where empty, else the hash's high 32 bits << 32 | entry + 1"""
    entries: np.ndarray
    """uint64 [capacity, 4]: first 8 bytes, last 8 bytes, offset in the arena << 31 | length, value"""
    hashes: np.ndarray
    """uint64 [capacity]: of each entry's word"""
    arena: np.ndarray
    """uint8: the words' bytes, one word after the other"""


@kernel(allocates=False)
def _ends(buffer, start, end):
    """First and last 8 bytes of a word as integers; of a word of at most 8 bytes, the word and 0."""
    length = end - start
    if length > 8:
        return load_word(buffer, start), load_word(buffer, end - 8)
    if start + 8 <= buffer.shape[0]:
        return load_word(buffer, start) & (_ALL >> (_B64 - _B8 * np.uint64(length))), np.uint64(0)
    first = np.uint64(0)
    for i in range(length):
        first |= np.uint64(buffer[start + i]) << (_B8 * np.uint64(i))
    return first, np.uint64(0)


@kernel(allocates=False)
def _hash(buffer, start, end, first, last):
    """64 bits from a word's bytes (a multiply-fold hash in the manner of wyhash)."""
    length = end - start
    h = fold_product(first ^ _K1, last ^ _K2 ^ np.uint64(length))
    i = start + 8
    while i + 8 < end:
        h = fold_product(h ^ load_word(buffer, i), _K3)
        i += 8
    return fold_product(h ^ _K0, _K3)


@kernel(allocates=False)
def hash_words(buffer, offset, out):
    """Hashes (uint64 [n]) of the words buffer[offset[i]:offset[i + 1]]; none is empty."""
    for i in range(out.shape[0]):
        first, last = _ends(buffer, offset[i], offset[i + 1])
        out[i] = _hash(buffer, offset[i], offset[i + 1], first, last)


@kernel(allocates=False)
def _same_middle(buffer, start, end, arena, at):
    """Whether two words of equal length and ends agree in between; `at` is the other word's place in the arena."""
    shift = at - start
    i = start + 8
    while i + 8 < end:
        if load_word(buffer, i) != load_word(arena, i + shift):
            return False
        i += 8
    return True


@kernel(allocates=False)
def _find(buffer, start, end, first, last, h, table):
    """(entry of the word or -1, its slot or the empty slot where it belongs)."""
    slots, entries, arena = table.slots, table.entries, table.arena
    mask = np.uint64(slots.shape[0] - 1)
    length = np.uint64(end - start)
    slot = h & mask
    while True:
        value = slots[slot]
        if value == 0:
            return np.int64(-1), slot
        if value >> _B32 == h >> _B32:
            entry = np.int64(value & _LOW32) - 1
            place = entries[entry, 2]
            if (
                entries[entry, 0] == first
                and entries[entry, 1] == last
                and place & _LENGTH == length
                and (length <= 16 or _same_middle(buffer, start, end, arena, np.int64(place >> _BITS_LENGTH)))
            ):
                return entry, slot
        slot = (slot + _ONE) & mask


@kernel(allocates=False)
def _insert(buffer, start, end, first, last, h, slot, table, state):
    """Append a word that is not in the table; the caller has made sure that there is room."""
    entry, used = state[0], state[1]
    table.entries[entry, 0] = first
    table.entries[entry, 1] = last
    table.entries[entry, 2] = np.uint64(used) << _BITS_LENGTH | np.uint64(end - start)
    table.entries[entry, 3] = 0
    table.hashes[entry] = h
    for i in range(end - start):
        table.arena[used + i] = buffer[start + i]
    table.slots[slot] = (h >> _B32) << _B32 | np.uint64(entry + 1)
    state[0] = entry + 1
    state[1] = used + end - start
    return entry


@kernel(allocates=False)
def _mix(fingerprint, value):
    """The fingerprint with one more value mixed in. It is not commutative: another order gives another fingerprint."""
    mixed = (fingerprint ^ value) * _K0
    return mixed << _B29 | mixed >> _B35


@kernel(allocates=False)
def _look_ahead(spans, token, stop, table, ahead):
    """Hash the tokens token:stop into `ahead` (uint64 [.., 3]: first, last, hash) and prefetch their cache lines.

    Rare words miss the caches; when many are prefetched at once, the misses overlap.
    """
    mask = np.uint64(table.slots.shape[0] - 1)
    for j in range(stop - token):
        start, end = spans.start[token + j], spans.end[token + j]
        first, last = _ends(spans.buffer, start, end)
        h = _hash(spans.buffer, start, end, first, last)
        ahead[j, 0], ahead[j, 1], ahead[j, 2] = first, last, h
        prefetch(table.slots, np.int64(h & mask))
    for j in range(stop - token):
        value = table.slots[ahead[j, 2] & mask]
        prefetch(table.entries, np.int64(value & _LOW32) * 4 - 4)


@kernel
def count_sentences(spans, table, state, ids):
    """Count tokens into the table, and mix them and the ends of sentences into the fingerprint, in order.

    Args:
      spans: a `Spans`; no token and no sentence is empty.
      table: a `Table` with room for every token to be new.
      state: int64 [3], words and bytes of arena in use, fingerprint (its bits); updated.
      ids: int32 [n], the number of each token's entry is written; or empty, where nobody needs it.
    """
    buffer, start, end, sentence = spans
    ahead = np.empty((_AHEAD, 3), dtype=np.uint64)
    fingerprint = np.uint64(state[2])
    following = 1
    # Tokens are hashed ahead, but looked up in order: a word's entry number is the order of its first token, and the
    # fingerprint depends on the order too.
    for token in range(0, start.shape[0], _AHEAD):
        stop = min(token + _AHEAD, start.shape[0])
        _look_ahead(spans, token, stop, table, ahead)
        for t in range(token, stop):
            first, last, h = ahead[t - token, 0], ahead[t - token, 1], ahead[t - token, 2]
            fingerprint = _mix(fingerprint, h)
            entry, slot = _find(buffer, start[t], end[t], first, last, h, table)
            if entry < 0:
                entry = _insert(buffer, start[t], end[t], first, last, h, slot, table, state)
            table.entries[entry, 3] += _ONE
            if t < ids.shape[0]:
                ids[t] = entry
            if t + 1 == sentence[following]:
                fingerprint = _mix(fingerprint, _K1)
                following += 1
    state[2] = np.int64(fingerprint)


@kernel(allocates=False)
def add_words(buffer, offset, values, table, state):
    """Add values[i] (int64) to the value of the word buffer[offset[i]:offset[i + 1]]; the table has room for all."""
    for i in range(values.shape[0]):
        first, last = _ends(buffer, offset[i], offset[i + 1])
        h = _hash(buffer, offset[i], offset[i + 1], first, last)
        entry, slot = _find(buffer, offset[i], offset[i + 1], first, last, h, table)
        if entry < 0:
            entry = _insert(buffer, offset[i], offset[i + 1], first, last, h, slot, table, state)
        table.entries[entry, 3] += np.uint64(values[i])


@kernel
def find_words(spans, table, state, ids):
    """The entry of each token's word, or -1 for one that is not in the table.

    Args:
      spans: a `Spans` of n tokens.
      state: int64 [3]; only the fingerprint is read and updated, as by `count_sentences`.
      ids: int32 [>= n], written.
    """
    buffer, start, end, sentence = spans
    ahead = np.empty((_AHEAD, 3), dtype=np.uint64)
    fingerprint = np.uint64(state[2])
    following = 1
    for token in range(0, start.shape[0], _AHEAD):
        stop = min(token + _AHEAD, start.shape[0])
        _look_ahead(spans, token, stop, table, ahead)
        for t in range(token, stop):
            first, last, h = ahead[t - token, 0], ahead[t - token, 1], ahead[t - token, 2]
            fingerprint = _mix(fingerprint, h)
            entry, _ = _find(buffer, start[t], end[t], first, last, h, table)
            ids[t] = entry
            if t + 1 == sentence[following]:
                fingerprint = _mix(fingerprint, _K1)
                following += 1
    state[2] = np.int64(fingerprint)


@kernel
def encode_sentences(spans, table, state, tokens, lengths):
    """Sentences of word ids: words not in the table are left out, and so are sentences that lose all their words.

    Args:
      spans: a `Spans` of n tokens in s sentences.
      table: a `Table`; a word's id is the number of its entry.
      state: int64 [3]; only the fingerprint is read and updated, as by `count_sentences`.
      tokens: int32 [>= n] and lengths: int32 [>= s], written.

    Returns:
      (tokens written, sentences written).
    """
    find_words(spans, table, state, tokens)
    sentence = spans.sentence
    n, sentences = 0, 0
    for j in range(sentence.shape[0] - 1):
        before = n
        for t in range(sentence[j], sentence[j + 1]):
            entry = tokens[t]
            tokens[n] = entry  # in place, since n <= t; overwritten by the next where the entry is -1
            n += entry >= 0
        if n > before:
            lengths[sentences] = n - before
            sentences += 1
    return n, sentences


@kernel(allocates=False)
def drop_words(spans, table, kept):
    """Sentences without the words of the table; sentences that lose all their words are left out.

    Args:
      spans: a `Spans` of n tokens in s sentences.
      kept: another `Spans` of the same buffer and sizes, written.

    Returns:
      (tokens written, sentences written).
    """
    buffer, start, end, sentence = spans
    n, sentences = 0, 0
    kept.sentence[0] = 0
    for j in range(sentence.shape[0] - 1):
        for t in range(sentence[j], sentence[j + 1]):
            first, last = _ends(buffer, start[t], end[t])
            h = _hash(buffer, start[t], end[t], first, last)
            entry, _ = _find(buffer, start[t], end[t], first, last, h, table)
            if entry < 0:
                kept.start[n], kept.end[n] = start[t], end[t]
                n += 1
        if n > kept.sentence[sentences]:
            sentences += 1
            kept.sentence[sentences] = n
    return n, sentences


@kernel(allocates=False)
def fill_slots(hashes, slots):
    """Fill empty slots from the hashes of the entries, which are of different words."""
    mask = np.uint64(slots.shape[0] - 1)
    for entry in range(hashes.shape[0]):
        slot = hashes[entry] & mask
        while slots[slot] != 0:
            slot = (slot + _ONE) & mask
        slots[slot] = (hashes[entry] >> _B32) << _B32 | np.uint64(entry + 1)
