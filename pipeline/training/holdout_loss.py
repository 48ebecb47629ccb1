"""The loss on text kept back: what the model makes of sentences it has not been trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.batches.rows import Rows, generate_rows, to_numpy
from pipeline.batches.sampling import kept_back, load_tables
from pipeline.batches.shards import BatchShard
from pipeline.batches.steps import join
from pipeline.batches.tokens import read_tokens
from pipeline.model.model import Model
from pipeline.storage.records import Records

ROWS = 4096
"""Rows the loss is taken over: some 200,000 pairs with the default window and negatives."""
SHARDS = 16
"""Shards they come from, evenly apart in the corpus."""
POINTS = 40
"""How often in a run the loss is taken."""
_BLOCK = 256


def kept_back_rows(shards: Sequence[BatchShard], records: Records) -> Rows | None:
    """Up to ROWS rows of sentences kept back, with the draws of epoch 0; None if there is none."""
    chosen = [shards[i] for i in np.unique(np.linspace(0, len(shards) - 1, SHARDS).astype(int))]
    found: Rows | None = None
    for n, shard in enumerate(chosen, 1):
        tokens, sentences = read_tokens(records.read(shard.tokens))
        tables = load_tables(records, shard.unigram)
        for i in np.flatnonzero(kept_back(sentences[:-1] + shard.first_position, shard.sampling.holdout)).tolist():
            if found is not None and len(found.target) >= ROWS * n // len(chosen):
                break
            first = shard.first_position + int(sentences[i])
            made = generate_rows(tokens, sentences[i : i + 2], first, tables, shard.sampling, 0)
            if made.num_rows:
                rows = to_numpy(made)[1]
                found = rows if found is None else join(found, rows)
    return found


def mean_loss(rows: Rows, w_in: np.ndarray, w_out: np.ndarray, model: str) -> float:
    """Mean cross-entropy per pair of (hidden vector, target or negative), as training counts it.

    Args:
      w_in, w_out: float32 [V, dims].
      model: "skipgram", a pair for every context; "cbow", with the mean of a row's contexts.
    """
    total, pairs = 0.0, 0
    for begin in range(0, len(rows.target), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        offset = rows.offset[begin : begin + _BLOCK + 1].astype(np.int64)
        hidden = w_in[rows.context[offset[0] : offset[-1]]]
        contexts = np.diff(offset)
        outputs = w_out[np.column_stack([rows.target[part], rows.negatives[part]])]
        if model == "cbow":
            hidden = np.add.reduceat(hidden, offset[:-1] - offset[0]) / contexts[:, None].astype(np.float32)
        else:
            outputs = outputs[np.repeat(np.arange(len(contexts)), contexts)]
        scores = np.einsum("nd,nkd->nk", hidden, outputs).astype(np.float64)
        scores[:, 0] *= -1.0
        total += float(np.logaddexp(0.0, scores).sum())
        pairs += scores.size
    return total / pairs


def mean_loss_of(rows: Rows, blocks: Iterable[Model], model: str) -> float:
    """`mean_loss` of a model that comes in parts: only the vectors that the rows ask for are held."""
    asked_in = np.unique(rows.context)
    asked_out = np.unique(np.concatenate([rows.target, rows.negatives.reshape(-1)]))
    found_in: list[np.ndarray] = []
    found_out: list[np.ndarray] = []
    start = 0
    for block in blocks:
        for asked, matrix, found in ((asked_in, block.input, found_in), (asked_out, block.output, found_out)):
            begin, end = np.searchsorted(asked, (start, start + len(matrix)))
            found.append(matrix[asked[begin:end] - start])
        start += len(block.words)
    places = Rows(
        np.searchsorted(asked_out, rows.target),
        rows.offset,
        np.searchsorted(asked_in, rows.context),
        np.searchsorted(asked_out, rows.negatives),
    )
    return mean_loss(places, np.concatenate(found_in), np.concatenate(found_out), model)
