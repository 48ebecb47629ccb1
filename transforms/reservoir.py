"""Sentences of units -> the reservoir, which updates replay."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Literal

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import AsIter, AsSingleton, TaggedOutput

from pipeline.batches.tokens import Keeping, part_again
from pipeline.corpus.work_units import WorkUnit
from pipeline.runtime import progress
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.phrases import PhrasesRef
from pipeline.words.reservoir import STAGE, ReservoirRef, stored_group, stored_reservoir
from transforms.job_context import JobContext, StageDoFn
from transforms.phrase_reader import OpenPhrases

WIDER = "wider"


@dataclasses.dataclass
class MakeReservoir(beam.PTransform):
    """(group, ReservoirRef of a unit) -> ReservoirRef of all text of the chain, in two steps.

    `EncodeTokens` hands on a few times the sentences that are wanted. Where the text repeats them more often than that,
    too few are left, and the units are read again.
    """

    context: JobContext
    units: PCollection[WorkUnit]
    phrases: PCollection[PhrasesRef] | None = None
    """those that were joined when the text was counted: what is read again is compared with that"""

    def expand(self, parts: PCollection[tuple[int, ReservoirRef]]) -> PCollection[ReservoirRef]:
        once = parts.pipeline | "Once" >> beam.Create([0])
        joined = () if self.phrases is None else (AsSingleton(self.phrases),)
        groups = parts | "GatherGroup" >> beam.GroupByKey() | "MergeGroup" >> beam.ParDo(MergeGroup(self.context))
        merge = beam.ParDo(MergeAll(self.context), AsIter(groups))
        first = once | "MergeAll" >> merge.with_outputs(WIDER, main="made")
        again = self.units | "ReadAgain" >> beam.ParDo(ReadAgain(self.context), AsIter(first[WIDER]), *joined)
        return once | "MergeAgain" >> beam.ParDo(MergeAll(self.context, True), AsIter(again), AsIter(first["made"]))


class MergeGroup(StageDoFn):
    """Merges the sentences of some units."""

    def __init__(self, context: JobContext):
        super().__init__(context)
        self.commits = context.commits(STAGE)

    def process(self, element: tuple[int, Iterable[ReservoirRef]]) -> Iterator[ReservoirRef]:
        group, parts = element
        yield from stored_group(self.commits, group, parts, self.context.options.replay_words)


class MergeAll(StageDoFn):
    """Stores the reservoir, unless an earlier attempt has, and removes what it was made of."""

    def __init__(self, context: JobContext, again: bool = False):
        super().__init__(context)
        self.commits, self.again = context.commits(STAGE), again

    def process(
        self, once: int, groups: Iterable[ReservoirRef], made: Iterable[ReservoirRef] = ()
    ) -> Iterator[ReservoirRef | TaggedOutput[Literal["wider"], Keeping]]:
        for reservoir in made:
            yield reservoir
            return
        parent, words = self.context.parent, self.context.options.replay_words
        before, holdout = parent if parent and parent.reservoir else None, self.context.options.holdout
        opened = (lambda: before.open_reservoir(holdout)) if before else None
        stored = stored_reservoir(self.commits, groups, words, opened, self.again)
        yield TaggedOutput(WIDER, Keeping(holdout, words, stored)) if isinstance(stored, int) else stored


class ReadAgain(StageDoFn):
    """Reads a unit again, where too few of its sentences were looked at."""

    def __init__(self, context: JobContext):
        super().__init__(context)
        self.commits, self.counts = context.commits(STAGE), context.commits(COUNTS)
        self.phrases = OpenPhrases(context)

    def process(
        self, unit: WorkUnit, wider: Iterable[Keeping], phrases: PhrasesRef | None = None
    ) -> Iterator[ReservoirRef]:
        for keeping in wider:  # none or one
            reader = self.phrases.reader(phrases)
            yield part_again(self.commits, self.counts, unit, reader, keeping)
            progress.stage("Read again for updates", None, "B").advance(unit.size)
