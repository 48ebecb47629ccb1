"""Training rows and token ids with the word frequencies of English, for benchmark and cost model alike."""

from __future__ import annotations

import numpy as np

from pipeline.batches.rows import Rows, TokenPiece
from pipeline.batches.sampling import Tables
from pipeline.words import unigram

GENERATION = "rows"
"""In place of a model, in the report of `tools.cuda.cost_model`: rows are made."""


def zipf_rows(rng: np.random.Generator, vocabulary: int, rows: int, negatives: int, window: int) -> Rows:
    """Rows with the word frequencies of English, roughly: 1 / rank, subsampled at 1e-4; window radius uniform."""
    share = 1 / np.arange(1, vocabulary + 1)
    share /= share.sum()
    kept = share * np.minimum(1, np.sqrt(1e-4 / share) + 1e-4 / share)
    noise = share**0.75

    def draw(weights: np.ndarray, *shape: int) -> np.ndarray:
        edges = np.cumsum(weights / weights.sum())
        return np.minimum(np.searchsorted(edges, rng.random(shape)), vocabulary - 1).astype(np.int32)

    tokens = draw(kept, rows + 2 * window)
    radius = rng.integers(1, window + 1, rows)
    reach = np.concatenate([np.arange(-window, 0), np.arange(1, window + 1)])
    inside = np.abs(reach) <= radius[:, None]
    places = np.arange(rows)[:, None] + window + reach
    offset = np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).astype(np.int32)
    return Rows(tokens[window : window + rows], offset, tokens[places[inside]], draw(noise, rows, negatives))


def zipf_tokens(rng: np.random.Generator, vocabulary: int, tokens: int) -> tuple[TokenPiece, Tables]:
    """Token ids with the word frequencies of English, in sentences of 20, and the tables to make rows of them."""
    counts = (1e8 / np.arange(1, vocabulary + 1)).astype(np.int64)
    drawn = rng.choice(vocabulary, tokens, p=counts / counts.sum()).astype(np.int32)
    sentences = np.append(np.arange(0, tokens, 20), tokens)
    return TokenPiece(drawn, sentences, 0), Tables.of(unigram.build(counts, 0.75, 1e-4))
