"""Units of work -> phrases: pairs of words to join. Each pass sees the phrases of the passes before as words."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import AsIter, AsList, AsSingleton, PBegin
from apache_beam.utils.shared import Shared

from pipeline.corpus.work_units import WorkUnit
from pipeline.runtime import progress
from pipeline.storage.records import Artifact
from pipeline.words.merging import BucketCounts, UnitSummary, buckets_for, total
from pipeline.words.phrases import (
    WORDS,
    BucketPhrases,
    PhrasesRef,
    PhraseWordsRef,
    Scoring,
    bucket_phrases,
    copied_phrases,
    phrases_folder,
    phrases_stage,
    stored_pairs,
    stored_phrases,
    stored_words,
    words_stage,
)
from pipeline.words.vocabulary import Vocabulary
from transforms.counts import Counting, CountWords
from transforms.job_context import JobContext, StageDoFn
from transforms.phrase_reader import OpenPhrases


@dataclasses.dataclass
class FindPhrases(beam.PTransform):
    """WorkUnit -> one PhrasesRef: the phrases of this pass, behind those of the passes before.

    The words are counted first. Then each unit stores the counts of its pairs of frequent
    words, and each bucket of them is added up by one worker: what travels are references.
    """

    context: JobContext
    number: int
    """number of the pass, from 1"""
    before: PCollection[PhrasesRef] | None = None
    buckets: int = buckets_for(0)
    """number of parts in which words are merged"""

    def expand(self, units: PCollection[WorkUnit]) -> PCollection[PhrasesRef]:
        context, number = self.context, self.number
        joined = () if self.before is None else (AsSingleton(self.before),)
        count = CountWords(context, self.before, _counting(context, number), self.buckets)
        counts, summaries = units | "CountWords" >> count
        unit_totals = summaries | "SumUnits" >> beam.CombineGlobally(total).without_defaults()
        # Buckets come as side inputs: put together in one element they would be too large for some runners.
        once = units.pipeline | "Once" >> beam.Create([0])
        words = once | "OrderWords" >> beam.ParDo(OrderWords(context, number), AsIter(counts), AsList(unit_totals))
        pairs = units | "CountPairs" >> beam.ParDo(CountPairs(context, number), AsSingleton(words), *joined)
        merged = (
            words
            | "Buckets" >> beam.FlatMap(_buckets, context)
            | "SpreadBuckets" >> beam.Reshuffle()
            | "MergePairs" >> beam.ParDo(MergePairs(context, number), AsSingleton(words), AsList(pairs))
        )
        order = beam.ParDo(OrderPhrases(context, number), AsIter(merged), AsSingleton(words), *joined)
        return once | "OrderPhrases" >> order


@dataclasses.dataclass
class TakePhrases(beam.PTransform):
    """The start of a graph -> one PhrasesRef: the phrases of the parent of --update, all its passes."""

    context: JobContext

    def expand(self, begin: PBegin) -> PCollection[PhrasesRef]:
        return begin | "Once" >> beam.Create([0]) | "Copy" >> beam.ParDo(CopyPhrases(self.context))


class CopyPhrases(StageDoFn):
    """Stores the parent's phrases, unless an earlier attempt has."""

    def process(self, once: int) -> Iterator[PhrasesRef]:
        context, parent = self.context, self.context.parent
        assert parent is not None
        passes = range(1, context.options.phrases + 1)
        commits = [context.commits(phrases_stage(number), phrases_folder(number)) for number in passes]
        yield PhrasesRef(
            tuple(
                copied_phrases(own, functools.partial(parent.read_phrases, number))
                for number, own in zip(passes, commits)
            )
        )


class Pass(StageDoFn):
    """Base of the steps of a pass. The words of the pass are opened once in each process."""

    def __init__(self, context: JobContext, number: int):
        super().__init__(context)
        self.number = number
        self.commits = context.commits(phrases_stage(number), phrases_folder(number))
        self.counts = _counting(context, number).commits
        self.shared = Shared()

    def words(self, ref: PhraseWordsRef) -> Vocabulary:
        return self.shared.acquire(lambda: ref.open(self.commits.records), tag=ref.artifact.digest)


class OrderWords(Pass):
    """Stores the words of a pass that are frequent enough to be in a phrase."""

    def process(
        self, once: int, counts: Iterable[BucketCounts], summaries: Sequence[UnitSummary]
    ) -> Iterator[PhraseWordsRef]:
        yield stored_words(self.commits, self.counts, counts, summaries)


class CountPairs(Pass):
    """Stores the counts of a unit's pairs, unless an earlier attempt has; gives a reference to them."""

    def __init__(self, context: JobContext, number: int):
        super().__init__(context, number)
        self.phrases = OpenPhrases(context)

    def process(self, unit: WorkUnit, words: PhraseWordsRef, before: PhrasesRef | None = None) -> Iterator[Artifact]:
        reader, scoring = self.phrases.reader(before), _scoring(self.context, words)
        yield stored_pairs(self.commits, self.counts, unit, reader, self.words(words), scoring)
        progress.stage(f"Count pairs, pass {self.number}", None, "B").advance(unit.size)


class MergePairs(Pass):
    """The phrases of one bucket."""

    def process(self, bucket: int, words: PhraseWordsRef, pairs: Sequence[Artifact]) -> Iterator[BucketPhrases]:
        units = sorted(pairs, key=lambda artifact: artifact.path)
        scoring = _scoring(self.context, words)
        yield bucket_phrases(self.commits.records, units, bucket, self.words(words), scoring)


class OrderPhrases(Pass):
    """Stores the phrases of a pass, unless an earlier attempt has."""

    def process(
        self, once: int, buckets: Iterable[BucketPhrases], words: PhraseWordsRef, before: PhrasesRef | None = None
    ) -> Iterator[PhrasesRef]:
        scoring = _scoring(self.context, words)
        phrases = stored_phrases(self.commits, buckets, lambda: self.words(words), scoring, self.number)
        yield PhrasesRef((*(before.passes if before else ()), phrases))


def _counting(context: JobContext, number: int) -> Counting:
    """The count of words for a pass."""
    commits = context.commits(phrases_stage(number), phrases_folder(number))
    return Counting(
        context.commits(words_stage(number), f"{phrases_folder(number)}/counts"),
        ((commits, WORDS),),
        context.options.phrase_discount + 1,
        shown=f"Count words, pass {number}",
        for_vocabulary=False,
    )


def _buckets(words: PhraseWordsRef, context: JobContext) -> Iterator[int]:
    if not words.is_done:
        yield from range(_scoring(context, words).buckets)


def _scoring(context: JobContext, words: PhraseWordsRef) -> Scoring:
    return Scoring(words.tokens, context.options.phrase_discount, context.options.phrase_threshold)
