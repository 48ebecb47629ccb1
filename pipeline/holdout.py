"""Sentences kept back from training, so that there is text the model has not seen.

Which ones follows from their position in the corpus alone, so runs that differ in
seed, dims or anything later keep back the same text.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def kept_back(positions: np.ndarray, share: float) -> np.ndarray:
    """bool [n]: which sentences are kept back, by the positions of their first tokens.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014) of the position, as a part of 2^64.
    """
    x = positions.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) < np.uint64(int(share * 2.0**64))


def without_kept_back(rows: pa.RecordBatch, sentences: np.ndarray, first_position: int, share: float) -> pa.RecordBatch:
    """The rows of the sentences that are trained on.

    Args:
      rows: of `batches.generate_rows`, for these sentences.
      sentences: int64 [s+1], offsets of tokens.
      first_position: position in the corpus of the token at offset sentences[0].
    """
    begins = sentences[:-1] - sentences[0] + first_position
    sentence = np.searchsorted(begins, rows.column("position").to_numpy(), side="right") - 1
    # Of empty sentences at one position the last is found: all of them are kept back, or none.
    return rows.filter(pa.array(~kept_back(begins, share)[sentence]))
