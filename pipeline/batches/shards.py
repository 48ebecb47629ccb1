"""Batch shards: small references, from which rows are made or read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from pipeline.batches.replay import ReplayRef
from pipeline.batches.rows import TokenPiece, generated_batches
from pipeline.batches.sampling import Sampling, load_tables
from pipeline.batches.stored import BatchNumbers, read_batches, stored_name, stored_path, write_batches
from pipeline.batches.tokens import read_tokens
from pipeline.errors import ArtifactError, InputError
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
    replay: ReplayRef | None = None
    """with --update, the old sentences between those of the shard"""
    kept_back: Artifact | None = None
    """with --holdout, the tokens of sentences that are kept back from training"""
    of: int | None = None
    """positions of all shards together, without what is replayed; None if not known"""

    @property
    def end(self) -> int:
        """The position behind the last one, without what is replayed."""
        return self.first_position + self.positions

    def span(self, records: Records, epoch: int) -> tuple[int, int]:
        """(first position of the shard in the text of an epoch, position behind its last), with what is replayed."""
        if self.replay is None:
            return self.first_position, self.end
        return self.replay.open(records).positions(self.first_position, self.end, epoch)

    def piece(self, records: Records, epoch: int) -> TokenPiece:
        """All tokens of the shard in an epoch, with what is replayed."""
        piece = TokenPiece(*read_tokens(records.read(self.tokens)), self.first_position)
        return piece if self.replay is None else self.replay.open(records).joined(piece, epoch)

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
        yield from generated_batches(self.piece(records, epoch), tables, self.sampling, epoch, pool, first, end)


def stored_epoch(commits: Commits, shard: BatchShard, epoch: int) -> Artifact:
    """The stored batches of a shard in an epoch: those of an earlier attempt, else new ones, which are committed."""

    def make() -> Made:
        data = write_batches(shard.batches(commits.records, epoch), shard.sampling.negatives)
        numbers = BatchNumbers(epoch, shard.positions)
        return [commits.put(stored_path(epoch, shard.index), data)], numbers

    return commits.once(stored_name(epoch, shard.index), make).artifact


Size = tuple[int, int, int, int]
"""Of a token shard: (index, tokens, sentences, tokens of sentences that are kept back)."""


def first_positions(sizes: Iterable[Size]) -> dict[int, int]:
    """Index of each shard -> its first position: the number of tokens in the shards before it.

    Args:
      sizes: of every shard, in any order.
    """
    positions, position = {}, 0
    for index, tokens, *_ in sorted(sizes):
        positions[index] = position
        position += tokens
    return positions


def check_sizes(sizes: Iterable[Size], counted: int, is_listed: bool = False, trains: bool = True) -> int:
    """The tokens of all shards together.

    Args:
      sizes: of every shard, in any order.
      counted: tokens that are in the vocabulary, by the counts of words.
      is_listed: whether --vocabulary says which words there are.
      trains: whether a model is trained on them in this run.

    Raises:
      ArtifactError: the runner has lost a shard.
      InputError: every sentence has one token: then no target has a context, and there is nothing to train on.
    """
    tokens = sentences = kept_back = 0
    for _, tokens_of_shard, sentences_of_shard, kept_back_of_shard in sizes:
        tokens += tokens_of_shard
        sentences += sentences_of_shard
        kept_back += kept_back_of_shard
    if tokens + kept_back != counted:
        raise ArtifactError(
            f"the token shards hold {tokens + kept_back:,} of the {counted:,} tokens that were counted: a shard was"
            " lost; start the run again"
        )
    if trains and tokens and tokens == sentences:
        more = "list more words in --vocabulary" if is_listed else "lower --min_count"
        raise InputError(
            f"none of the {sentences:,} sentences has two words of the vocabulary, so no word has a context to"
            " learn from: write a sentence or a basket a line, not a word; set the --split that stands between its"
            f" items; or raise --max_sentence, {more}"
        )
    return tokens
