"""Units of work -> word counts."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Literal

import apache_beam as beam
import pyarrow as pa
from apache_beam import PCollection
from apache_beam.pvalue import AsSingleton, TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.corpus.work_units import WorkUnit
from pipeline.runtime import progress
from pipeline.storage.commits import Commits
from pipeline.words.counts import STAGE, counted_unit
from pipeline.words.merging import (
    BucketCounts,
    MergedCounts,
    UnitSummary,
    buckets_for,
    merge_counts,
    prune,
    split_by_bucket,
)
from pipeline.words.phrases import PhrasesRef
from pipeline.words.totals import STAGE as TOTALS
from pipeline.words.vocabulary import STAGE as VOCABULARY
from pipeline.words.vocabulary import count_at
from pipeline.words.word_list import WordListRef, listed_counts
from transforms.job_context import JobContext, StageDoFn, counter
from transforms.phrase_reader import OpenPhrases

BUNDLE_WORDS = 2_000_000
"""Most different words that a worker adds up before it sends them on: some 200 MB."""
SUMMARIES = "summaries"
KeyedCounts = tuple[int, bytes]
"""(bucket, Arrow IPC bytes of word counts)"""


@dataclasses.dataclass(frozen=True)
class Counting:
    """Which count of words: that for the vocabulary, or that for a pass of --phrases."""

    commits: Commits
    next_stages: tuple[tuple[Commits, str], ...]
    """(commits of a stage, name of its record) of what is made of the words: when all are there, they are not needed"""
    min_count: int
    listed: WordListRef | None = None
    shown: str = "Count words"
    for_vocabulary: bool = True
    """whether the vocabulary is made of it; only this count records dead letters, bytes and so on"""
    totals: int = 0
    """how many words are kept with their totals, however rare"""
    has_parent: bool = False
    """with --update: a word that is rare in this text may be frequent in all text"""

    @classmethod
    def of_vocabulary(cls, context: JobContext) -> "Counting":
        options = context.options
        return cls(
            context.commits(STAGE),
            tuple((context.commits(stage), stage) for stage in (VOCABULARY, TOTALS)),
            options.min_count,
            context.listed,
            totals=options.totals,
            has_parent=context.parent is not None,
        )

    def is_wanted(self) -> bool:
        """Whether the words are needed: what is made of them is not committed yet."""
        return any(commits.earlier(name) is None for commits, name in self.next_stages)

    def kept(self, merged: pa.Table) -> pa.Table:
        """The words of a bucket that the next stage needs."""
        if self.has_parent:
            return merged
        if self.listed is not None and not self.totals:
            return listed_counts([merged], self.listed.load())
        return prune(merged, min(self.min_count, max(1, count_at([merged], self.totals))))


@dataclasses.dataclass
class CountWords(beam.PTransform):
    """WorkUnit -> (BucketCounts; UnitSummary, one a unit).

    Text is read where it is counted. The counts of the units of a bundle are added up
    before they travel, or the runner would hold a vocabulary a unit; they travel cut by
    the words' hashes, so that every bucket is merged by itself.
    """

    context: JobContext
    phrases: PCollection[PhrasesRef] | None = None
    """phrases to join before words are counted"""
    counting: Counting | None = None
    """by default the count for the vocabulary"""
    buckets: int = buckets_for(0)
    """number of parts in which words are merged, each by one worker"""

    def expand(self, units: PCollection[WorkUnit]) -> "tuple[PCollection[BucketCounts], PCollection[UnitSummary]]":
        counting = self.counting or Counting.of_vocabulary(self.context)
        joined = () if self.phrases is None else (AsSingleton(self.phrases),)
        count = beam.ParDo(CountUnit(self.context, counting, self.buckets), *joined)
        count = count.with_outputs(SUMMARIES, main="counts")
        counted = units | "CountUnit" >> count
        merged = (
            counted["counts"]
            | "GatherBucket" >> beam.GroupByKey()
            | "MergeBucket" >> beam.Map(_merge, self.context, counting, self.buckets)
        )
        return merged, counted[SUMMARIES]


class CountUnit(StageDoFn):
    """Counts a unit, or reads the counts of an earlier attempt; commits them and the dead letters."""

    def __init__(self, context: JobContext, counting: Counting, buckets: int):
        super().__init__(context)
        self.counting, self.buckets = counting, buckets
        self.phrases = OpenPhrases(context)
        self.counters = {name: counter(name) for name in ("bytes", "lines", "bad_lines", "tokens")}

    def start_bundle(self) -> None:
        self.merged = MergedCounts()
        self.is_wanted = self.counting.is_wanted()

    def process(
        self, unit: WorkUnit, phrases: PhrasesRef | None = None
    ) -> Iterator[KeyedCounts | TaggedOutput[Literal["summaries"], UnitSummary]]:
        counting = self.counting
        counts = counted_unit(counting.commits, unit, self.phrases.reader(phrases), whole=counting.for_vocabulary)
        summary = UnitSummary(unit.index, counts.bytes, counts.lines, counts.bad_lines, counts.tokens, 1, unit.of)
        if counting.for_vocabulary:
            for name, metric in self.counters.items():
                metric.inc(getattr(summary, name))
        progress.stage(counting.shown, None, "B").advance(counts.bytes)
        yield TaggedOutput(SUMMARIES, summary)
        if self.is_wanted:
            self.merged.add(counts.table)
            if len(self.merged) > BUNDLE_WORDS:
                yield from self._send()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        for keyed in self._send():
            yield WindowedValue(keyed, window.max_timestamp(), [window])

    def _send(self) -> Iterator[KeyedCounts]:
        yield from split_by_bucket(self.merged.table(), self.buckets)
        self.merged = MergedCounts()


def _merge(element: tuple[int, Iterable[bytes]], context: JobContext, counting: Counting, buckets: int) -> BucketCounts:
    """The counts of a bucket over all units, without words that are not needed."""
    bucket, parts = element
    merged = merge_counts(parts)
    with context.errors_recorded():
        return BucketCounts.of(counting.commits, bucket, merged, counting.kept(merged), buckets)
