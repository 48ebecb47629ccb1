"""Batch shards -> a trained model, as checkpoints."""

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.pvalue import AsSingleton

from pipeline.batches.shard_lists import STAGE as LISTS
from pipeline.batches.shard_lists import ShardList, list_of, shard_list
from pipeline.batches.shards import BatchShard
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.model.checkpoints import CheckpointRef
from pipeline.runtime import interruption, progress
from pipeline.runtime.messages import warn
from pipeline.training.epochs import positions_of
from pipeline.training.trainer import Trainer, TrainingProgress
from pipeline.training.update import trained_update
from pipeline.words.vocabulary import VocabularyRef
from transforms.job_context import NAMESPACE, JobContext, StageDoFn, counter

ACCELERATOR = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
"""The resource hint for --device=gpu, for runners that can add a GPU to workers (Dataflow); others ignore it."""


@dataclasses.dataclass
class Train(beam.PTransform):
    """BatchShard -> CheckpointRef of the last checkpoint.

    All shards come together at one trainer, a single long-running element that
    commits checkpoints as it goes: a retry resumes from the last one. They come as
    lists, packed or by reference, so that this element stays small however many they are.
    """

    context: JobContext
    vocabulary: PCollection[VocabularyRef]
    provenance: dict

    def expand(self, shards: PCollection[BatchShard]) -> PCollection[CheckpointRef]:
        train = beam.ParDo(TrainModel(self.context, self.provenance), AsSingleton(self.vocabulary))
        train = on_device(train, self.context, shards.pipeline.options)
        return (
            shards
            | "ByList" >> beam.Map(by_list)
            | "GatherList" >> beam.GroupByKey()
            | "PackList" >> beam.ParDo(PackList(self.context))
            | "GatherShards" >> beam.GroupByKey()
            | "TrainModel" >> train
        )


def on_device(train: beam.ParDo, context: JobContext, options: PipelineOptions) -> beam.ParDo:
    """With --device=gpu, asks the runner for workers that have one."""
    if context.options.device != "gpu" or _names_accelerator(options):
        return train
    return train.with_resource_hints(accelerator=ACCELERATOR)


def _names_accelerator(options: PipelineOptions) -> bool:
    """Whether the user names the accelerator of workers by --resource_hints."""
    return any(hint.startswith("accelerator=") for hint in options.view_as(StandardOptions).resource_hints or ())


def by_list(shard: BatchShard) -> tuple[int, BatchShard]:
    """Keyed by the list that it belongs to."""
    return list_of(shard), shard


class PackList(StageDoFn):
    """The shards of a list as one small element, for the one trainer."""

    def __init__(self, context: JobContext):
        super().__init__(context)
        self.commits = context.commits(CHECKPOINTS).beside(LISTS)

    def process(self, element: tuple[int, Iterable[BatchShard]]) -> Iterator[tuple[int, ShardList]]:
        number, shards = element
        yield 0, shard_list(self.commits, number, shards)


class TrainingReporter:
    """Tells Beam and the terminal how one piece of training is getting on."""

    def __init__(self, total: int):
        """Counts from 0.

        Args:
          total: token positions of the whole run, over all epochs.
        """
        self.total = total
        self.targets = counter("targets")
        self.step_time = Metrics.distribution(NAMESPACE, "step_microseconds")
        self.seen: TrainingProgress | None = None

    def __call__(self, now: TrainingProgress) -> None:
        last = self.seen or dataclasses.replace(now, step=now.first_step, positions=0, rows=0, seconds=0.0)
        bar = progress.stage("Train", self.total, "tok")
        bar.advance(now.positions - last.positions, f"loss {now.loss:.4f}")
        self.targets.inc(now.rows - last.rows)
        if now.step > last.step:
            self.step_time.update(int(1e6 * (now.seconds - last.seconds) / (now.step - last.step)))
        self.seen = now


class TrainModel(StageDoFn):
    """Runs the trainer."""

    def __init__(self, context: JobContext, provenance: dict):
        super().__init__(context)
        self.provenance = provenance

    def process(self, element: tuple[int, Iterable[ShardList]], vocabulary: VocabularyRef) -> Iterator[CheckpointRef]:
        context, commits = self.context, self.context.commits(CHECKPOINTS)
        words = vocabulary.open(context.records)
        shards = [shard for one in element[1] for shard in one.open(context.records)]
        report = TrainingReporter(positions_of(shards) * context.options.epochs)
        trainer = Trainer(
            context.options,
            commits,
            self.provenance,
            report=report,
            stop=interruption.requested,
            warn=warn,
            start=context.start,
        )
        with interruption.listening():
            if context.parent:
                yield trained_update(trainer, words, shards)
            else:
                yield trainer.train(words.words, words.counts, shards)
