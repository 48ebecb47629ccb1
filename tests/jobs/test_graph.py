"""The whole graph: names, types, metrics."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DebugOptions, DirectOptions, TypeOptions
from apache_beam.pipeline import PipelineVisitor
from apache_beam.typehints import TypeCheckError
from apache_beam.typehints.typehints import AnyTypeConstraint

from jobs.graph import _threads_of_a_replica, build, pipeline_options
from pipeline.options import Options
from tests.helpers.world import OPTIONS, World
from transforms.counts import CountWords
from transforms.job_context import NAMESPACE
from transforms.train import Train
from transforms.unigram import UnigramDistribution

pytest_plugins = ("tests.helpers.world_fixture",)


def graph(world: World, options: Options = OPTIONS) -> beam.Pipeline:
    made = beam.Pipeline("FnApiRunner")
    build(made, world.files, dataclasses.replace(world.context, options=options), {})
    return made


@pytest.mark.parametrize(
    "options", [{}, {"batches": "stored"}, {"replicas": 2, "rounds": 2, "holdout": 0.1}], ids=["", "stored", "replicas"]
)
def test_every_edge_of_the_graph_has_a_type(world, options, caplog):
    untyped = []

    class Edges(PipelineVisitor):
        def visit_transform(self, node):
            if "/" in node.full_label and not node.full_label.startswith("Inputs"):
                outputs = node.outputs.values()
                untyped.extend(node.full_label for out in outputs if isinstance(out.element_type, AnyTypeConstraint))

    graph(world, dataclasses.replace(OPTIONS, **options)).visit(Edges())
    # Inside Reshuffle and ToList, Beam itself has steps without types.
    assert [label for label in untyped if not any(part in label for part in ("Spread", "All"))] == []
    assert "type hint will be ignored" not in caplog.text


def test_elements_of_another_type_are_refused_when_the_graph_is_built(world):
    pipeline = beam.Pipeline("FnApiRunner")
    numbers = pipeline | beam.Create([1])
    for transform in (CountWords(world.context), UnigramDistribution(world.context), Train(world.context, numbers, {})):
        with pytest.raises(TypeCheckError, match=r"expected|requires"):
            numbers | transform


def test_stages_carry_the_names_of_the_design(world):
    stages = [part.full_label for part in graph(world).transforms_stack[0].parts]
    assert stages == [
        "Inputs",
        "WorkUnits",
        "CountWords",
        "BuildVocabulary",
        "UnigramDistribution",
        "EncodeTokens",
        "MakeReservoir",
        "GenerateBatches",
        "Train",
    ]


def test_beam_metrics_count_the_work(world):
    result = graph(world).run()
    result.wait_until_finish()
    found = result.metrics().query()
    ours = [one for one in found["counters"] if one.key.metric.namespace == NAMESPACE]
    counters = {one.key.metric.name: one.committed for one in ours}
    size = world.corpus.stat().st_size
    assert counters["bytes"] == size
    assert counters["lines"] == len(world.sentences)
    assert counters["tokens"] == sum(map(len, world.sentences))
    assert counters["bad_lines"] == 0
    assert 0 < counters["targets"] <= OPTIONS.epochs * world.vocabulary.tokens
    (times,) = (one for one in found["distributions"] if one.key.metric.name == "step_microseconds")
    assert times.committed.count > 0


@pytest.mark.parametrize(
    ("arguments", "replicas", "threads"),
    [
        (["--direct_num_workers=4"], 2, 4),
        (["--direct_num_workers=4"], 8, 2),
        (["--direct_num_workers=1"], 8, 8),
        (["--runner=PrismRunner"], 8, 8),
    ],
)
def test_replicas_that_one_machine_trains_at_once_share_its_threads(arguments, replicas, threads):
    options = Options.checked({"replicas": replicas, "rounds": 1, "threads": 8})
    assert _threads_of_a_replica(pipeline_options(arguments, 8), options) == threads


def test_views_of_the_options_are_made_once_and_share_their_values():
    options = pipeline_options(["--direct_num_workers=3", "--experiments=a"], threads=2)
    direct, debug = options.view_as(DirectOptions), options.view_as(DebugOptions)
    assert options.view_as(DirectOptions) is direct
    direct.direct_num_workers = 5
    assert options.view_as(TypeOptions).view_as(DirectOptions).direct_num_workers == 5
    for copied in (copy.deepcopy(options), pickle.loads(pickle.dumps(options))):
        assert copied.view_as(DirectOptions).direct_num_workers == 5
        copied.view_as(DebugOptions).experiments.append("b")
        assert copied.view_as(DebugOptions).experiments == ["a", "b"]
    assert debug.experiments == ["a"]
