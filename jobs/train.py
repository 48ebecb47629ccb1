"""Train word embeddings: text in, checkpoints in Parquet out.

    python -m jobs.train --input=corpus.txt --output=runs/first

The graph, one named stage each: work units, FindPhrases (if wanted), CountWords, BuildVocabulary,
UnigramDistribution (a side input), EncodeTokens, GenerateBatches, Train.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import StandardOptions, TestOptions

from jobs import runners, summary
from jobs.command_line import CommandLine, parser, read
from jobs.graph import beam_options, build, new_graph
from jobs.running import holding, open_output, run_command
from pipeline import progress
from pipeline.errors import InputError
from pipeline.inputs import InputFile, match_inputs
from pipeline.readers import Reader, open_reader, reader_identity
from pipeline.report.page import PATH as REPORT
from pipeline.report.page import report
from pipeline.run import Run
from pipeline.run_directory import RunDirectory, make_identity
from pipeline.timings import add_timings
from pipeline.word_lists import WordListRef, word_list
from transforms.context import Context

_log = logging.getLogger(__name__)


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
    with holding(command.output) as lock:
        run = open_output(command.output, _identity(command, files, reader, listed), command.overwrite)
        context = Context(run.records, run.keys, run.pinned(command.options), reader, lock.token, listed)
        build(graph, files, context, _provenance(run, reader))
        if not runners.run(graph, lock):
            summary.print_left(run)
            return 0
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


def _identity(
    command: CommandLine, files: Sequence[InputFile], reader: Reader, listed: WordListRef | None
) -> dict[str, Any]:
    options = command.options
    return make_identity(options, files, reader_identity(reader, options), listed.digest if listed else "")


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
