"""Suggests known words for a mistyped word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MOST_EDITS = 2
LONGEST = 40
"""Longer words get no suggestions: they are not typing errors."""
_LOOKED_AT = 2_000_000


def suggestions(word: str, words: pa.StringArray | Sequence[str], count: int = 3) -> list[str]:
    """The words with the most similar spelling, nearest first; of equally near words the first (most frequent).

    They differ by at most two letters inserted, deleted, replaced or swapped with their neighbour; by at most one if
    the word has up to four letters. Case does not count.

    >>> suggestions("negativs", ["window", "negatives", "epochs"])
    ['negatives']
    """
    known = words if isinstance(words, pa.Array) else pa.array(words, pa.string())
    known = known[:_LOOKED_AT]
    folded = word.lower()
    if not folded or len(folded) > LONGEST or not len(known):
        return []
    allowed = MOST_EDITS if len(folded) > 4 else 1
    length = pc.utf8_length(known).to_numpy()
    rows = np.flatnonzero(np.abs(length - len(folded)) <= allowed)
    if not rows.size:
        return []
    texts = [text.lower() for text in known.take(pa.array(rows)).to_pylist()]
    distance = edit_distances(folded, texts)
    near = np.flatnonzero(distance <= allowed)
    best = near[np.argsort(distance[near], kind="stable")][:count]
    return [known[int(rows[i])].as_py() for i in best]


def edit_distances(word: str, others: Sequence[str]) -> np.ndarray:
    """int64 [n]: edits between `word` and each of the others (Damerau-Levenshtein, swaps of neighbours only).

    The dynamic programme runs over all others at once, one letter of `word` after the other.
    """
    table = np.array(others, dtype=np.str_)
    width = table.dtype.itemsize // 4
    if not width:
        return np.full(len(others), len(word))
    letters = np.ascontiguousarray(table.view(np.uint32).reshape(len(others), width).T)
    lengths = np.array([len(other) for other in others])
    row = np.tile(np.arange(width + 1)[:, None], (1, len(others)))
    before = row
    for i, letter in enumerate(map(ord, word)):
        last, before = before, row
        row = np.empty_like(before)
        row[0] = i + 1
        for j in range(width):
            row[j + 1] = np.minimum(np.minimum(before[j + 1], row[j]) + 1, before[j] + (letters[j] != letter))
            if i and j:
                exchanged = (letters[j] == ord(word[i - 1])) & (letters[j - 1] == letter)
                row[j + 1] = np.where(exchanged, np.minimum(row[j + 1], last[j - 1] + 1), row[j + 1])
    return row[lengths, np.arange(len(others))]
