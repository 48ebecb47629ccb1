"""Train word embeddings: text in, checkpoints in Parquet out.

    python -m jobs.train --input=corpus.txt --output=runs/first
    python -m jobs.train --corpus=runs/corpus --output=runs/second

The graph, one named stage each: work units, FindPhrases (if wanted), CountWords, BuildVocabulary,
UnigramDistribution (a side input), EncodeTokens, GenerateBatches, Train. With --corpus,
the vocabulary and the tokens are those of another run (see jobs.preprocess).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Collection, Sequence
from typing import Any

from apache_beam.options.pipeline_options import StandardOptions, TestOptions

from jobs.cli import summary
from jobs.cli.entry import holding, open_output, run_command
from jobs.cli.parser import parser, read
from jobs.cli.sources import find_source
from jobs.graph import beam_options, build, new_graph
from jobs.runners import launch as runners
from jobs.runners.launch import LOCAL_RUNNER
from pipeline.analysis.report.page import report
from pipeline.backends.open_backend import gpu_for
from pipeline.errors import OutputInUseError
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.model.checkpoints import checkpoints
from pipeline.runs.directory import RunDirectory
from pipeline.runs.leftovers import REPORT
from pipeline.runs.run import Run
from pipeline.runs.timings import add_timings
from pipeline.runtime import memory, progress
from pipeline.runtime.shown_text import shown_line
from pipeline.storage.lock import Lock

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    began = time.monotonic()
    command = read(arguments, parser("jobs.train", __doc__ or ""))
    runner_options = beam_options(command.beam, command.options.thread_count)
    if runner_options.view_as(StandardOptions).runner == LOCAL_RUNNER:  # elsewhere, workers have the GPU
        gpu_for(command.options.device)
    source = find_source(command)
    if runner_options.view_as(TestOptions).dry_run:
        summary.print_plan(command, source, runner_options.view_as(StandardOptions).runner)
        return 0
    graph = new_graph(runner_options)
    with holding(command.output) as lock:
        run = open_output(lock, command.output, source.identity, command.overwrite)
        for note in source.notes(run):
            progress.say(note)
        context = source.context(run, lock.token, command.beam)
        build(graph, source.files, context, _provenance(run, source.items))
        trained = {ref.step for ref in checkpoints(run.records, run.keys[CHECKPOINTS])}
        if not trained:
            run.storage.delete(REPORT)  # on a model that has been replaced
        if not runners.run(graph, lock):
            summary.print_left(run)
            return 0
        seconds = time.monotonic() - began
        if timings := progress.timeline(began):  # none where the work was done elsewhere
            add_timings(context.commits(CHECKPOINTS), timings)
        progress.close_all()
        made = Run(command.output, run)
        page = _report(made, trained, lock) if command.report else ""
        lock.renew()  # a command that has lost it tells no digest
        summary.print_result(made, seconds, page)
    return 0


def _report(made: Run, trained: Collection[int], lock: Lock) -> str:
    """Writes the report and returns its uri; "" and a note where that fails: the model is there, whatever happens.

    A report on a model that had been `trained` already (to this step) stays: it may hold evaluations.
    """
    memory.give_back()
    try:
        ref, storage = made.checkpoint(), made.directory.storage
        if ref.step not in trained or storage.info(REPORT) is None:
            page = report([(made, ref)])
            lock.renew()
            storage.put(REPORT, page)
        return storage.uri(REPORT)
    except OutputInUseError:
        raise
    except Exception as error:
        _log.warning("the report is left out (%s): python -m jobs.report --run=%s", shown_line(error), made.uri)
        return ""


def _provenance(run: RunDirectory, items: str) -> dict[str, Any]:
    """For the checkpoints' metadata: how the model was made."""
    identity = run.identity
    return {
        "format_version": identity["format_version"],
        "model": identity["options"]["model"],
        "tokenizer": identity["tokenizer"],
        "items": items,
        "versions": identity["versions"],
        "inputs": len(identity["inputs"]),
        "input_bytes": sum(file["size"] for file in identity["inputs"]),
    }


if __name__ == "__main__":
    sys.exit(run_command("jobs.train", main))
