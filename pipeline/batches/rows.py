"""Batches: Arrow record batches of (position, context, target, negatives), made from token shards.

Rows depend on tokens, unigram distribution, seed and epoch alone. So they can be made again anywhere, or be stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.batches.sampling import POLICIES, Sampling, Tables
from pipeline.errors import InputError
from pipeline.kernels import philox
from pipeline.kernels.generate import generate
from pipeline.kernels.negatives import DrawRules
from pipeline.options import ALL, MAX_POSITION

PIECE_POSITIONS = 1 << 16
"""Most positions in a batch, unless one sentence has more."""
_MOST_CONTEXTS = (1 << 31) - 1
"""Most contexts of the sentences of one batch: offsets of contexts have 32 bits."""
_PIECE_CONTEXTS = 1 << 23
"""Room for contexts in a batch: with wide windows batches have fewer positions."""
_PIECE_NEGATIVES = 1 << 22
"""Room for negatives in a batch: with many of them batches have fewer positions, so a signal is soon heard."""


def schema(negatives: int) -> pa.Schema:
    """The schema of a batch: position int64, context list<int32>, target int32, negatives fixed_size_list<int32>[K]."""
    item = pa.field("element", pa.int32(), nullable=False)
    return pa.schema(
        [
            pa.field("position", pa.int64(), nullable=False),
            pa.field("context", pa.list_(item), nullable=False),
            pa.field("target", pa.int32(), nullable=False),
            pa.field("negatives", pa.list_(item, negatives), nullable=False),
        ]
    )


def generate_rows(
    tokens: np.ndarray, sentences: np.ndarray, first_position: int, tables: Tables, sampling: Sampling, epoch: int
) -> pa.RecordBatch:
    """The rows of whole sentences.

    >>> from pipeline.words import unigram
    >>> tables = Tables.of(unigram.build(np.array([2, 2, 1]), power=0.75, subsample=0))  # words 0, 1, 2
    >>> sampling = Sampling(window=2, negatives=2, policy="exclude_target", seed=1)
    >>> batch = generate_rows(np.int32([0, 1, 2, 0, 1]), np.array([0, 5]), 0, tables, sampling, epoch=0)
    >>> for row in batch.slice(0, 2).to_pylist():
    ...     print(row)
    {'position': 0, 'context': [1, 2], 'target': 0, 'negatives': [2, 1]}
    {'position': 1, 'context': [0, 2, 0], 'target': 1, 'negatives': [0, 2]}

    Args:
      tokens: int32 [n]; sentences: int64 [s + 1], offsets into tokens.
      first_position: position in the corpus of the first token of the first sentence.
      epoch: from 0.

    Returns:
      A batch of `schema(K)`: a row for each token that subsampling keeps and that has a context among the kept tokens
      of its sentence, in corpus order.

    Raises:
      InputError: a sentence may have too many contexts.
    """
    n = int(sentences[-1] - sentences[0])
    k = sampling.negatives
    lengths = np.diff(sentences)
    if sampling.window == ALL:
        room = int((lengths * (lengths - 1)).sum())
    else:
        room = n * min(2 * sampling.window, int(np.max(lengths, initial=1)))
    if room > _MOST_CONTEXTS:
        raise InputError(
            f"a sentence of {int(np.max(lengths)):,} words with --window={sampling.window} may have {room:,} contexts,"
            f" {_MOST_CONTEXTS:,} are possible: lower --max_sentence or --window"
        )
    rules = DrawRules(sampling.window, POLICIES[sampling.policy], epoch, *philox.key_of(sampling.seed))
    position, batch = np.empty(n + 1, np.int64), _room_for_rows(n, room, k)
    rows = generate(tokens, sentences, first_position, tables, rules, position, batch)
    target, offset, context, negatives = batch
    fields = schema(k)
    return pa.record_batch(
        [
            pa.array(position[:rows]),
            pa.ListArray.from_arrays(
                pa.array(offset[: rows + 1]), pa.array(context[: offset[rows]]), type=fields.field("context").type
            ),
            pa.array(target[:rows]),
            pa.FixedSizeListArray.from_arrays(
                pa.array(negatives[:rows].reshape(-1)), type=fields.field("negatives").type
            ),
        ],
        schema=fields,
    )


def _room_for_rows(rows: int, contexts: int, negatives: int) -> Rows:
    """Arrays for so many rows and one more: the kernel writes a row, or a context, before it knows if it counts."""
    return Rows(
        np.empty(rows + 1, np.int32),
        np.empty(rows + 1, np.int32),
        np.empty(contexts + 1, np.int32),
        np.empty((rows, negatives), np.int32),
    )


def to_numpy(batch: pa.RecordBatch) -> tuple[np.ndarray, Rows]:
    """(positions int64 [n], rows) of a batch, as views where Arrow allows it."""
    context, negatives = batch.column("context"), batch.column("negatives")
    width = negatives.type.list_size
    offset = context.offsets.to_numpy()
    values = context.values.to_numpy()[offset[0] : offset[-1]]
    flat = negatives.values.to_numpy()[negatives.offset * width : (negatives.offset + len(negatives)) * width]
    return batch.column("position").to_numpy(), Rows(
        batch.column("target").to_numpy(), offset - offset[0], values, flat.reshape(-1, width)
    )


class TokenPiece(NamedTuple):
    """Consecutive sentences of the corpus."""

    tokens: np.ndarray
    """int32 [n]"""
    sentences: np.ndarray
    """int64 [s + 1]: offsets of the sentences in `tokens`"""
    position: int
    """in the corpus, of tokens[sentences[0]]"""


def generated_batches(
    piece: TokenPiece,
    tables: Tables,
    sampling: Sampling,
    epoch: int,
    pool: ThreadPoolExecutor | None = None,
    first: int = 0,
    end: int = MAX_POSITION,
) -> Iterator[pa.RecordBatch]:
    """The rows of an epoch that are made from a piece; arguments as for `BatchShard.batches`."""
    tokens, sentences, position = piece
    makers = [
        _maker(tokens, sentences[a : b + 1], position, tables, sampling, epoch)
        for a, b in piece_bounds(sentences, sampling.window, sampling.negatives)
        if sentences[a] + position < end and sentences[b] + position > first
    ]
    yield from evaluate(makers, pool)


def _maker(
    tokens: np.ndarray, sentences: np.ndarray, first: int, tables: Tables, sampling: Sampling, epoch: int
) -> Callable[[], pa.RecordBatch]:
    position = first + int(sentences[0])

    def make() -> pa.RecordBatch:
        return generate_rows(tokens, sentences, position, tables, sampling, epoch)

    return make


def piece_bounds(sentences: np.ndarray, window: int, negatives: int) -> list[tuple[int, int]]:
    """Cut sentences into pieces of about `PIECE_POSITIONS` positions, at least one sentence each: (begin, end)."""
    contexts = 2 * window if window != ALL else int(np.max(np.diff(sentences), initial=1))
    positions = max(1, min(PIECE_POSITIONS, _PIECE_CONTEXTS // contexts, _PIECE_NEGATIVES // negatives))
    bounds, begin, last = [], 0, len(sentences) - 1
    while begin < last:
        end = int(np.searchsorted(sentences, sentences[begin] + positions, side="right")) - 1
        end = min(max(end, begin + 1), last)
        bounds.append((begin, end))
        begin = end
    return bounds


def evaluate(makers: list[Callable[[], pa.RecordBatch]], pool: ThreadPoolExecutor | None) -> Iterator[pa.RecordBatch]:
    """The results of the pieces, in order; a pool makes as many at a time as it has threads."""
    if pool is None:
        for make in makers:
            yield make()
        return
    width = pool._max_workers
    for start in range(0, len(makers), width):
        yield from pool.map(lambda make: make(), makers[start : start + width])


class Rows(NamedTuple):
    """Training rows: each has a target, one or more contexts and K negatives. Kernels read this tuple.

    >>> rows = Rows(np.int32([3, 5]), np.int32([0, 2, 3]), np.int32([4, 1, 4]), np.int32([[0, 2], [6, 0]]))
    >>> rows.size, rows.context[rows.offset[0] : rows.offset[1]]  # the contexts of row 0
    (2, array([4, 1], dtype=int32))
    """

    target: np.ndarray
    """int32 [n]"""
    offset: np.ndarray
    """int32 [n + 1]: the contexts of row i are context[offset[i]:offset[i + 1]]"""
    context: np.ndarray
    """int32 [offset[n]]"""
    negatives: np.ndarray
    """int32 [n, K]"""

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.target)
