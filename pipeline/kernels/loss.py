"""The loss of sampled tiles from scores that a GPU has computed: in float64, as the CPU's step does."""

from __future__ import annotations

from pipeline.kernels.arithmetic import cross_entropy
from pipeline.kernels.compile import kernel


@kernel(allocates=False)
def loss_of_tiles(scores, at, begin, end, rows, rules, loss):
    """Cross-entropy of each tile, and the number of its pairs.

    Args:
      scores: float32; those of tile i from at[i] on: [contexts, K + 1], or with CBOW [rows, K + 1].
      at, begin, end: int64 [tiles]; tile i is the rows begin[i]:end[i] of `rows`.
      rows: `Rows`; its contexts are not read. rules: `StepRules`.
      loss: `TileLoss` of a list of tiles, written.
    """
    offset, outputs = rows.offset, rows.negatives.shape[1] + 1
    for i in range(len(begin)):
        total, number = 0.0, 0
        for t in range(begin[i], end[i]):
            m = offset[t + 1] - offset[t]
            if m == 0:
                continue
            terms = 1 if rules.cbow else m
            term = t - begin[i] if rules.cbow else offset[t] - offset[begin[i]]
            row_loss, row_pairs = cross_entropy(
                scores, at[i] + term * outputs, terms, outputs, rows.target[t], rows.negatives[t], rules.zero_hits
            )
            total += row_loss
            number += row_pairs
        loss.total[i], loss.pairs[i] = total, number
