"""Token shards and the unigram distribution -> batches of (context, target, negatives)."""

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import AsIter, AsSingleton

from pipeline.batches.replay import ReplayRef
from pipeline.batches.sampling import Sampling
from pipeline.batches.shards import BatchShard, check_sizes, first_positions, stored_epoch
from pipeline.batches.stored import STAGE, stored_batches
from pipeline.batches.tokens import TokenShard
from pipeline.runtime import progress
from pipeline.storage.records import Artifact
from pipeline.words.reservoir import ReservoirRef
from pipeline.words.stored_unigram import UnigramRef
from transforms.job_context import JobContext, StageDoFn


@dataclasses.dataclass
class GenerateBatches(beam.PTransform):
    """TokenShard -> BatchShard, a reference whose `.batches()` gives Arrow record batches.

    With --batches=stream they are made when they are asked for; with
    --batches=stored workers write Parquet for every (epoch, shard) now. The rows
    are the same. What the run of --corpus has stored is used either way. Side inputs: the
    unigram distribution, and the sizes of all shards, which make the positions.
    """

    context: JobContext
    unigram: PCollection[UnigramRef]
    trains: bool = True
    """whether a model is trained on them in this run"""
    reservoir: PCollection[ReservoirRef] | None = None
    """must be there before: with --update, the parent is not read again once training begins"""
    replay: PCollection[ReplayRef] | None = None
    """with --update, what epochs replay"""

    def expand(self, shards: PCollection[TokenShard]) -> PCollection[BatchShard]:
        sizes = shards | "Sizes" >> beam.Map(_size)
        first = {"replay": self.replay, "reservoir": self.reservoir}
        more = {name: AsIter(collection) for name, collection in first.items() if collection is not None}
        referenced = shards | "Refer" >> beam.ParDo(
            Refer(self.context, self.trains), AsSingleton(self.unigram), AsIter(sizes), **more
        )
        if self.context.options.batches == "stream":
            return referenced
        return (
            referenced
            | "EachEpoch" >> beam.FlatMap(_each_epoch, self.context.options.epochs)
            | "SpreadEpochs" >> beam.Reshuffle()
            | "StoreBatches" >> beam.ParDo(StoreBatches(self.context))
            | "GatherEpochs" >> beam.GroupByKey()
            | "Together" >> beam.Map(_together)
        )


def _size(shard: TokenShard) -> tuple[int, int, int, int]:
    return shard.index, shard.tokens, shard.sentences, shard.kept_back_tokens


class Refer(StageDoFn):
    """Gives each shard its first position: the number of tokens in the shards before it."""

    def __init__(self, context: JobContext, trains: bool):
        super().__init__(context)
        self.trains = trains
        self.positions: dict[int, int] | None = None
        self.of = 0

    def setup(self) -> None:
        self.positions = None

    def process(
        self,
        shard: TokenShard,
        unigram: UnigramRef,
        sizes: Iterable[tuple[int, int, int, int]],
        replay: Iterable[ReplayRef] = (),
        reservoir: Iterable[ReservoirRef] = (),
    ) -> Iterator[BatchShard]:
        options, parent = self.context.options, self.context.parent
        if self.positions is None:
            self.of = check_sizes(sizes, unigram.tokens, is_listed=bool(options.vocabulary), trains=self.trains)
            self.positions = first_positions(sizes)
        sampling = Sampling.of(options, parent.model if parent else "")
        sampling.check(unigram.words, is_listed=bool(options.vocabulary))
        place = shard.index, self.positions[shard.index], shard.tokens
        stored, replayed = self._stored(shard.index), next(iter(replay), None)
        artifacts = shard.artifact, unigram.artifact
        yield BatchShard(*place, sampling, *artifacts, stored, replayed, shard.kept_back, self.of)

    def _stored(self, shard: int) -> tuple[Artifact, ...]:
        """Batches that the run of --corpus has stored; a run without --corpus finds its own when it stores them."""
        context = self.context
        if context.reads is not None:
            return ()
        return stored_batches(context.records, context.keys[STAGE], shard, context.options.epochs)


def _each_epoch(shard: BatchShard, epochs: int) -> Iterator[tuple[int, BatchShard]]:
    for epoch in range(epochs):
        yield epoch, shard


class StoreBatches(StageDoFn):
    """Stores the batches of a shard in an epoch, unless an earlier attempt has."""

    def __init__(self, context: JobContext):
        super().__init__(context)
        self.commits = context.commits(STAGE)

    def process(self, element: tuple[int, BatchShard]) -> Iterator[tuple[int, tuple[int, Artifact, BatchShard]]]:
        epoch, shard = element
        artifact = stored_epoch(self.commits, shard, epoch)
        progress.stage("Store batches", None, "tok").advance(shard.positions)
        yield shard.index, (epoch, artifact, shard)


def _together(element: tuple[int, Iterable[tuple[int, Artifact, BatchShard]]]) -> BatchShard:
    """The shard with its stored epochs in order."""
    ordered = sorted(element[1], key=lambda epoch_and_rest: epoch_and_rest[0])
    return dataclasses.replace(ordered[0][2], stored=tuple(artifact for _, artifact, _ in ordered))
