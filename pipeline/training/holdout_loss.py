"""The loss on sentences that were kept back from training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.batches.rows import Rows, generate_rows, to_numpy
from pipeline.batches.sampling import load_tables
from pipeline.batches.shards import BatchShard
from pipeline.batches.steps import join
from pipeline.batches.tokens import read_tokens
from pipeline.model.model import Model
from pipeline.storage.records import Records

ROWS = 4096
"""Rows that the loss is taken over: some 200,000 pairs with the default window and negatives."""
SHARDS = 16
"""Number of shards that these rows come from, evenly spaced in the corpus."""
HOLDOUT_POINTS = 40
"""How many times in a run the loss is taken."""
_BLOCK = 256


def chosen_shards(count: int) -> list[int]:
    """Indexes of the shards, of so many, that the loss is taken from: at most SHARDS, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, SHARDS).astype(int)).tolist()


def kept_back_rows(shards: Sequence[BatchShard], records: Records) -> Rows | None:
    """Up to ROWS rows of sentences that were kept back, with the draws of epoch 0; None if there are none.

    Their positions, for the draws, count the tokens that are kept back.
    """
    chosen = [shards[i] for i in chosen_shards(len(shards))]
    chosen_rows: Rows | None = None
    for n, shard in enumerate(chosen, 1):
        if shard.kept_back is None:
            continue
        tables, rows = load_tables(records, shard.unigram), chosen_rows.size if chosen_rows else 0
        tokens, sentences = read_tokens(records.read(shard.kept_back))
        for i in range(len(sentences) - 1):
            if rows >= ROWS * n // len(chosen):
                break
            place = shard.first_position + int(sentences[i])
            batch = generate_rows(tokens, sentences[i : i + 2], place, tables, shard.sampling, 0)
            if batch.num_rows:
                more = to_numpy(batch)[1]
                chosen_rows = more if chosen_rows is None else join(chosen_rows, more)
                rows = chosen_rows.size
    return chosen_rows


def mean_loss(rows: Rows, w_in: np.ndarray, w_out: np.ndarray, model: str) -> float:
    """Mean cross-entropy per pair of (hidden vector, target or negative), with the pairs of training.

    Args:
      w_in, w_out: float32 [V, dims].
      model: "skipgram", a pair for every context; "cbow", with the mean of a row's contexts.
    """
    total, pairs = 0.0, 0
    for begin in range(0, len(rows.target), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        offset = rows.offset[begin : begin + _BLOCK + 1].astype(np.int64)
        hidden = w_in[rows.context[offset[0] : offset[-1]]]
        contexts = np.diff(offset)
        outputs = w_out[np.column_stack([rows.target[block], rows.negatives[block]])]
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
    """`mean_loss` of a model that comes in blocks; only the vectors that the rows need are kept."""
    needed_in = np.unique(rows.context)
    needed_out = np.unique(np.concatenate([rows.target, rows.negatives.reshape(-1)]))
    vectors_in: list[np.ndarray] = []
    vectors_out: list[np.ndarray] = []
    start = 0
    for block in blocks:
        for needed, matrix, vectors in ((needed_in, block.input, vectors_in), (needed_out, block.output, vectors_out)):
            begin, end = np.searchsorted(needed, (start, start + len(matrix)))
            vectors.append(matrix[needed[begin:end] - start])
        start += len(block.words)
    places = Rows(
        np.searchsorted(needed_out, rows.target),
        rows.offset,
        np.searchsorted(needed_in, rows.context),
        np.searchsorted(needed_out, rows.negatives),
    )
    return mean_loss(places, np.concatenate(vectors_in), np.concatenate(vectors_out), model)
