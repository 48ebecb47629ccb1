"""How the stages of preprocessing spread over worker processes.

    python -m benchmarks.worker_scaling [--input=corpus.txt] [--workers=1,2,4] [--large_mb=1000] [--batches=stored]

One large file among small ones and one of gzip are preprocessed, and what each worker did in each stage is shown:
units, amount, CPU seconds. "Spread over" is the CPU time of all workers over that of the busiest: with a CPU for each,
the stage takes so many times less than on one, whatever else this machine does now.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jobs import preprocess
from jobs.cli.entry import run_command
from pipeline.options import BATCHES
from tools.measuring.reports import format_table, write_report
from tools.measuring.sample_text import corpus_text, text_parser
from tools.measuring.timing import run_process
from tools.scale.stage_work import FOLDER, STAGES, replace_stages

_RUN = "import sys; from benchmarks.worker_scaling import run; sys.exit(run(sys.argv[1:]))"
_SMALL = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = text_parser("benchmarks.worker_scaling", __doc__, 5_000_000)
    parser.add_argument("--workers", default="1,2,4", help="numbers of worker processes")
    parser.add_argument("--large_mb", type=int, default=200, help="of the large file")
    parser.add_argument("--small_files", type=int, default=64, help="of 1 MB each")
    parser.add_argument("--gzip_mb", type=int, default=64, help="of text in one gzip file")
    parser.add_argument("--batches", choices=BATCHES, default="stream")
    chosen = parser.parse_args(arguments)
    with corpus_text(chosen) as text:
        rows = measure(text, chosen)
    print(format_table(shown(rows)))
    write_report(chosen.json, vars(chosen), rows)
    return 0


def write_corpus(text: str, folder: Path, large_mb: int, small_files: int, gzip_mb: int) -> None:
    """One large file, small ones of 1 MB, and one of gzip: `text` over and over."""
    data = Path(text).read_bytes()
    with open(folder / "large.txt", "wb") as file:
        for part in _repeated(data, large_mb * 1_000_000):
            file.write(part)
    for n in range(small_files):
        start = n * _SMALL % max(1, len(data) - _SMALL)
        (folder / f"small-{n:03d}.txt").write_bytes(data[start : start + _SMALL])
    if gzip_mb:
        with gzip.open(folder / "packed.txt.gz", "wb", compresslevel=1) as packed:
            for part in _repeated(data, gzip_mb * 1_000_000):
                packed.write(part)


def _repeated(data: bytes, size: int) -> Iterator[bytes]:
    for left in range(size, 0, -len(data)):
        yield data[:left]


def measure(text: str, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each stage and number of workers; all numbers of a stage are of the workers' own work in it."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        write_corpus(text, corpus, chosen.large_mb, chosen.small_files, chosen.gzip_mb)
        for workers in map(int, chosen.workers.split(",")):
            notes = Path(folder) / f"notes-{workers}"
            notes.mkdir()
            began = time.monotonic()
            run_process(
                [
                    sys.executable,
                    "-c",
                    _RUN,
                    f"--input={corpus}",
                    f"--output={folder}/run-{workers}",
                    "--direct_running_mode=multi_processing",
                    f"--direct_num_workers={workers}",
                    "--threads=1",
                    f"--batches={chosen.batches}",
                    "--epochs=1",
                ],
                **{FOLDER: str(notes), "PYTHONPATH": os.getcwd()},
            )
            wall = time.monotonic() - began
            rows += _rows(notes, workers, wall)
            print(f"{workers} workers: {wall:.0f} s", file=sys.stderr)
    return rows


def run(arguments: Sequence[str]) -> int:
    """beam2vec preprocess, whose stages note what they do."""
    replace_stages()
    return run_command("beam2vec preprocess", preprocess.main, arguments)


def _rows(notes: Path, workers: int, wall: float) -> list[dict[str, Any]]:
    work: dict[str, dict[str, collections.Counter[str]]] = {stage: {} for stage in STAGES}
    for path in notes.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            note = json.loads(line)
            done = work[note["stage"]].setdefault(path.stem, collections.Counter())
            done.update({name: note[name] for name in ("units", "amount", "cpu")})
    return [
        {
            "workers": workers,
            "stage": stage,
            "unit": unit,
            "wall": wall,
            **{name: [round(one[name], 3) for one in work[stage].values()] for name in ("units", "amount", "cpu")},
        }
        for stage, unit in STAGES.items()
        if any(one["units"] for one in work[stage].values())
    ]


def shown(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The rows as a table: shares of each worker, and how far the stage is spread by them."""
    return [
        {
            "stage": row["stage"],
            "workers": str(row["workers"]),
            "units of each": " ".join(f"{units:.0f}" for units in _padded(row["units"], row["workers"])),
            "amount of each": " ".join(f"{amount:,.0f}" for amount in _padded(row["amount"], row["workers"])),
            "": row["unit"],
            "CPU s of each": " ".join(f"{cpu:.1f}" for cpu in _padded(row["cpu"], row["workers"])),
            "CPU s": f"{sum(row['cpu']):.1f}",
            "spread over": f"{sum(row['cpu']) / max(row['cpu']):.2f}",
        }
        for row in sorted(rows, key=lambda row: (list(STAGES).index(row["stage"]), row["workers"]))
    ]


def _padded(values: list[float], workers: int) -> list[float]:
    """Largest first, with a 0 for each worker that had none."""
    return sorted(values, reverse=True) + [0.0] * (workers - len(values))


if __name__ == "__main__":
    sys.exit(main())
