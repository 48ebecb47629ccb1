"""Batch shards -> a model trained by several replicas, as checkpoints."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import AsIter, AsMultiMap, AsSingleton

from pipeline.batches.shard_lists import ShardList
from pipeline.batches.shards import BatchShard
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.model.checkpoints import TRAINED, CheckpointRef
from pipeline.runtime.messages import warn
from pipeline.training.epochs import positions_of
from pipeline.training.holdout_loss import chosen_shards
from pipeline.training.replicas.trainer import MergedPartition, Replicas, SlicePartition, Standing
from pipeline.training.trainer import Trained
from pipeline.training.update import average, finished_update, trained_stage
from pipeline.words.vocabulary import VocabularyRef
from transforms.job_context import JobContext, StageDoFn
from transforms.train import TrainingReporter, by_list, on_device


@dataclasses.dataclass
class TrainReplicas(beam.PTransform):
    """BatchShard -> CheckpointRef of the last checkpoint, by `--replicas` in `--rounds` an epoch.

    The rounds follow each other in the graph: one begins when the checkpoint of the one before it is
    there. A (round, replica) and a (round, partition) are elements of their own, which the runner may
    place anywhere and retry alone; on the edges are references.
    """

    context: JobContext
    vocabulary: PCollection[VocabularyRef]
    provenance: dict
    threads: int
    """of each replica"""

    def expand(self, shards: PCollection[BatchShard]) -> PCollection[CheckpointRef]:
        work = Work(self.context, self.provenance, self.threads)
        slices = (
            shards
            | "ByList" >> beam.Map(by_list)
            | "GatherList" >> beam.GroupByKey()
            | "ToSlices" >> beam.ParDo(ToSlices(work))
        )
        count = AsSingleton(shards | "Count" >> beam.combiners.Count.Globally())
        first = AsIter(shards | "First" >> beam.Filter(_is_first))
        kept_back = []
        if self.context.options.holdout:
            kept_back = [AsIter(shards | "KeptBack" >> beam.Filter(_is_chosen, count))]
        standing = self.vocabulary | "Start" >> beam.ParDo(Start(work), count, first)
        options = self.context.options
        for number in range(options.epochs * options.rounds):
            standing = standing | f"Round{number}" >> Round(work, number, slices, kept_back)
        return standing | "Last" >> beam.ParDo(Last(work), AsSingleton(self.vocabulary))


@dataclasses.dataclass(frozen=True)
class Work:
    """Gives the DoFns the `Replicas` that does their work. Picklable."""

    context: JobContext
    provenance: dict
    threads: int

    def replicas(self, report: TrainingReporter | None = None) -> Replicas:
        context = self.context
        hooks = {"report": report} if report else {}
        commits = context.commits(CHECKPOINTS)
        return Replicas(
            context.options,
            commits.beside(TRAINED) if context.parent else commits,
            self.provenance,
            self.threads,
            warn=warn,
            first=context.start,
            **hooks,
        )


class ToSlices(StageDoFn):
    """Sends a list of shards to each slice of an epoch that has shards of it."""

    def __init__(self, work: Work):
        super().__init__(work.context)
        self.work = work

    def process(self, element: tuple[int, Iterable[BatchShard]]) -> Iterator[tuple[int, ShardList]]:
        number, some = element
        shards = list(some)
        yield from self.work.replicas().lists_of_slices(number, shards, positions_of(shards[:1]))


def _is_first(shard: BatchShard) -> bool:
    return shard.index == 0


def _is_chosen(shard: BatchShard, count: int) -> bool:
    return shard.index in chosen_shards(count)


class Start(StageDoFn):
    """Finds the last checkpoint, or writes the one before the first step.

    It waits for all `shards`, because a corpus that cannot be trained on is refused where they are made.
    """

    def __init__(self, work: Work):
        super().__init__(work.context)
        self.work = work

    def process(self, vocabulary: VocabularyRef, shards: int, first: Iterable[BatchShard]) -> Iterator[Standing]:
        context, positions = self.work.context, positions_of(list(first))
        if context.parent:
            commits = context.commits(CHECKPOINTS)
            if done := finished_update(commits):
                yield Standing(done, positions)
                return
            trained_stage(commits)
        words = vocabulary.open(context.records)
        yield self.work.replicas().start(words.words, words.counts, positions)


@dataclasses.dataclass
class Round(beam.PTransform):
    """Standing before a round -> Standing after it; the same if the round has been committed already."""

    work: Work
    number: int
    slices: PCollection[tuple[int, ShardList]]
    kept_back: list[AsIter]
    """lists of the shards for the loss on sentences kept back; [] without --holdout"""

    def expand(self, standing: PCollection[Standing]) -> PCollection[Standing]:
        train = beam.ParDo(TrainSlice(self.work, self.number), AsMultiMap(self.slices))
        merged = (
            standing
            | "Replicas" >> beam.ParDo(ToReplicas(self.work, self.number))
            | "Spread" >> beam.GroupByKey()
            | "Train" >> on_device(train, self.work.context, standing.pipeline.options)
            | "Gather" >> beam.GroupByKey()
            | "Merge" >> beam.ParDo(MergePart(self.work, self.number), AsSingleton(standing))
        )
        return standing | "Commit" >> beam.ParDo(Commit(self.work, self.number), AsIter(merged), *self.kept_back)


class ToReplicas(StageDoFn):
    """An element for each replica; none if the round has been committed already."""

    def __init__(self, work: Work, number: int):
        super().__init__(work.context)
        self.work, self.number = work, number

    def process(self, standing: Standing) -> Iterator[tuple[int, Standing]]:
        if not self.work.replicas().is_over(standing, self.number):
            for replica in range(self.work.context.options.replicas):
                yield replica, standing


class TrainSlice(StageDoFn):
    """Trains a replica on its slice; gives its changes, keyed by partition."""

    def __init__(self, work: Work, number: int):
        super().__init__(work.context)
        self.work, self.number = work, number

    def process(
        self, element: tuple[int, Iterable[Standing]], slices: Mapping[int, Iterable[ShardList]]
    ) -> Iterator[tuple[int, SlicePartition]]:
        replica, (standing,) = element
        replicas = self.work.replicas(TrainingReporter(standing.positions * self.work.context.options.epochs))
        lists = slices[replicas.slice_index(standing, self.number, replica)]
        shards = [shard for shard_list in lists for shard in shard_list.open(self.work.context.records)]
        yield from enumerate(replicas.train_slice(standing, self.number, replica, shards))


class MergePart(StageDoFn):
    """Merges the changes of the replicas to a partition of the vocabulary."""

    def __init__(self, work: Work, number: int):
        super().__init__(work.context)
        self.work, self.number = work, number

    def process(self, element: tuple[int, Iterable[SlicePartition]], standing: Standing) -> Iterator[MergedPartition]:
        index, parts = element
        yield self.work.replicas().merge(standing, self.number, index, parts)


class Commit(StageDoFn):
    """Makes the merged partitions a checkpoint; passes the Standing on if the round was committed before."""

    def __init__(self, work: Work, number: int):
        super().__init__(work.context)
        self.work, self.number = work, number

    def process(
        self, standing: Standing, merged: Iterable[MergedPartition], kept_back: Iterable[BatchShard] = ()
    ) -> Iterator[Standing]:
        replicas = self.work.replicas()
        if replicas.is_over(standing, self.number):
            yield standing
        else:
            yield replicas.commit(standing, self.number, merged, list(kept_back))


class Last(StageDoFn):
    """The last checkpoint; with --update, it is averaged with the parent's vectors."""

    def __init__(self, work: Work):
        super().__init__(work.context)
        self.work = work

    def process(self, standing: Standing, vocabulary: VocabularyRef) -> Iterator[CheckpointRef]:
        context, last = self.work.context, standing.checkpoint
        if last.folder.startswith(f"{TRAINED}/"):
            words = vocabulary.open(context.records)
            trained = Trained.of(context.records, last)
            last = average(context.commits(CHECKPOINTS), trained, words, self.work.provenance)
        yield last
