"""Units of work -> phrases: pairs of words to join, in passes that each see what the ones before joined."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import AsIter, AsList, AsSingleton
from apache_beam.utils.shared import Shared

from pipeline.batches.tokens import counted_fingerprint
from pipeline.corpus.work_units import WorkUnit
from pipeline.runs.stage_keys import phrases_stage, words_stage
from pipeline.runtime import progress
from pipeline.storage.parquet import to_parquet
from pipeline.storage.records import Artifact
from pipeline.words.merging import (
    BucketCounts,
    UnitSummary,
    buckets_for,
    check_complete,
    table_bytes,
    table_from_bytes,
    total,
)
from pipeline.words.phrases import (
    PhrasesRef,
    PhraseWordsRef,
    Scoring,
    bucket_phrases,
    count_pairs,
    frequent_words,
    pairs_to_parquet,
    phrases_table,
)
from pipeline.words.vocabulary import Vocabulary
from transforms.counts import Counting, CountWords, forget_buckets
from transforms.job_context import JobContext
from transforms.phrase_reader import OpenPhrases

WORDS, PHRASES = "words", "phrases"
"""Names of the records of a pass."""


@dataclasses.dataclass
class FindPhrases(beam.PTransform):
    """WorkUnit -> one PhrasesRef: the phrases of this pass, behind those of the passes before.

    The words are counted first. Then each unit stores the counts of its pairs of frequent
    words, and each bucket of them is added up by one worker: what travels are references.
    """

    context: JobContext
    number: int
    """of the pass, from 1"""
    before: PCollection[PhrasesRef] | None = None
    buckets: int = buckets_for(0)
    """Parts that words are merged in."""

    def expand(self, units: PCollection[WorkUnit]) -> PCollection[PhrasesRef]:
        context, number = self.context, self.number
        joined = () if self.before is None else (AsSingleton(self.before),)
        count = CountWords(context, self.before, _counting(context, number), self.buckets)
        counts, summaries = units | "CountWords" >> count
        found = summaries | "SumUnits" >> beam.CombineGlobally(total).without_defaults()
        # Buckets come as side inputs: put together in one element they would be too large for some runners.
        once = units.pipeline | "Once" >> beam.Create([0])
        words = once | "OrderWords" >> beam.ParDo(OrderWords(context, number), AsIter(counts), AsList(found))
        pairs = units | "CountPairs" >> beam.ParDo(CountPairs(context, number), AsSingleton(words), *joined)
        merged = (
            words
            | "Buckets" >> beam.FlatMap(_buckets, context)
            | "SpreadBuckets" >> beam.Reshuffle()
            | "MergePairs" >> beam.ParDo(MergePairs(context, number), AsSingleton(words), AsList(pairs))
        )
        order = beam.ParDo(OrderPhrases(context, number), AsIter(merged), AsSingleton(words), *joined)
        return once | "OrderPhrases" >> order


class OrderWords(beam.DoFn):
    """Stores the words of a pass that are frequent enough to be in a phrase."""

    def __init__(self, context: JobContext, number: int):
        self.context, self.number = context, number

    def process(
        self, once: int, counts: Iterable[BucketCounts], summaries: Sequence[UnitSummary]
    ) -> Iterator[PhraseWordsRef]:
        context, stage = self.context, phrases_stage(self.number)
        if context.made(stage, PHRASES):
            yield PhraseWordsRef(None, 0)
            return
        record = context.made(stage, WORDS)
        if record is None:
            buckets = list(counts)
            check_complete(summaries, buckets)
            words = frequent_words(one.open(context.records) for one in buckets)
            numbers = {"words": len(words), "tokens": sum(unit.tokens for unit in summaries)}
            record = context.make(stage, WORDS, f"{_folder(self.number)}/words.parquet", words.to_parquet(), numbers)
            forget_buckets(context, _counting(context, self.number).folder, buckets)
        yield PhraseWordsRef(record.artifacts[0], record.numbers["tokens"])


class WithWords(beam.DoFn):
    """What needs the words of a pass, opened once a process."""

    def __init__(self, context: JobContext, number: int):
        self.context, self.number = context, number
        self.shared = Shared()

    def words(self, artifact: Artifact) -> Vocabulary:
        def make() -> Vocabulary:
            return Vocabulary.from_parquet(self.context.records.read(artifact))

        return self.shared.acquire(make, tag=artifact.digest)


class CountPairs(WithWords):
    """Stores the counts of a unit's pairs, unless an earlier attempt has; gives a reference to them."""

    def __init__(self, context: JobContext, number: int):
        super().__init__(context, number)
        self.phrases = OpenPhrases(context)

    def process(self, unit: WorkUnit, words: PhraseWordsRef, before: PhrasesRef | None = None) -> Iterator[Artifact]:
        if words.artifact is None:
            return
        context, stage = self.context, phrases_stage(self.number)
        record = context.made(stage, unit.name)
        if record is None:
            scoring, counted = _scoring(context, words), words_stage(self.number)
            fingerprint = counted_fingerprint(context.records, context.keys[counted], unit, counted)
            reader = self.phrases.reader(before)
            found = count_pairs(unit, reader, self.words(words.artifact), scoring, fingerprint)
            path = f"{_folder(self.number)}/pairs/{unit.name}.parquet"
            data = pairs_to_parquet(*found, scoring.buckets)
            record = context.make(stage, unit.name, path, data, {"pairs": len(found[0])})
        progress.stage(f"Count pairs, pass {self.number}", None, "B").advance(unit.size)
        yield record.artifacts[0]


class MergePairs(WithWords):
    """The phrases of one bucket, as Arrow IPC bytes."""

    def process(self, bucket: int, words: PhraseWordsRef, pairs: Sequence[Artifact]) -> Iterator[bytes]:
        assert words.artifact is not None  # else there are no buckets
        units = sorted(pairs, key=lambda artifact: artifact.path)
        context, scoring = self.context, _scoring(self.context, words)
        yield table_bytes(bucket_phrases(context.records, units, bucket, self.words(words.artifact), scoring))


class OrderPhrases(WithWords):
    """Stores the phrases of a pass, unless an earlier attempt has."""

    def process(
        self, once: int, tables: Iterable[bytes], words: PhraseWordsRef, before: PhrasesRef | None = None
    ) -> Iterator[PhrasesRef]:
        context, stage = self.context, phrases_stage(self.number)
        record = context.made(stage, PHRASES)
        if record is None:
            assert words.artifact is not None
            found = phrases_table(map(table_from_bytes, tables), self.words(words.artifact), _scoring(context, words))
            path = f"{_folder(self.number)}/phrases.parquet"
            record = context.make(stage, PHRASES, path, to_parquet(found), {"phrases": found.num_rows})
        yield PhrasesRef((*(before.passes if before else ()), record.artifacts[0]))


def _counting(context: JobContext, number: int) -> Counting:
    """The count of words that a pass begins with."""
    until = tuple((phrases_stage(number), name) for name in (WORDS, PHRASES))
    return Counting(words_stage(number), f"{_folder(number)}/counts", until, context.options.phrase_discount + 1)


def _buckets(words: PhraseWordsRef, context: JobContext) -> Iterator[int]:
    if words.artifact is not None:
        yield from range(_scoring(context, words).buckets)


def _scoring(context: JobContext, words: PhraseWordsRef) -> Scoring:
    return Scoring(words.tokens, context.options.phrase_discount, context.options.phrase_threshold)


def _folder(number: int) -> str:
    return f"phrases/pass={number}"
