"""Kernels of phrases: neighbouring words that may form a phrase, and words joined by "_"."""

from __future__ import annotations

import numpy as np

from pipeline.kernels.bits import fold_product, load_word, store_word
from pipeline.kernels.compile import kernel

_ZERO, _ONE, _B32 = np.uint64(0), np.uint64(1), np.uint64(32)
_K0, _K1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xE7037ED1A0B428DB)
_JOINER = 0x5F


@kernel(allocates=False)
def candidate_pairs(ids, sentence, counts, tokens, discount, threshold, out):
    """Pairs of neighbours in a sentence that could reach the threshold of a phrase, whatever their count.

    A pair occurs at most as often as the rarer of its words, so min(a, b) in place of its count bounds its score.
    Rounding is monotonic: a pair that is left out here could not have passed by its own count either.

    Args:
      ids: int32 [n], a word's row, or -1.
      sentence: int64 [s + 1], offsets of tokens.
      counts: float64 [V], how often each word occurs; tokens: float64, all words together.
      discount, threshold: float64.
      out: uint64 [>= n], filled with first id << 32 | second id.

    Returns:
      pairs written.
    """
    n = 0
    for j in range(sentence.shape[0] - 1):
        first = np.int64(ids[sentence[j]])
        for t in range(sentence[j] + 1, sentence[j + 1]):
            second = np.int64(ids[t])
            if first >= 0 and second >= 0:
                a, b = counts[first], counts[second]
                # The score of `Scoring.scores`, its operations in the same order: else the bound would not hold in
                # the last bit.
                if (min(a, b) - discount) / a / b * tokens > threshold:
                    out[n] = np.uint64(first) << _B32 | np.uint64(second)
                    n += 1
            first = second
    return n


@kernel(allocates=False)
def _slot(key, slots):
    """The slot of `key` (not 0) in an open-addressing table (linear probing), or the empty slot where it belongs."""
    mask = np.uint64(slots.shape[0] - 1)
    slot = fold_product(key ^ _K1, _K0) & mask
    while slots[slot] != _ZERO and slots[slot] != key:
        slot = (slot + _ONE) & mask
    return slot


@kernel(allocates=False)
def fill_pairs(pairs, slots):
    """Put pairs (uint64 [n], as of `candidate_pairs`) into `slots` (uint64 [a power of two, above n], zeros)."""
    for i in range(pairs.shape[0]):
        key = pairs[i] + _ONE
        slots[_slot(key, slots)] = key


@kernel(allocates=False)
def _copy(buffer, start, end, out, used):
    """Append buffer[start:end] to `out`, and return its new end. Up to 8 bytes behind the end may be overwritten."""
    i = start
    while i < end and i + 8 <= buffer.shape[0]:
        store_word(out, used + i - start, load_word(buffer, i))
        i += 8
    while i < end:
        out[used + i - start] = buffer[i]
        i += 1
    return used + end - start


@kernel(allocates=False)
def join_pairs(spans, ids, slots, joined):
    """Join the pairs of each sentence from left to right; a word that was joined to the one before begins no pair.

    Args:
      spans: a `Spans` of n tokens in s sentences.
      ids: int32 [n], a word's row, or -1 for a word that is in no pair.
      slots: of `fill_pairs`.
      joined: another `Spans` of the same sizes, filled; its buffer has room for all tokens and n + 8 bytes more.

    Returns:
      (tokens written, bytes written).
    """
    buffer, start, end, sentence = spans
    out, n, used = joined.buffer, 0, 0
    joined.sentence[0] = 0
    for j in range(sentence.shape[0] - 1):
        before = np.int64(-1)
        for t in range(sentence[j], sentence[j + 1]):
            word = np.int64(ids[t])
            key = (np.uint64(before) << _B32 | np.uint64(word)) + _ONE
            if before >= 0 and word >= 0 and slots[_slot(key, slots)] == key:
                out[used] = _JOINER
                used += 1
                n -= 1
                before = np.int64(-1)
            else:
                joined.start[n] = used
                before = word
            used = _copy(buffer, start[t], end[t], out, used)
            joined.end[n] = used
            n += 1
        joined.sentence[j + 1] = n
    return n, used
