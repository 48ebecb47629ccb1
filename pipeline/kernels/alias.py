"""The alias table of a distribution given in integers (Walker 1977, Vose 1991)."""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compile import kernel


@kernel
def fill_alias_table(weight: np.ndarray, threshold: np.ndarray, alias: np.ndarray) -> None:
    """Cut weights into columns of 2^32, each shared by at most two words.

    Column i holds `threshold[i]` of word i and the rest of word `alias[i]`; a column
    that word i fills alone has alias i. All of it is exact: over all columns word i
    gets `weight[i]`, to the unit.

    Words of less than a column are taken in order; what their columns lack comes from
    the first word that still has more than one. When that word falls below a full
    column itself, its own column is closed at once with the next one, so one pass and
    no work list are enough, and only the weight of the current giver ever changes.

    Args:
      weight: int64 [V], not negative, summing to exactly V * 2^32 (else this reads
        past the end of the arrays).
      threshold: uint32 [V], written.
      alias: int32 [V], written.
    """
    full = np.int64(1) << np.int64(32)
    for i in range(weight.size):
        threshold[i] = np.uint32(0xFFFFFFFF)
        alias[i] = i
    giver = 0
    while weight[giver] < full:
        giver += 1
    left = weight[giver]
    for i in range(weight.size):
        if weight[i] >= full:
            continue
        column, own = i, weight[i]
        # Which word gives to which column is part of the rows' definition: another order draws other negatives.
        while True:
            threshold[column] = np.uint32(own)
            alias[column] = giver
            left -= full - own
            if left >= full:
                break
            # What is missing from one column is spare in another, so there is a next giver.
            column, own = giver, left
            giver += 1
            while weight[giver] < full:
                giver += 1
            left = weight[giver]
