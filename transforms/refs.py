"""References that travel on the graph's edges in place of tables."""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence

import pyarrow as pa

from pipeline.errors import ArtifactError
from pipeline.storage.records import Artifact, Records
from pipeline.words.counts import table_from_bytes


@dataclasses.dataclass(frozen=True)
class UnitSummary:
    """What counting a unit found, without the words."""

    index: int
    bytes: int
    lines: int
    bad_lines: int
    tokens: int
    units: int = 0
    """1, or how many units were put together"""
    of: int = 0
    """How many units there are."""


def total(units: Iterable[UnitSummary]) -> UnitSummary:
    """Of many units; its index is that of the first with bad lines."""
    units = list(units)
    sums = {
        name: sum(getattr(unit, name) for unit in units) for name in ("bytes", "lines", "bad_lines", "tokens", "units")
    }
    first_bad = min((unit.index for unit in units if unit.bad_lines), default=0)
    return UnitSummary(first_bad, **sums, of=max((unit.of for unit in units), default=0))


@dataclasses.dataclass(frozen=True)
class BucketCounts:
    """The counts of one bucket's words over all units, rare ones left out: as they are where they are few, else stored.

    All buckets come together in one element, which must not grow with the vocabulary.
    """

    table: bytes = b""
    """Arrow IPC bytes; empty where they are stored."""
    artifact: Artifact | None = None
    """The same bytes. No record names it: it is removed once the vocabulary is there."""

    tokens: int = 0
    """Occurrences of all its words, those left out too."""

    def open(self, records: Records) -> pa.Table:
        return table_from_bytes(records.read(self.artifact) if self.artifact else self.table)


def check_complete(summaries: Iterable[UnitSummary], counts: Iterable[BucketCounts]) -> None:
    """Hold what has arrived of a count against what was sent: ArtifactError where the runner has lost some of it."""
    found, tokens = total(summaries), sum(one.tokens for one in counts)
    if found.units != found.of or tokens != found.tokens:
        raise ArtifactError(
            f"the runner delivered {found.units:,} of {found.of:,} units and the counts of {tokens:,} of"
            f" {found.tokens:,} tokens: nothing was made of them, run the same command again"
        )


class OpenedCounts(Collection[pa.Table]):
    """The tables of buckets, each opened when it is come to, and again the next time."""

    def __init__(self, records: Records, buckets: Sequence[BucketCounts]):
        self._records, self._buckets = records, buckets

    def __len__(self) -> int:
        return len(self._buckets)

    def __iter__(self) -> Iterator[pa.Table]:
        return (bucket.open(self._records) for bucket in self._buckets)

    def __contains__(self, table: object) -> bool:
        return any(table is one for one in self)


@dataclasses.dataclass(frozen=True)
class VocabularyRef:
    """The stored vocabulary."""

    artifact: Artifact
    words: int
    tokens: int
    """of the corpus that are in the vocabulary"""


@dataclasses.dataclass(frozen=True)
class UnigramRef:
    """The stored unigram distribution."""

    artifact: Artifact
    words: int


@dataclasses.dataclass(frozen=True)
class PhraseWordsRef:
    """The stored words that a pass of --phrases looks for pairs of."""

    artifact: Artifact | None
    """None where the pass is done already."""
    tokens: int
    """of the corpus, rare words too"""


@dataclasses.dataclass(frozen=True)
class PhrasesRef:
    """The stored phrases of the passes so far."""

    passes: tuple[Artifact, ...]
