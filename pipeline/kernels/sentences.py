"""Kernels over whole sentences: their keys (BLAKE2b-64), and copies of chosen ones.

Source of the hash: Saarinen and Aumasson, The BLAKE2 Cryptographic Hash and MAC (RFC 7693).
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.bits import load_word, store_word
from pipeline.kernels.compile import kernel
from pipeline.kernels.philox import REPLAY, philox

u64 = np.uint64
_BLOCK = 128
_IV = np.array(
    [
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ],
    np.uint64,
)
_PARAMETERS = u64(0x01010008)
"""No key, and a digest of eight bytes."""
_SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    np.int64,
)
_R16, _R24, _R32, _R63 = u64(16), u64(24), u64(32), u64(63)
_L48, _L40, _L1 = u64(48), u64(40), u64(1)


@kernel(inline="always")
def _mix(a, b, c, d, x, y):
    """The function G of BLAKE2b."""
    a = a + b + x
    d ^= a
    d = d >> _R32 | d << _R32
    c = c + d
    b ^= c
    b = b >> _R24 | b << _L40
    a = a + b + y
    d ^= a
    d = d >> _R16 | d << _L48
    c = c + d
    b ^= c
    b = b >> _R63 | b << _L1
    return a, b, c, d


@kernel(allocates=False)
def _compress(h, block, size, is_last):
    """Mixes a block into the state `h` (uint64 [8]); `size` bytes of the message end with it."""
    v0, v1, v2, v3, v4, v5, v6, v7 = h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]
    v8, v9, v10, v11 = _IV[0], _IV[1], _IV[2], _IV[3]
    v12, v13, v14, v15 = _IV[4] ^ u64(size), _IV[5], _IV[6], _IV[7]
    if is_last:
        v14 = ~v14
    for i in range(12):
        s = _SIGMA[i]
        v0, v4, v8, v12 = _mix(v0, v4, v8, v12, load_word(block, 8 * s[0]), load_word(block, 8 * s[1]))
        v1, v5, v9, v13 = _mix(v1, v5, v9, v13, load_word(block, 8 * s[2]), load_word(block, 8 * s[3]))
        v2, v6, v10, v14 = _mix(v2, v6, v10, v14, load_word(block, 8 * s[4]), load_word(block, 8 * s[5]))
        v3, v7, v11, v15 = _mix(v3, v7, v11, v15, load_word(block, 8 * s[6]), load_word(block, 8 * s[7]))
        v0, v5, v10, v15 = _mix(v0, v5, v10, v15, load_word(block, 8 * s[8]), load_word(block, 8 * s[9]))
        v1, v6, v11, v12 = _mix(v1, v6, v11, v12, load_word(block, 8 * s[10]), load_word(block, 8 * s[11]))
        v2, v7, v8, v13 = _mix(v2, v7, v8, v13, load_word(block, 8 * s[12]), load_word(block, 8 * s[13]))
        v3, v4, v9, v14 = _mix(v3, v4, v9, v14, load_word(block, 8 * s[14]), load_word(block, 8 * s[15]))
    h[0] ^= v0 ^ v8
    h[1] ^= v1 ^ v9
    h[2] ^= v2 ^ v10
    h[3] ^= v3 ^ v11
    h[4] ^= v4 ^ v12
    h[5] ^= v5 ^ v13
    h[6] ^= v6 ^ v14
    h[7] ^= v7 ^ v15


@kernel
def sentence_keys(spans, keys):
    """BLAKE2b with a digest of 8 bytes, as a little-endian integer, of each sentence.

    What is hashed are the words of the sentence: the length of each in bytes (uint32, little-endian), then its bytes.

    Args:
      spans: a `Spans` of s sentences.
      keys: uint64 [s], written.
    """
    h = np.empty(8, np.uint64)
    block = np.empty(_BLOCK, np.uint8)
    for j in range(keys.shape[0]):
        for i in range(8):
            h[i] = _IV[i]
        h[0] ^= _PARAMETERS
        used, size = 0, 0
        for t in range(spans.sentence[j], spans.sentence[j + 1]):
            start, end = spans.start[t], spans.end[t]
            length = end - start
            if used + 12 <= _BLOCK and length <= 8 and start + 8 <= spans.buffer.shape[0]:  # most words: eight at once
                store_word(block, used, u64(length) | load_word(spans.buffer, start) << _R32)
                store_word(block, used + 4, load_word(spans.buffer, start))
                used += 4 + length
                continue
            for i in range(-4, length):
                if used == _BLOCK:  # more follows, so this block is not the last
                    size += _BLOCK
                    _compress(h, block, size, False)
                    used = 0
                block[used] = length >> (8 * (i + 4)) & 0xFF if i < 0 else spans.buffer[start + i]
                used += 1
        for i in range(used, _BLOCK):
            block[i] = 0
        _compress(h, block, size + used, True)
        keys[j] = h[0]


@kernel(allocates=False)
def take_sentences(tokens, offset, rows, out, out_offset):
    """Copies the sentences `rows`, in this order.

    Args:
      tokens: int32 [n]; offset: int64 [s + 1].
      rows: int64 [r], numbers of sentences.
      out: int32, with room for their tokens; out_offset: int64 [r + 1]; both written.
    """
    n = 0
    out_offset[0] = 0
    for i in range(rows.shape[0]):
        for t in range(offset[rows[i]], offset[rows[i] + 1]):
            out[n] = tokens[t]
            n += 1
        out_offset[i + 1] = n


@kernel(allocates=False)
def repeats(tokens, offset, order, keys, out):
    """Whether each sentence, in this order, is the same as the one before it.

    Args:
      tokens: int32 [n]; offset: int64 [s + 1].
      order: int64 [r], numbers of sentences; keys: uint64 [r], their keys, rising.
      out: uint8 [r], written: 1 where the sentence repeats the one before, 2 where it only has the same key, else 0.
    """
    for i in range(order.shape[0]):
        out[i] = 0
        if i and keys[i] == keys[i - 1]:
            a, b = offset[order[i - 1]], offset[order[i]]
            length = offset[order[i] + 1] - b
            same = offset[order[i - 1] + 1] - a == length
            for t in range(length if same else 0):
                same = same and tokens[a + t] == tokens[b + t]
            out[i] = 1 if same else 2


@kernel(allocates=False)
def number_words(tokens, numbers, first):
    """Numbers the words anew, in the order in which they first occur.

    Args:
      tokens: int32 [n], word numbers; replaced by the new ones.
      numbers: int32 [w], filled with -1; gets the new number of each old one.
      first: int32 [w]; its first entries get the old numbers in the new order.

    Returns:
      How many words there are.
    """
    words = 0
    for t in range(tokens.shape[0]):
        word = tokens[t]
        if numbers[word] < 0:
            numbers[word] = words
            first[words] = word
            words += 1
        tokens[t] = numbers[word]
    return words


@kernel
def draw_order(keys, drawn, k0, k1):
    """64 random bits (uint64 [s], written) for each sentence key, by the key words k0 and k1 of the draws."""
    for j in range(keys.shape[0]):
        low, high = np.uint32(keys[j] & u64(0xFFFFFFFF)), np.uint32(keys[j] >> _R32)
        bits = philox(low, high, np.uint32(REPLAY), np.uint32(0), k0, k1)
        drawn[j] = u64(bits[0]) | u64(bits[1]) << _R32
