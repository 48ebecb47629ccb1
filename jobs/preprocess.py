"""Preprocess a corpus: text in, vocabulary, tokens and perhaps batches in Parquet out.

    python -m jobs.preprocess --input='texts/*' --output=runs/corpus
    python -m jobs.train --corpus=runs/corpus --output=runs/first

Counts words, builds the vocabulary and the unigram distribution, and encodes the tokens, for
any number of models. With --batches=stored, the training rows of --epochs epochs are written
too, for a trainer of your own, or to be read in place of made while training.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from apache_beam.options.pipeline_options import StandardOptions, TestOptions

from jobs.cli import summary
from jobs.cli.entry import holding, open_output, run_command
from jobs.cli.parser import parser, read
from jobs.cli.sources import read_input
from jobs.graph import beam_options, corpus_side, new_graph
from jobs.runners import launch as runners
from pipeline.corpus.files import match_inputs
from pipeline.runs.stage_keys import option_names
from pipeline.runtime import progress

OPTIONS = (*option_names(), "batches", "epochs", "threads", "max_bad_lines")


def main(arguments: Sequence[str]) -> int:
    began = time.monotonic()
    command = read(arguments, parser("jobs.preprocess", __doc__ or "", OPTIONS))
    runner_options = beam_options(command.beam, command.options.thread_count)
    source = read_input(command, match_inputs(command.inputs, command.output), option_names())
    if runner_options.view_as(TestOptions).dry_run:
        summary.print_plan(command, source, runner_options.view_as(StandardOptions).runner, OPTIONS)
        return 0
    graph = new_graph(runner_options)
    with holding(command.output) as lock:
        run = open_output(lock, command.output, source.identity, command.overwrite)
        context = source.context(run, lock.token, command.beam)
        corpus_side(graph, source.files, context)
        if not runners.run(graph, lock):
            summary.print_left(run)
            return 0
        timings = progress.timeline(began)
        progress.close_all()
        lock.renew()
        summary.print_corpus(run, timings, time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.exit(run_command("jobs.preprocess", main))
