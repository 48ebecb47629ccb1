"""Philox over arrays of counters: what kernels draw one by one."""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compile import kernel
from pipeline.kernels.philox import philox


@kernel
def philox_words(c0, c1, c2, c3, k0, k1):
    """Philox over arrays of counters: uint32 [n] each -> uint32 [4, n]."""
    out = np.empty((4, len(c0)), np.uint32)
    for i in range(len(c0)):
        a, b, c, d = philox(c0[i], c1[i], c2[i], c3[i], k0, k1)
        out[0, i] = a
        out[1, i] = b
        out[2, i] = c
        out[3, i] = d
    return out
