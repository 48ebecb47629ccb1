"""Batches: Arrow record batches of (position, context, target, negatives), made from token shards.

A shard is a small reference; its rows are a pure function of tokens, unigram
distribution, seed and epoch, so they can be made again anywhere, or be stored.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.backends import Batch
from pipeline.batches.tokens import read_tokens
from pipeline.errors import InputError
from pipeline.holdout import without_kept_back
from pipeline.kernels import generate as kernels
from pipeline.kernels import philox
from pipeline.options import ALL, MAX_EPOCHS, MAX_POSITION, Options
from pipeline.storage.records import Artifact, Records
from pipeline.words.unigram import UnigramDistribution

STAGE = "batches"
POLICIES = {"any": kernels.ANY, "exclude_target": kernels.EXCLUDE_TARGET, "distinct": kernels.DISTINCT}
PIECE_POSITIONS = 1 << 16
"""Positions in a record batch, unless one sentence has more."""
_STORED = re.compile(r"epoch=(\d+)-shard-(\d+)")
GROUP_ROWS, GROUP_BYTES = 1 << 16, 16 << 20
"""Of a row group of stored batches: what a reader gets at once, and what it can skip."""
_MOST_CONTEXTS = (1 << 31) - 1
"""Of the sentences that are worked on together: offsets into them have 32 bits."""
_PIECE_CONTEXTS = 1 << 23
"""Room for contexts in a record batch: wide windows make smaller ones."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """What rows depend on besides tokens and unigram distribution."""

    window: int
    negatives: int
    policy: str
    seed: int
    holdout: float = 0.0

    @classmethod
    def of(cls, options: Options) -> Sampling:
        return cls(options.window, options.negatives, options.negative_policy, options.seed, options.holdout)

    def check(self, vocabulary: int) -> None:
        """InputError when the vocabulary is too small for the negatives that the policy wants."""
        needed = {"any": 1, "exclude_target": 2, "distinct": self.negatives + 1}[self.policy]
        if vocabulary < needed:
            raise InputError(
                f"--negative_policy={self.policy} with --negatives={self.negatives} needs a vocabulary of at least"
                f" {needed} words, there are {vocabulary}: lower --min_count or --negatives, or use"
                f" --negative_policy=any"
            )


@dataclasses.dataclass(frozen=True)
class Tables:
    """The unigram distribution as the kernel reads it."""

    keep: np.ndarray
    packed: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, unigram: UnigramDistribution) -> Tables:
        return cls(np.array(unigram.keep), unigram.packed(), unigram.weights())


def schema(negatives: int) -> pa.Schema:
    """position int64, context list<int32>, target int32, negatives fixed_size_list<int32>[K]; no nulls."""
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
    """Rows of whole sentences.

    Args:
      tokens: int32 [n]; sentences: int64 [s+1], offsets into tokens.
      first_position: position in the corpus of the first token of the first sentence.
      epoch: from 0.

    Returns:
      A record batch of `schema(K)`: the tokens that subsampling keeps and that have a
      context among the kept tokens of their sentence, in corpus order.
    """
    n = int(sentences[-1] - sentences[0])
    k = sampling.negatives
    position, target = np.empty(n + 1, np.int64), np.empty(n + 1, np.int32)
    offset, negatives = np.empty(n + 1, np.int32), np.empty((n, k), np.int32)
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
    context = np.empty(room + 1, np.int32)
    rows = kernels.generate(
        tokens,
        sentences,
        first_position,
        tables.keep,
        tables.packed,
        tables.weights,
        sampling.window,
        POLICIES[sampling.policy],
        epoch,
        *philox.key_of(sampling.seed),
        position,
        target,
        offset,
        context,
        negatives,
    )
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


def to_numpy(batch: pa.RecordBatch) -> tuple[np.ndarray, Batch]:
    """Positions int64 [n] and rows of a record batch; views where Arrow allows."""
    context, negatives = batch.column("context"), batch.column("negatives")
    width = negatives.type.list_size
    offset = context.offsets.to_numpy()
    values = context.values.to_numpy()[offset[0] : offset[-1]]
    flat = negatives.values.to_numpy()[negatives.offset * width : (negatives.offset + len(negatives)) * width]
    return batch.column("position").to_numpy(), Batch(
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


@dataclasses.dataclass(frozen=True)
class BatchShard:
    """The rows of one token shard: a reference of a few hundred bytes that knows how to make or read them."""

    index: int
    first_position: int
    positions: int
    sampling: Sampling
    tokens: Artifact
    unigram: Artifact
    stored: tuple[Artifact, ...] = ()
    """One Parquet for each of the first epochs; the rows of others are made when they are asked for."""

    @property
    def end(self) -> int:
        """The position behind the last."""
        return self.first_position + self.positions

    def piece(self, records: Records) -> TokenPiece:
        """All its tokens."""
        return TokenPiece(*read_tokens(records.read(self.tokens)), self.first_position)

    def batches(
        self,
        records: Records,
        epoch: int,
        pool: ThreadPoolExecutor | None = None,
        first: int = 0,
        end: int = MAX_POSITION,
    ) -> Iterator[pa.RecordBatch]:
        """The rows of an epoch in corpus order. With a pool, as many pieces at a time as it has threads.

        Args:
          first, end: batches without a position first..end-1 are left out; the others are whole.
        """
        if epoch < len(self.stored):
            yield from read_batches(records.read(self.stored[epoch]), first, end)
            return
        tables = load_tables(records, self.unigram)
        yield from made_batches(self.piece(records), tables, self.sampling, epoch, pool, first, end)


def made_batches(
    piece: TokenPiece,
    tables: Tables,
    sampling: Sampling,
    epoch: int,
    pool: ThreadPoolExecutor | None = None,
    first: int = 0,
    end: int = MAX_POSITION,
) -> Iterator[pa.RecordBatch]:
    """The rows of an epoch that are made from a piece; arguments as of `BatchShard.batches`."""
    tokens, sentences, position = piece
    parts = [
        _part(tokens, sentences[a : b + 1], position, tables, sampling, epoch)
        for a, b in piece_bounds(sentences, sampling.window)
        if sentences[a] + position < end and sentences[b] + position > first
    ]
    yield from evaluate(parts, pool)


def _part(tokens, sentences, first, tables, sampling, epoch) -> Callable[[], pa.RecordBatch]:
    position = first + int(sentences[0])

    def make() -> pa.RecordBatch:
        rows = generate_rows(tokens, sentences, position, tables, sampling, epoch)
        return without_kept_back(rows, sentences, position, sampling.holdout) if sampling.holdout else rows

    return make


def piece_bounds(sentences: np.ndarray, window: int) -> list[tuple[int, int]]:
    """Cut sentences into pieces of about `PIECE_POSITIONS` positions, at least a sentence each."""
    contexts = 2 * window if window != ALL else int(np.max(np.diff(sentences), initial=1))
    positions = max(1, min(PIECE_POSITIONS, _PIECE_CONTEXTS // contexts))
    bounds, begin, last = [], 0, len(sentences) - 1
    while begin < last:
        end = int(np.searchsorted(sentences, sentences[begin] + positions, side="right")) - 1
        end = min(max(end, begin + 1), last)
        bounds.append((begin, end))
        begin = end
    return bounds


def evaluate(pieces: list[Callable[[], pa.RecordBatch]], pool: ThreadPoolExecutor | None) -> Iterator[pa.RecordBatch]:
    """Results of the pieces in order; a pool works on as many at a time as it has threads."""
    if pool is None:
        for piece in pieces:
            yield piece()
        return
    width = pool._max_workers
    for start in range(0, len(pieces), width):
        yield from pool.map(lambda piece: piece(), pieces[start : start + width])


_tables: dict[str, Tables] = {}


def load_tables(records: Records, unigram: Artifact) -> Tables:
    """The tables of a unigram artefact, read once a process."""
    tables = _tables.get(unigram.digest)
    if tables is None:
        tables = Tables.of(UnigramDistribution.from_table(pq.read_table(pa.BufferReader(records.read(unigram)))))
        _tables.clear()  # one run at a time: hold one distribution
        _tables[unigram.digest] = tables
    return tables


def stored_name(epoch: int, shard: int) -> str:
    """The name of the record of a shard's stored batches; `stored_place` reads it."""
    return f"epoch={epoch}-shard-{shard:05d}"


def stored_path(epoch: int, shard: int) -> str:
    """Where they lie in the output."""
    return f"batches/epoch={epoch}/shard-{shard:05d}.parquet"


def stored_place(name: str) -> tuple[int, int] | None:
    """(epoch, shard) of a record's name; None where it is none of stored batches."""
    match = _STORED.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def stored_batches(records: Records, key: str, shard: int, epochs: int = MAX_EPOCHS) -> tuple[Artifact, ...]:
    """The batches of a shard that are stored: of its first epochs, up to the first that is missing.

    Raises:
      ArtifactError: they lie in the output of another run, and are missing there or of another size.
    """
    found: list[Artifact] = []
    while len(found) < epochs and (record := records.valid(STAGE, stored_name(len(found), shard), key)):
        found.append(record.artifacts[0])
    return tuple(found)


def write_batches(batches: Iterable[pa.RecordBatch], negatives: int) -> pa.Buffer:
    """Parquet of a shard's batches of one epoch, in row groups of `row_groups`.

    Statistics of `position` let readers pass over what they do not want.
    """
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        schema(negatives),
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        write_statistics=["position"],
    ) as writer:
        for group in row_groups(batches):
            writer.write_table(pa.Table.from_batches(group), row_group_size=sum(map(len, group)))
    return sink.getvalue()


def row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Consecutive batches that have rows, put together up to GROUP_ROWS rows or GROUP_BYTES bytes, at least one each.

    Neither is passed by more than one batch, however few rows subsampling leaves, or however many
    contexts a row has.
    """
    group: list[pa.RecordBatch] = []
    for batch in batches:
        if not len(batch):  # Parquet knows no row group without rows
            continue
        group.append(batch)
        if sum(map(len, group)) >= GROUP_ROWS or sum(one.nbytes for one in group) >= GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group


def read_batches(data: bytes | pa.Buffer, first: int = 0, end: int = MAX_POSITION) -> Iterator[pa.RecordBatch]:
    """The rows that `write_batches` wrote, row group by row group; of those with a position first..end-1."""
    file = pq.ParquetFile(pa.BufferReader(data))
    for group in range(file.num_row_groups):
        positions = file.metadata.row_group(group).column(0).statistics  # None in runs of versions without
        if positions is None or (positions.max >= first and positions.min < end):
            yield from file.read_row_group(group).combine_chunks().to_batches()
