"""Preprocess a corpus: text in, vocabulary, tokens and perhaps batches in Parquet out.

    beam2vec preprocess --input='texts/*' --output=runs/corpus
    beam2vec train --corpus=runs/corpus --output=runs/first

Counts words, builds the vocabulary and the unigram distribution, and encodes the tokens, for
any number of models. With --batches=stored, the training rows of --epochs epochs are written
too, for a trainer of your own, or to be read in place of made while training.
"""

from __future__ import annotations

from jobs.runners import job_environment  # noqa: F401  before NumPy and Arrow are loaded

# isort: split
from collections.abc import Sequence

from jobs.cli import summary
from jobs.cli.entry import run_process
from jobs.cli.parser import parser, read
from jobs.runners.signals import stopping_on_signals
from jobs.training_job import PREPROCESSING, Job, run_job


def main(arguments: Sequence[str]) -> int:
    job = Job.of(read(arguments, parser("beam2vec preprocess", __doc__ or "", PREPROCESSING)), trains=False)
    if job.is_dry:
        summary.tell_plan(job.request, job.source, job.runner, PREPROCESSING)
        return 0
    json_file = summary.result_file_of(job.request)
    summary.tell(run_job(job, stopping_on_signals), json_file)
    return 0


if __name__ == "__main__":
    run_process("beam2vec preprocess", main)
