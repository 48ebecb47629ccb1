"""The graph that the commands run, one named stage each, and the runner that it goes to.

corpus_side    work units, FindPhrases (one a pass of --phrases), CountWords, BuildVocabulary,
               UnigramDistribution, EncodeTokens, MakeReservoir, GenerateBatches; with --update also TakePhrases in
               place of FindPhrases, and ReplaySentences
taken_corpus   ReadVocabulary, ReadTokens, UnigramDistribution, GenerateBatches: the same of another run
training_side  Train, by one trainer or several replicas
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from jobs.runners.launch import IN_THIS_PROCESS, LOCAL_RUNNER, check_runner, runner_name, runner_of
from pipeline.batches.shards import BatchShard
from pipeline.corpus.files import InputFile, indexed
from pipeline.errors import InputError
from pipeline.options import Options
from pipeline.runtime.messages import warn
from pipeline.words.merging import buckets_for
from pipeline.words.vocabulary import VocabularyRef
from transforms.batches import GenerateBatches
from transforms.beam_storage import set_beam_options
from transforms.counts import CountWords
from transforms.job_context import JobContext
from transforms.phrases import FindPhrases, TakePhrases
from transforms.preprocessed import ReadTokens, ReadVocabulary
from transforms.replay import ReplaySentences
from transforms.replicas import TrainReplicas
from transforms.reservoir import MakeReservoir
from transforms.tokens import EncodeTokens
from transforms.train import Train
from transforms.unigram import UnigramDistribution
from transforms.vocabulary import BuildVocabulary
from transforms.work_units import PlanWorkUnits

MANY_ROUNDS = 150
_CALLS_A_ROUND = 20


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The results of the corpus side of a graph, by reference."""

    vocabulary: PCollection[VocabularyRef]
    batches: PCollection[BatchShard]


def corpus_side(
    pipeline: beam.Pipeline, files: Sequence[InputFile], context: JobContext, trains: bool = True
) -> Corpus:
    """Input files -> vocabulary and batches; `trains` says whether a model is trained on them in this run."""
    inputs = pipeline | "Inputs" >> beam.Create(list(indexed(files)))
    units, left_out = inputs | "WorkUnits" >> PlanWorkUnits(context, len(files))
    phrases, buckets = None, buckets_for(sum(file.size for file in files))
    if context.parent and context.options.phrases:
        phrases = pipeline | "TakePhrases" >> TakePhrases(context)
    else:
        for number in range(1, context.options.phrases + 1):
            phrases = units | f"FindPhrases{number}" >> FindPhrases(context, number, phrases, buckets)
    counts, summaries = units | "CountWords" >> CountWords(context, phrases, buckets=buckets)
    vocabulary = counts | "BuildVocabulary" >> BuildVocabulary(context, summaries, left_out, files[:3])
    unigram = vocabulary | "UnigramDistribution" >> UnigramDistribution(context)
    shards, parts = units | "EncodeTokens" >> EncodeTokens(context, vocabulary, phrases)
    reservoir = parts | "MakeReservoir" >> MakeReservoir(context, units, phrases) if context.has_reservoir else None
    replay = vocabulary | "ReplaySentences" >> ReplaySentences(context, shards, phrases) if context.parent else None
    batches = shards | "GenerateBatches" >> GenerateBatches(context, unigram, trains, reservoir, replay)
    return Corpus(vocabulary, batches)


def taken_corpus(pipeline: beam.Pipeline, context: JobContext) -> Corpus:
    """Another run's tokens -> vocabulary and batches; what that run lacks under these options is made in this one."""
    vocabulary = pipeline | "ReadVocabulary" >> ReadVocabulary(context)
    unigram = vocabulary | "UnigramDistribution" >> UnigramDistribution(context)
    shards = vocabulary | "ReadTokens" >> ReadTokens(context)
    return Corpus(vocabulary, shards | "GenerateBatches" >> GenerateBatches(context, unigram))


def training_side(corpus: Corpus, context: JobContext, provenance: Mapping[str, Any]) -> None:
    """Vocabulary and batches -> checkpoints."""
    options, vocabulary = context.options, corpus.vocabulary
    if options.replicas == 1:
        corpus.batches | "Train" >> Train(context, vocabulary, dict(provenance))
        return
    _make_room_for(options.epochs * options.rounds)
    threads = _threads_of_a_replica(vocabulary.pipeline.options, options)
    corpus.batches | "Train" >> TrainReplicas(context, vocabulary, dict(provenance), threads)


def _make_room_for(rounds: int) -> None:
    """Python's recursion limit goes up: runners traverse the graph recursively, and each round makes it deeper."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000 + _CALLS_A_ROUND * rounds))
    if rounds > MANY_ROUNDS:
        warn(
            f"{rounds} rounds are a large graph: the launcher may need gigabytes for it; fewer --rounds train nearly"
            " as well"
        )


def _threads_of_a_replica(beam: PipelineOptions, options: Options) -> int:
    """Replicas on this machine share its threads; elsewhere each replica has those of its worker."""
    if beam.view_as(StandardOptions).runner != LOCAL_RUNNER:
        return options.thread_count
    at_once = min(options.replicas, max(1, beam.view_as(DirectOptions).direct_num_workers))
    return max(1, options.thread_count // at_once)


def build(
    pipeline: beam.Pipeline, files: Sequence[InputFile], context: JobContext, provenance: Mapping[str, Any]
) -> None:
    """The whole job as one graph: text to checkpoints, or another run's tokens to checkpoints."""
    corpus = corpus_side(pipeline, files, context) if context.reads else taken_corpus(pipeline, context)
    training_side(corpus, context, provenance)


_View = TypeVar("_View", bound=PipelineOptions)


class _Options(PipelineOptions):
    """Beam's options, with each view made once: Beam asks for one at every transform, and each parses all arguments."""

    def view_as(self, cls: type[_View]) -> _View:
        views: dict[type, Any] = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_views"}


def pipeline_options(arguments: Sequence[str], threads: int) -> PipelineOptions:
    """Beam's options, with FnApiRunner in threads of this process unless a runner is named.

    It also sets the options of Beam's file systems in this process, for input that is there.
    """
    options = _Options(list(arguments))
    standard, direct = options.view_as(StandardOptions), options.view_as(DirectOptions)
    if runner_name(options) in IN_THIS_PROCESS:  # Beam takes DirectRunner for Prism, and downloads it
        standard.runner = LOCAL_RUNNER
    named = any(argument.startswith("--direct_num_workers") for argument in arguments)
    if standard.runner == LOCAL_RUNNER and not named:
        direct.direct_num_workers = threads
    # multi_threading also uses threads, but through servers on all network interfaces.
    if direct.direct_running_mode == "multi_threading":
        direct.direct_running_mode = "in_memory"
    set_beam_options(options)
    return options


def new_graph(options: PipelineOptions) -> beam.Pipeline:
    """An empty graph; InputError if there is no such runner, it refuses its options, or its cluster is not there."""
    check_runner(options)
    try:
        return beam.Pipeline(runner_of(options), options)
    except (ValueError, ImportError) as error:
        raise InputError(f"--runner={options.view_as(StandardOptions).runner}: {error}") from error
