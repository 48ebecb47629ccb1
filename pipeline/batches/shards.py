"""Batch shards: small references, from which rows are made or read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from pipeline.batches.rows import TokenPiece, generated_batches
from pipeline.batches.sampling import Sampling, load_tables
from pipeline.batches.stored import BatchNumbers, read_batches, stored_name, stored_path, write_batches
from pipeline.batches.tokens import read_tokens
from pipeline.errors import InputError
from pipeline.options import MAX_POSITION
from pipeline.storage.commits import Commits, Made
from pipeline.storage.records import Artifact, Records


@dataclasses.dataclass(frozen=True)
class BatchShard:
    """The rows of one token shard: a reference of a few hundred bytes that can make or read them."""

    index: int
    first_position: int
    positions: int
    sampling: Sampling
    tokens: Artifact
    unigram: Artifact
    stored: tuple[Artifact, ...] = ()
    """stored batches of the first epochs; the rows of other epochs are made when they are needed"""

    @property
    def end(self) -> int:
        """The position behind the last one."""
        return self.first_position + self.positions

    def piece(self, records: Records) -> TokenPiece:
        """All tokens of the shard."""
        return TokenPiece(*read_tokens(records.read(self.tokens)), self.first_position)

    def batches(
        self,
        records: Records,
        epoch: int,
        pool: ThreadPoolExecutor | None = None,
        first: int = 0,
        end: int = MAX_POSITION,
    ) -> Iterator[pa.RecordBatch]:
        """The rows of an epoch in corpus order. A pool makes as many batches at a time as it has threads.

        Args:
          first, end: batches without a position first..end-1 are left out; the others are whole.
        """
        if epoch < len(self.stored):
            yield from read_batches(records.read(self.stored[epoch]), first, end)
            return
        tables = load_tables(records, self.unigram)
        yield from generated_batches(self.piece(records), tables, self.sampling, epoch, pool, first, end)


def stored_epoch(commits: Commits, shard: BatchShard, epoch: int) -> Artifact:
    """The stored batches of a shard in an epoch: those of an earlier attempt, else new ones, which are committed."""

    def make() -> Made:
        data = write_batches(shard.batches(commits.records, epoch), shard.sampling.negatives)
        numbers = BatchNumbers(epoch, shard.positions)
        return [commits.put(stored_path(epoch, shard.index), data)], numbers

    return commits.once(stored_name(epoch, shard.index), make).artifact


def first_positions(sizes: Iterable[tuple[int, int, int]]) -> dict[int, int]:
    """Index of each shard -> its first position: the number of tokens in the shards before it.

    Args:
      sizes: (index, tokens, sentences) of every shard, in any order.
    """
    positions, position = {}, 0
    for index, tokens, _ in sorted(sizes):
        positions[index] = position
        position += tokens
    return positions


def check_contexts(sizes: Iterable[tuple[int, int, int]], is_listed: bool = False) -> None:
    """InputError if every sentence has one token: then no target has a context, and there is nothing to train on.

    Args:
      is_listed: whether --vocabulary says which words there are.
    """
    tokens = sentences = 0
    for _, tokens_of_shard, sentences_of_shard in sizes:
        tokens += tokens_of_shard
        sentences += sentences_of_shard
    if tokens and tokens == sentences:
        more = "list more words in --vocabulary" if is_listed else "lower --min_count"
        raise InputError(
            f"none of the {sentences:,} sentences has two words of the vocabulary, so no word has a context to"
            f" learn from: write a sentence or a basket a line, not a word; or raise --max_sentence, {more}"
        )
