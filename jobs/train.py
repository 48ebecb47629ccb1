"""Train word embeddings: text in, checkpoints in Parquet out.

    python -m jobs.train --input=corpus.txt --output=runs/first

The graph, one named stage each: work units, CountWords, BuildVocabulary,
UnigramDistribution (a side input), EncodeTokens, GenerateBatches, Train.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions, TestOptions

from jobs import summary
from jobs.command_line import LOCAL_RUNNER, CommandLine, parser, read
from jobs.running import run_command, stopping_on_signals
from pipeline import progress
from pipeline.errors import InputError
from pipeline.inputs import InputFile, match_inputs
from pipeline.lock import Lock
from pipeline.readers import Reader, open_reader, reader_identity
from pipeline.report.page import PATH as REPORT
from pipeline.report.page import report
from pipeline.run import Run
from pipeline.run_directory import RunDirectory, make_identity, open_or_create
from pipeline.storage import open_storage
from pipeline.timings import add_timings
from pipeline.word_lists import WordListRef, word_list
from transforms.batches import GenerateBatches
from transforms.context import Context
from transforms.counts import CountWords
from transforms.tokens import EncodeTokens
from transforms.train import Train
from transforms.unigram import UnigramDistribution
from transforms.vocabulary import BuildVocabulary
from transforms.work_units import PlanWorkUnits, indexed

_log = logging.getLogger(__name__)


def build(pipeline: beam.Pipeline, files: Sequence[InputFile], context: Context, provenance: Mapping[str, Any]) -> None:
    """The whole job as one Beam graph."""
    inputs = pipeline | "Inputs" >> beam.Create(list(indexed(files)))
    units, left_out = inputs | "WorkUnits" >> PlanWorkUnits(context)
    counts, counted = units | "CountWords" >> CountWords(context)
    summaries = (left_out, counted) | "Summaries" >> beam.Flatten()
    vocabulary = counts | "BuildVocabulary" >> BuildVocabulary(context, summaries, files[:3])
    unigram = vocabulary | "UnigramDistribution" >> UnigramDistribution(context)
    shards = units | "EncodeTokens" >> EncodeTokens(context, vocabulary)
    batches = shards | "GenerateBatches" >> GenerateBatches(context, unigram)
    batches | "Train" >> Train(context, vocabulary, dict(provenance))


def beam_options(arguments: Sequence[str], threads: int) -> PipelineOptions:
    """Beam's options, with FnApiRunner in threads of this process unless a runner is named."""
    options = PipelineOptions(list(arguments))
    standard, direct = options.view_as(StandardOptions), options.view_as(DirectOptions)
    if not standard.runner:  # DirectRunner by name would look for another runner to download
        standard.runner = LOCAL_RUNNER
    named = any(argument.startswith("--direct_num_workers") for argument in arguments)
    if standard.runner == LOCAL_RUNNER and not named:
        direct.direct_num_workers = threads
    if direct.direct_num_workers != 1 and not any(a.startswith("--direct_running_mode") for a in arguments):
        direct.direct_running_mode = "multi_threading"
    return options


def new_graph(options: PipelineOptions) -> beam.Pipeline:
    """An empty graph; InputError where there is no such runner, or it refuses its options."""
    try:
        return beam.Pipeline(options=options)
    except (ValueError, ImportError) as error:
        raise InputError(f"--runner={options.view_as(StandardOptions).runner}: {error}") from error


def check_device(device: str) -> str:
    """Where training runs: the CPU, until there is a GPU backend."""
    if device == "gpu":
        raise InputError("--device=gpu: this version trains on CPUs only; use --device=auto or --device=cpu")
    return "cpu"


def main(arguments: Sequence[str]) -> int:
    began = time.monotonic()
    command = read(arguments, parser("jobs.train", __doc__ or ""))
    check_device(command.options.device)
    runner_options = beam_options(command.beam, command.options.thread_count)
    files = match_inputs(command.inputs)
    if runner_options.view_as(TestOptions).dry_run:
        summary.print_plan(command, files, runner_options.view_as(StandardOptions).runner)
        return 0
    reader = open_reader(command.options, files)
    vocabulary = command.options.vocabulary
    listed = word_list(vocabulary, reader.items) if vocabulary else None
    graph = new_graph(runner_options)
    storage = open_storage(command.output)
    lock = Lock(storage)
    with stopping_on_signals(lock.release), lock, lock.kept_alive():
        run = _open_run(command, files, reader, listed)
        context = Context(run.records, run.keys, run.pinned(command.options), reader, lock.token, listed)
        build(graph, files, context, _provenance(run, reader))
        graph.run().wait_until_finish()
        seconds = time.monotonic() - began
        if timings := progress.timeline(began):  # none where the work was done elsewhere
            add_timings(run.records, run.keys["checkpoints"], timings)
        progress.close_all()
        page = _report(command.output, run) if command.report else ""
        summary.print_result(context, seconds, page)
    return 0


def _report(output: str, run: RunDirectory) -> str:
    """Writes the report and returns its uri; "" and a note where that fails: the model is there, whatever happens."""
    try:
        made = Run(output, run)
        run.storage.put(REPORT, report([(made, made.checkpoint())]))
        return run.storage.uri(REPORT)
    except Exception as error:
        _log.warning("the report is left out (%s): python -m jobs.report --run=%s", error, output)
        return ""


def _open_run(
    command: CommandLine, files: Sequence[InputFile], reader: Reader, listed: WordListRef | None
) -> RunDirectory:
    options = command.options
    identity = make_identity(options, files, reader_identity(reader, options), listed.digest if listed else "")
    run = open_or_create(command.output, identity, command.overwrite)
    for note in run.notes:
        progress.say(note)
    run.storage.sweep(older_than=60.0)  # with the lock held, what a dead run left half written
    return run


def _provenance(run: RunDirectory, reader: Reader) -> dict[str, Any]:
    """For the checkpoints' metadata: how the model was made."""
    identity = run.identity
    return {
        "format_version": identity["format_version"],
        "model": identity["options"]["model"],
        "tokenizer": identity["tokenizer"],
        "items": reader.items,
        "versions": identity["versions"],
        "inputs": len(identity["inputs"]),
        "input_bytes": sum(file["size"] for file in identity["inputs"]),
    }


if __name__ == "__main__":
    sys.exit(run_command("jobs.train", main))
