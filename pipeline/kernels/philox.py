"""Philox4x32-10, the counter-based random numbers of every draw.

Source: Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC'11).
A draw depends on (seed, position, epoch, purpose, draw) alone. So any worker, thread or device makes the same draw, in
any order.

Counter words: position's low 32 bits; position's high 16 bits and the epoch in
the high half; purpose; draw. Key words: the seed's low and high half.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compile import kernel

u32, u64 = np.uint32, np.uint64

KEEP_AND_RADIUS = 0
NEGATIVES = 1
REDRAW = 2
EXACT_DRAW = 3
INITIAL_VECTORS = 4
REPLAY = 5
"""Purposes: what a draw is for. Each has its own counters."""

_M0, _M1 = u64(0xD2511F53), u64(0xCD9E8D57)
_W0, _W1 = u32(0x9E3779B9), u32(0xBB67AE85)
_HALF = u64(32)


@kernel(inline="always")
def philox(c0, c1, c2, c3, k0, k1):
    """Four uint32 from a counter of four and a key of two uint32."""
    # Ten rounds, as in the paper. A round multiplies two words to 64 bits each, xors the high halves with the other two
    # words and the key, and swaps; the key grows by a constant (the golden ratio; sqrt(3) - 1) from round to round.
    # tests/kernels/test_philox.py holds this against the known answers of the authors.
    for _ in range(10):
        p0 = _M0 * u64(c0)
        p1 = _M1 * u64(c2)
        c0, c1, c2, c3 = u32(p1 >> _HALF) ^ c1 ^ k0, u32(p1), u32(p0 >> _HALF) ^ c3 ^ k1, u32(p0)
        k0 = u32(k0 + _W0)
        k1 = u32(k1 + _W1)
    return c0, c1, c2, c3


@kernel(inline="always")
def below(x, n):
    """Integer in 0..n-1 from one uint32: (x n) >> 32 (n < 2^32).

    It is not exactly uniform: some integers get one more of the 2^32 values than others. Rejection would mend that,
    but the number of draws would then depend on the values drawn, and each draw has a fixed place in the counter.
    """
    return np.int64((u64(x) * u64(n)) >> _HALF)


def key_of(seed: int) -> tuple[np.uint32, np.uint32]:
    """The two key words of a 64-bit seed."""
    return u32(seed & 0xFFFFFFFF), u32(seed >> 32)
