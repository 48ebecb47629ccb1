"""Sentences of units -> the reservoir, which updates replay."""

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import AsIter

from pipeline.words.reservoir import STAGE, ReservoirRef, stored_group, stored_reservoir
from transforms.job_context import JobContext, StageDoFn


@dataclasses.dataclass
class MakeReservoir(beam.PTransform):
    """(group, ReservoirRef of a unit) -> ReservoirRef of all text of the chain, in two steps."""

    context: JobContext

    def expand(self, parts: PCollection[tuple[int, ReservoirRef]]) -> PCollection[ReservoirRef]:
        groups = parts | "GatherGroup" >> beam.GroupByKey() | "MergeGroup" >> beam.ParDo(MergeGroup(self.context))
        once = parts.pipeline | "Once" >> beam.Create([0])
        return once | "MergeAll" >> beam.ParDo(MergeAll(self.context), AsIter(groups))


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

    def __init__(self, context: JobContext):
        super().__init__(context)
        self.commits = context.commits(STAGE)

    def process(self, once: int, groups: Iterable[ReservoirRef]) -> Iterator[ReservoirRef]:
        parent, words = self.context.parent, self.context.options.replay_words
        before, holdout = parent if parent and parent.reservoir else None, self.context.options.holdout
        opened = (lambda: before.open_reservoir(holdout)) if before else None
        yield stored_reservoir(self.commits, groups, words, opened)
