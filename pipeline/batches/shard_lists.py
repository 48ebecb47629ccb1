"""Packed lists of batch shards: a corpus of 10^12 tokens has 700,000 shards, and a single trainer gets them all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from pipeline.batches.replay import ReplayRef
from pipeline.batches.sampling import Sampling
from pipeline.batches.shards import BatchShard
from pipeline.storage.commits import Commits
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.storage.records import Artifact, Records

STAGE = "shards"
LIST_SHARDS = 4096
"""Most shards in one list."""
_COMMON = b"beam2vec shards"
_ARTIFACTS = pa.list_(
    pa.struct([("path", pa.string()), ("digest", pa.string()), ("size", pa.int64()), ("root", pa.string())])
)
_SCHEMA = pa.schema(
    [
        pa.field("index", pa.int64()),
        pa.field("first_position", pa.int64()),
        pa.field("positions", pa.int64()),
        pa.field("artifacts", _ARTIFACTS),
    ]
)
"""`artifacts`: the tokens, with --holdout those kept back, then the stored batches of each epoch."""


@dataclasses.dataclass(frozen=True)
class ShardList:
    """Consecutive batch shards, about 90 bytes each: `packed` for the first list of a corpus, else stored."""

    packed: bytes = b""
    artifact: Artifact | None = None

    def open(self, records: Records) -> Iterator[BatchShard]:
        yield from unpack(records.read(self.artifact) if self.artifact else self.packed)


def list_of(shard: BatchShard) -> int:
    """The number of the list that a shard belongs to."""
    return shard.index // LIST_SHARDS


def shard_list(commits: Commits, number: int, shards: Iterable[BatchShard]) -> ShardList:
    """List `number` of a corpus. The first travels in the graph, so small corpora write nothing; others are stored."""
    data = pack(sorted(shards, key=lambda shard: shard.index))
    if number == 0:
        return ShardList(data)
    name = f"list-{number:09d}"
    artifact = commits.put(f"{name}.parquet", data)
    commits.commit(name, [artifact])
    return ShardList(artifact=artifact)


def sliced_lists(
    commits: Commits, number: int, shards: Iterable[BatchShard], slices_of: Callable[[BatchShard, BatchShard], range]
) -> Iterator[tuple[int, ShardList]]:
    """List `number` of a corpus, for each slice that has shards of it: (index of the slice, list).

    Of the first list, which is not stored, a slice gets only its own shards. Other lists are stored once, and all
    slices get the same reference.

    Args:
      slices_of: (first shard, last shard) -> the slices that have positions of these, or of shards between them.
    """
    ordered = sorted(shards, key=lambda shard: shard.index)
    if number:
        stored = shard_list(commits, number, ordered)
        for index in slices_of(ordered[0], ordered[-1]):
            yield index, stored
        return
    by_slice: dict[int, list[BatchShard]] = {}
    for shard in ordered:
        for index in slices_of(shard, shard):
            by_slice.setdefault(index, []).append(shard)
    for index, shards_of_slice in by_slice.items():
        yield index, shard_list(commits, number, shards_of_slice)


def pack(shards: Sequence[BatchShard]) -> bytes:
    """The shards as Parquet; what all of them share is written once."""
    common = {(shard.sampling, shard.unigram, shard.replay, shard.kept_back is None, shard.of) for shard in shards}
    if len(common) != 1:
        raise ValueError(f"the shards of one list are of {len(common)} runs")
    ((sampling, unigram, replay, has_none, of),) = common
    rows = [
        {
            "index": shard.index,
            "first_position": shard.first_position,
            "positions": shard.positions,
            "artifacts": [dataclasses.asdict(artifact) for artifact in _artifacts(shard)],
        }
        for shard in shards
    ]
    shared = {
        "sampling": dataclasses.asdict(sampling),
        "unigram": dataclasses.asdict(unigram),
        "replay": dataclasses.asdict(replay) if replay else None,
        "kept_back": not has_none,
        "of": of,
    }
    table = pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata({_COMMON: json.dumps(shared)}))
    return to_parquet(table).to_pybytes()


def _artifacts(shard: BatchShard) -> Iterator[Artifact]:
    yield shard.tokens
    if shard.kept_back:
        yield shard.kept_back
    yield from shard.stored


def unpack(data: bytes) -> Iterator[BatchShard]:
    """The shards that `pack` was given."""
    table = from_parquet(data)
    common = json.loads(table.schema.metadata[_COMMON])
    sampling, unigram = Sampling(**common["sampling"]), Artifact(**common["unigram"])
    replay = _replay(common["replay"]) if common["replay"] else None
    for row in table.to_pylist():
        tokens, *others = (Artifact(**artifact) for artifact in row["artifacts"])
        kept_back = others.pop(0) if common["kept_back"] else None
        place = row["index"], row["first_position"], row["positions"]
        yield BatchShard(*place, sampling, tokens, unigram, tuple(others), replay, kept_back, common["of"])


def _replay(fields: dict[str, Any]) -> ReplayRef:
    artifact = Artifact(**fields["artifact"])
    return ReplayRef(artifact, fields["text"], tuple(fields["sentences"]), tuple(fields["positions"]))
