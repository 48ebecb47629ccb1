"""Units of work -> word counts."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Literal

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import AsSingleton, TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import progress
from pipeline.counts import STAGE, MergedCounts, counted_unit, merge_counts, prune, split_by_bucket, table_bytes
from pipeline.word_lists import WordListRef, listed_counts
from pipeline.work_units import WorkUnit
from transforms.context import Context, counter
from transforms.joining import OpenPhrases
from transforms.refs import PhrasesRef, UnitSummary

BUCKETS = 32
"""Words are merged in so many parts, each by one worker."""
BUNDLE_WORDS = 2_000_000
"""Different words that a worker adds up before it sends them on: some 200 MB at most."""
SUMMARIES = "summaries"
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
    """WorkUnit -> (Arrow IPC bytes of pruned word counts, one a bucket; UnitSummary, one a unit).

    Text is read where it is counted. The counts of the units of a bundle are added up
    before they travel, or the runner would hold a vocabulary a unit; they travel cut by
    the words' hashes, so that every bucket is merged by itself.
    """

    context: Context
    phrases: PCollection[PhrasesRef] | None = None
    """joined before words are counted"""
    counting: Counting | None = None
    """by default that of the vocabulary"""

    def expand(self, units: PCollection[WorkUnit]) -> "tuple[PCollection[bytes], PCollection[UnitSummary]]":
        context = self.context
        counting = self.counting or Counting(
            STAGE, STAGE, (("vocabulary", "vocabulary"),), context.options.min_count, context.listed
        )
        joined = () if self.phrases is None else (AsSingleton(self.phrases),)
        count = beam.ParDo(CountUnit(context, counting), *joined).with_outputs(SUMMARIES, main="counts")
        counted = units | "CountUnit" >> count
        merged = (
            counted["counts"]
            | "GatherBucket" >> beam.GroupByKey()
            | "MergeBucket" >> beam.Map(_merge, counting.min_count, counting.listed)
        )
        return merged, counted[SUMMARIES]


class CountUnit(beam.DoFn):
    """Counts a unit, or reads the counts of an earlier attempt; commits them and the dead letters."""

    def __init__(self, context: Context, counting: Counting):
        self.context, self.counting = context, counting
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
        context.renew_lock()
        reader = self.phrases.reader(phrases)
        counts = counted_unit(context.records, context.keys[stage], unit, reader, stage, self.counting.folder)
        summary = UnitSummary(unit.index, counts.bytes, counts.lines, counts.bad_lines, counts.tokens)
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
        yield from split_by_bucket(self.merged.table(), BUCKETS)
        self.merged = MergedCounts()


def _merge(element: tuple[int, Iterable[bytes]], min_count: int, listed: WordListRef | None) -> bytes:
    """A bucket's counts over all units, rare words left out; or only listed ones."""
    if listed is not None:
        return table_bytes(listed_counts([merge_counts(element[1])], listed.load()))
    return table_bytes(prune(merge_counts(element[1]), min_count))
