"""Train word embeddings: text in, checkpoints in Parquet out.

    beam2vec train --input=corpus.txt --output=runs/first
    beam2vec train --corpus=runs/corpus --output=runs/second

The graph, one named stage each: work units, FindPhrases (if wanted), CountWords, BuildVocabulary,
UnigramDistribution (a side input), EncodeTokens, GenerateBatches, Train. With --corpus,
the vocabulary and the tokens are those of another run (see beam2vec preprocess).
"""

from __future__ import annotations

from jobs.runners import job_environment  # noqa: F401  before NumPy and Arrow are loaded

# isort: split
from collections.abc import Sequence

from jobs.cli import summary
from jobs.cli.entry import run_process
from jobs.cli.parser import parser, read
from jobs.runners.signals import stopping_on_signals
from jobs.training_job import Job, run_job


def main(arguments: Sequence[str]) -> int:
    job = Job.of(read(arguments, parser("beam2vec train", __doc__ or "")))
    if job.is_dry:
        summary.tell_plan(job.request, job.source, job.runner)
        return 0
    json_file = summary.result_file_of(job.request)
    summary.tell(run_job(job, stopping_on_signals), json_file)
    return 0


if __name__ == "__main__":
    run_process("beam2vec train", main)
