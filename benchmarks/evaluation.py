"""Time and peak memory of beam2vec evaluate on a made checkpoint of many words: what the command itself needs.

python -m benchmarks.evaluation [--words=1000000] [--dims=300]
"""

from __future__ import annotations

import pathlib
import random
import sys
import tempfile
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline.corpus.files import InputFile
from pipeline.model.checkpoints import STAGE, write_checkpoint
from pipeline.model.model import Model
from pipeline.options import Options
from pipeline.runs.directory import make_identity, open_or_create
from pipeline.storage.commits import Commits
from tools.measuring.reports import format_table, report_parser, write_report
from tools.measuring.timing import run_process

ASKED_WORDS = 30_000
"""The most frequent words, among which questions are asked."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = report_parser("benchmarks.evaluation", __doc__)
    parser.add_argument("--words", type=int, default=1_000_000)
    parser.add_argument("--dims", type=int, default=300)
    parser.add_argument("--questions", type=int, default=20_000)
    chosen = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        # In a process of its own: a child's peak begins with the memory of the process that started it.
        making = f"make_run({str(folder / 'run')!r}, {chosen.words}, {chosen.dims})"
        run_process([sys.executable, "-c", f"from benchmarks.evaluation import make_run; {making}"])
        make_files(folder, min(chosen.words, ASKED_WORDS), chosen.questions)
        for what in (
            ["--neighbors=w5,w77"],
            [f"--pairs={folder / 'pairs.txt'}"],
            [f"--analogies={folder / 'analogies.txt'}", f"--most_frequent={ASKED_WORDS}"],
        ):
            done = run_process([sys.executable, "-m", "jobs.evaluate", f"--run={folder / 'run'}", *what])
            asked = what[0].partition("=")[0]
            rows.append({"asked": asked, "seconds": f"{done.wall:.1f}", "peak MB": f"{done.peak_mb:.0f}"})
    print(format_table(rows))
    write_report(chosen.json, vars(chosen), rows)
    return 0


def make_run(output: str, words: int, dims: int) -> None:
    """A run with one checkpoint of random vectors, and nothing else."""
    identity = make_identity(Options(dims=dims), [InputFile("/made", 1, "1")], {})
    run = open_or_create(output, identity)
    vectors = np.random.default_rng(0).standard_normal((words, dims), dtype=np.float32)
    model = Model(pa.array([f"w{i}" for i in range(words)]), np.arange(words, 0, -1), vectors, vectors[::-1])
    write_checkpoint(Commits(run.records, STAGE, run.keys[STAGE]), 1, model, {})


def make_files(folder: pathlib.Path, words: int, questions: int) -> None:
    """pairs.txt and analogies.txt about random words of the run."""
    draw = random.Random(1)
    lines = [" ".join(f"w{draw.randrange(words)}" for _ in range(4)) for _ in range(questions)]
    (folder / "analogies.txt").write_text("\n".join(lines) + "\n")
    pairs = [f"w{draw.randrange(words)}\tw{draw.randrange(words)}\t{draw.random()}" for _ in range(2000)]
    (folder / "pairs.txt").write_text("\n".join(pairs) + "\n")


if __name__ == "__main__":
    sys.exit(main())
