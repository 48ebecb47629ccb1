"""Units of work -> word counts."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import AsSingleton, TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.corpus.work_units import WorkUnit
from pipeline.runtime import progress
from pipeline.words.counts import STAGE, counted_unit
from pipeline.words.merging import (
    ELEMENT_BYTES,
    BucketCounts,
    MergedCounts,
    UnitSummary,
    buckets_for,
    merge_counts,
    prune,
    split_by_bucket,
    table_bytes,
)
from pipeline.words.phrases import PhrasesRef
from pipeline.words.word_list import WordListRef, listed_counts
from transforms.job_context import JobContext, counter
from transforms.phrase_reader import OpenPhrases

BUNDLE_WORDS = 2_000_000
"""Different words that a worker adds up before it sends them on: some 200 MB at most."""
SUMMARIES = "summaries"
_BUCKETS = "buckets"
"""Folder of a count where the words of large buckets lie until the vocabulary is there."""
KeyedCounts = tuple[int, bytes]
"""(bucket, Arrow IPC bytes of word counts)"""


@dataclasses.dataclass(frozen=True)
class Counting:
    """Which count of words: that of the vocabulary, or the one that a pass of --phrases begins with."""

    stage: str
    folder: str
    until: tuple[tuple[str, str], ...]
    """Stage and name of records; once one of them is there, nobody asks for the words."""
    min_count: int
    listed: WordListRef | None = None


@dataclasses.dataclass
class CountWords(beam.PTransform):
    """WorkUnit -> (BucketCounts; UnitSummary, one a unit).

    Text is read where it is counted. The counts of the units of a bundle are added up
    before they travel, or the runner would hold a vocabulary a unit; they travel cut by
    the words' hashes, so that every bucket is merged by itself.
    """

    context: JobContext
    phrases: PCollection[PhrasesRef] | None = None
    """joined before words are counted"""
    counting: Counting | None = None
    """by default that of the vocabulary"""
    buckets: int = buckets_for(0)
    """Parts that words are merged in, each by one worker."""

    def expand(self, units: PCollection[WorkUnit]) -> "tuple[PCollection[BucketCounts], PCollection[UnitSummary]]":
        context = self.context
        counting = self.counting or Counting(
            STAGE, STAGE, (("vocabulary", "vocabulary"),), context.options.min_count, context.listed
        )
        joined = () if self.phrases is None else (AsSingleton(self.phrases),)
        count = beam.ParDo(CountUnit(context, counting, self.buckets), *joined).with_outputs(SUMMARIES, main="counts")
        counted = units | "CountUnit" >> count
        merged = (
            counted["counts"]
            | "GatherBucket" >> beam.GroupByKey()
            | "MergeBucket" >> beam.Map(_merge, context, counting, ELEMENT_BYTES // self.buckets)
        )
        return merged, counted[SUMMARIES]


class CountUnit(beam.DoFn):
    """Counts a unit, or reads the counts of an earlier attempt; commits them and the dead letters."""

    def __init__(self, context: JobContext, counting: Counting, buckets: int):
        self.context, self.counting, self.buckets = context, counting, buckets
        self.phrases = OpenPhrases(context)
        self.counters = {name: counter(name) for name in ("bytes", "lines", "bad_lines", "tokens")}
        self.last = counting.stage == STAGE
        """Bad lines, bytes and so on are noted then, and only then."""

    def start_bundle(self) -> None:
        self.merged = MergedCounts()
        self.wanted = not any(self.context.made(*name) for name in self.counting.until)

    def process(
        self, unit: WorkUnit, phrases: PhrasesRef | None = None
    ) -> Iterator[KeyedCounts | TaggedOutput[Literal["summaries"], UnitSummary]]:
        if not (self.wanted or self.last):
            return
        context, stage = self.context, self.counting.stage
        reader = self.phrases.reader(phrases)
        counts = counted_unit(
            context.records, context.keys[stage], unit, reader, stage, self.counting.folder, context.renew_lock
        )
        summary = UnitSummary(unit.index, counts.bytes, counts.lines, counts.bad_lines, counts.tokens, 1, unit.of)
        if self.last:
            for name, metric in self.counters.items():
                metric.inc(getattr(summary, name))
        shown = "Count words" if self.last else f"Count {stage.replace('-', ', pass ')}"
        progress.stage(shown, None, "B").advance(counts.bytes)
        yield TaggedOutput(SUMMARIES, summary)
        if self.wanted:
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


def _merge(element: tuple[int, Iterable[bytes]], context: JobContext, counting: Counting, small: int) -> BucketCounts:
    """A bucket's counts over all units, rare words left out, or only listed ones; stored where above `small` bytes."""
    bucket, parts = element
    merged = merge_counts(parts)
    if counting.listed is not None:
        kept = listed_counts([merged], counting.listed.load())
    else:
        kept = prune(merged, counting.min_count)
    data, tokens = table_bytes(kept), int(merged["count"].to_numpy().sum())
    if len(data) <= small:
        return BucketCounts(data, tokens=tokens)
    # Parts come in any order, and so do words: another attempt at this bucket may write other bytes beside these.
    path = f"{counting.folder}/{_BUCKETS}/{bucket:04d}-{hashlib.sha256(data).hexdigest()[:16]}.arrow"
    context.renew_lock()
    return BucketCounts(artifact=context.records.write_artifact(path, data), tokens=tokens)


def forget_buckets(context: JobContext, folder: str, counts: Iterable[BucketCounts]) -> None:
    """Removes what was stored of a count in `folder`; call it when what is made of them has been committed."""
    if any(one.artifact for one in counts):
        for info in context.records.storage.list(f"{folder}/{_BUCKETS}"):
            context.records.storage.delete(info.path)
