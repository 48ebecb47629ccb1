"""What an epoch trains on: token shards in order, and the step ranges that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.backends.backend import Backend, GeneratingBackend
from pipeline.batches.rows import generated_batches
from pipeline.batches.sampling import load_tables
from pipeline.batches.shards import BatchShard
from pipeline.batches.steps import StepRange, step_ranges
from pipeline.errors import ArtifactError
from pipeline.runtime.process import one_ahead
from pipeline.storage.records import Records


def positions_of(shards: Sequence[BatchShard]) -> int:
    """Positions that an epoch has, with what is replayed in it; of epochs that differ, the most.

    Args:
      shards: all of them, or one that says how many positions all have.
    """
    if not shards:
        return 0
    if replay := shards[0].replay:
        return replay.longest
    return sum(shard.positions for shard in shards) if shards[0].of is None else shards[0].of


def in_order(
    shards: Iterable[BatchShard],
    first: int = 0,
    end: int | None = None,
    span_of: Callable[[BatchShard], tuple[int, int]] = lambda shard: (shard.first_position, shard.end),
) -> list[BatchShard]:
    """The shards sorted by index, since Beam delivers them in any order.

    Args:
      span_of: gives (first position, position behind the last) of a shard.

    Raises:
      ArtifactError: they do not have each of the positions first..end-1 once.
    """
    ordered = sorted(shards, key=lambda shard: shard.index)
    position = min(first, span_of(ordered[0])[0]) if ordered else first
    for shard in ordered:
        begins, ends = span_of(shard)
        if begins != position:
            raise ArtifactError(
                f"token shard {shard.index} begins at position {begins:,}, not at {position:,}: a shard was lost or"
                " came twice; start the run again"
            )
        position = ends
    if end is not None and position < end:
        raise ArtifactError(
            f"the token shards hold {position:,} of the {end:,} tokens that were counted: a shard was lost;"
            " start the run again"
        )
    return ordered


def ranges_to_train(
    backend: Backend,
    shards: Sequence[BatchShard],
    records: Records,
    epoch: int,
    batch_size: int,
    first: int,
    end: int,
    pool: ThreadPoolExecutor | None = None,
) -> Iterator[StepRange]:
    """The step ranges of the steps first..end-1 of an epoch. Train each before you take the next.

    A backend that makes rows itself gets tokens, unless rows of the epoch are stored.

    Args:
      shards: in corpus order; shards without positions of these steps may be among them.
      pool: makes rows between two step ranges, when the backend uses no CPU. Artefacts are read while it trains.
    """
    low, high, sampling = first * batch_size, end * batch_size, shards[0].sampling
    needed = [shard for shard in shards if has_positions(shard, records, epoch, low, high)]
    if not needed:  # the last steps of an epoch that is shorter than others
        return step_ranges((), batch_size, first, end, sampling.negatives)
    if any(epoch < len(shard.stored) for shard in needed):
        stored = (batch for shard in needed for batch in shard.batches(records, epoch, pool, low, high))
        ranges = step_ranges(stored, batch_size, first, end, sampling.negatives)
        return one_ahead(ranges) if pool else ranges
    read, tables = (shard.piece(records, epoch) for shard in needed), load_tables(records, shards[0].unigram)
    pieces = one_ahead(read) if pool else read
    if isinstance(backend, GeneratingBackend):
        return backend.step_ranges(pieces, tables, sampling, epoch, batch_size, first, end)
    batches = (
        batch for piece in pieces for batch in generated_batches(piece, tables, sampling, epoch, pool, low, high)
    )
    return step_ranges(batches, batch_size, first, end, sampling.negatives)


def has_positions(shard: BatchShard, records: Records, epoch: int, low: int, high: int) -> bool:
    """Whether the shard has one of the positions low..high-1 of an epoch."""
    first, end = shard.span(records, epoch)
    return first < high and end > low
