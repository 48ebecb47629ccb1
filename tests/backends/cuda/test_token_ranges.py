"""Stretches of the corpus: whole steps, with the sentences that they need and no others."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.backends.cuda import token_ranges
from pipeline.batches.rows import TokenPiece

LENGTHS = (4, 6, 10, 3, 17)
"""Sentences; steps of 10 positions begin with a sentence at 0, 10 and 20, and within one at 30."""


@pytest.mark.parametrize(
    ("steps", "cuts", "expected"),
    [
        (1, [0, 2, 5], [(0, 10, 0), (10, 20, 0), (20, 40, 0), (23, 40, 7)]),
        (2, [0, 5], [(0, 20, 0), (20, 40, 0)]),
    ],
)
def test_a_stretch_has_the_sentences_of_its_steps(monkeypatch, steps, cuts, expected):
    """Expected: first token, the one behind the last, and how far in the first step begins."""
    monkeypatch.setattr(token_ranges, "POSITIONS_AT_ONCE", 10 * steps)
    tokens, ends = np.arange(40, dtype=np.int32), np.cumsum([0, *LENGTHS])
    for cut in cuts:
        pieces = [TokenPiece(tokens, part, int(part[0])) for part in (ends[: cut + 1], ends[cut:]) if len(part) > 1]
        found = list(token_ranges.token_ranges(pieces, 10, 0, 4, 2))
        assert [(s.first, s.end) for s in found] == [(n, n + steps) for n in range(0, 4, steps)]
        assert [(int(s.tokens[0]), int(s.tokens[-1]) + 1, s.edge) for s in found] == expected
        assert all(s.position == s.tokens[0] and s.sentences[-1] == len(s.tokens) for s in found)
