"""Training on Beam."""

from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.batches.shards import BatchShard
from pipeline.errors import ArtifactError, find
from pipeline.options import Options
from pipeline.training.trainer import Trainer
from pipeline.words.vocabulary import VocabularyRef
from tests.helpers.keys import KEY
from tests.helpers.trainings import new_records
from tests.helpers.world import OPTIONS, World, check, make_context
from transforms.job_context import JobContext
from transforms.train import Train

pytest_plugins = ("tests.helpers.world_fixture",)


def test_training_is_that_of_the_plain_trainer(world, tmp_path):
    ref, shards = world.vocabulary_ref(), world.batch_shards()
    alone = World(**{**vars(world), "context": make_context(world.files, tmp_path / "alone")})
    trainer = Trainer(OPTIONS, alone.context.commits("checkpoints"))
    wanted = trainer.train(world.vocabulary.words, world.vocabulary.counts, alone.batch_shards())

    def apply(elements):
        return elements | Train(world.context, elements.pipeline | "Vocabulary" >> beam.Create([ref]), {})

    def expect(refs):
        (found,) = refs
        assert (found.step, found.digest, found.words) == (wanted.step, wanted.digest, wanted.words)

    check(shards[::-1], apply, expect)


def test_training_without_the_last_shard_is_refused(world):
    ref, shards = world.vocabulary_ref(), world.batch_shards()
    with pytest.raises(Exception, match=r"of the .* tokens that were counted: a shard was lost") as raised:
        check(
            shards[:-1],
            lambda elements: elements | Train(world.context, elements.pipeline | "V" >> beam.Create([ref]), {}),
            lambda refs: None,
        )
    assert isinstance(find(raised.value), ArtifactError)


def test_train_asks_for_a_worker_with_a_gpu():
    def accelerators(device, *arguments):
        pipeline = beam.Pipeline(options=PipelineOptions(list(arguments)))
        context = JobContext(new_records(), {"checkpoints": KEY}, Options.checked({"device": device}), None)
        vocabulary = pipeline | "Vocabulary" >> beam.Create([]).with_output_types(VocabularyRef)
        pipeline | "Shards" >> beam.Create([]).with_output_types(BatchShard) | Train(context, vocabulary, {})
        environments = pipeline.to_runner_api().components.environments.values()
        return [hint.decode() for e in environments for urn, hint in e.resource_hints.items() if "accelerator" in urn]

    assert accelerators("auto") == []
    assert accelerators("cpu") == []
    assert accelerators("gpu") == ["type:nvidia-tesla-t4;count:1;install-nvidia-driver"]
    chosen = "type:nvidia-l4;count:1"
    assert set(accelerators("gpu", f"--resource_hints=accelerator={chosen}")) == {chosen}
