"""Training by several replicas on Beam."""

from __future__ import annotations

import dataclasses

import apache_beam as beam
import pytest

from pipeline.batches.sampling import Sampling
from pipeline.model.loss_curve import read_metrics
from pipeline.training.replicas.trainer import Replicas
from tests.helpers.world import OPTIONS, World, check, make_context
from transforms.replicas import TrainReplicas

pytest_plugins = ("tests.helpers.world_fixture",)


@pytest.mark.parametrize("holdout", [0.0, 0.2])
def test_replicas_are_those_of_the_plain_functions(world, tmp_path, holdout):
    options = dataclasses.replace(OPTIONS, replicas=3, rounds=2, holdout=holdout)
    made = [make_context(world.files, tmp_path / name, options) for name in ("alone", "beam")]
    worlds = [World(**{**vars(world), "context": context}) for context in made]
    sampling = Sampling.of(options)
    shards = [[dataclasses.replace(shard, sampling=sampling) for shard in one.batch_shards()] for one in worlds]
    alone = Replicas(options, made[0].commits("checkpoints"))
    wanted = alone.train(world.vocabulary.words, world.vocabulary.counts, shards[0])
    ref = worlds[1].vocabulary_ref()

    def apply(elements):
        return elements | TrainReplicas(made[1], elements.pipeline | "Vocabulary" >> beam.Create([ref]), {}, threads=1)

    def expect(refs):
        (found,) = refs
        assert (found.step, found.digest) == (wanted.step, wanted.digest)

    check(shards[1][::-1], apply, expect)
    curves = [read_metrics(context.records, context.keys["checkpoints"]).drop(["seconds"]) for context in made]
    assert curves[0].equals(curves[1])
    assert ("holdout_loss" in curves[0].column_names) == (holdout > 0)
