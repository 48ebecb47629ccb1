"""The alias table of a distribution given in integers (Walker 1977, Vose 1991)."""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compile import kernel


@kernel
def fill_alias_table(weight: np.ndarray, threshold: np.ndarray, alias: np.ndarray) -> None:
    """Cuts weights into columns of 2^32, each shared by at most two words.

    Column i holds `threshold[i]` of word i, and for the rest word `alias[i]`. A column that word i fills alone has
    alias i. The table is exact: over all columns word i gets `weight[i]`, to the unit.

    The loop goes through the words that weigh less than a column, in order of their ids. What is missing from such
    a column is taken from the donor: the first word that still weighs a column or more. A donor that falls below a
    full column becomes the next column to fill, with the next donor. So one pass is enough, without a work list,
    and only the weight of the current donor ever changes.

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
    donor = 0
    while weight[donor] < full:
        donor += 1
    remaining = weight[donor]
    for i in range(weight.size):
        if weight[i] >= full:
            continue
        column, own = i, weight[i]
        # The order of donors is part of the definition of the rows: in another order, other negatives are drawn.
        while True:
            threshold[column] = np.uint32(own)
            alias[column] = donor
            remaining -= full - own
            if remaining >= full:
                break
            # The weights sum to V full columns: what this column lacks, a later word has to spare.
            column, own = donor, remaining
            donor += 1
            while weight[donor] < full:
                donor += 1
            remaining = weight[donor]
