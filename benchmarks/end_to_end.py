"""The whole job, text to checkpoint, beside gensim reading the same file with as many workers. Wall time and memory.

    python -m benchmarks.end_to_end [--input=corpus.txt] [--epochs=5] [--threads=2]

"Kernels" are the functions of the job's stages called one after the other, without Beam, records or locks, and with
threads for training alone: what the job's CPU time is held against.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence

from pipeline.options import Options
from pipeline.runtime.cpus import available_cpus
from tools.measuring.reports import format_table, write_report
from tools.measuring.sample_text import corpus_text, text_parser
from tools.measuring.timing import Process, ours, run_process

PEER = """
import sys
from gensim.models import Word2Vec
text, folder, epochs, threads, rate = sys.argv[1:]
model = Word2Vec(corpus_file=text, vector_size=100, window=5, negative=5, sample=1e-3, min_count=5, sg=1, seed=1,
                 workers=int(threads), epochs=int(epochs), alpha=float(rate), min_alpha=float(rate) * 1e-4)
model.save(folder + "/model")
"""

KERNELS = """
import sys
from tools.measuring.prepared_corpus import prepare
from pipeline.options import Options
text, epochs, threads = sys.argv[1:]
options = Options.checked({"epochs": int(epochs), "threads": threads})
prepare(text, options, "end_to_end").fit(options)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = text_parser("benchmarks.end_to_end", __doc__, 5_000_000, repetitions=True, peers=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cpus())
    chosen = parser.parse_args(arguments)
    with corpus_text(chosen) as text:
        contenders = {
            "ours": lambda folder: _ours(text, folder, chosen.epochs, chosen.threads),
            "kernels": lambda folder: _kernels(text, chosen.epochs, chosen.threads),
        }
        if chosen.peers:
            contenders["gensim"] = lambda folder: _gensim(text, folder, chosen.epochs, chosen.threads)
        done: dict[str, list[Process]] = {name: [] for name in contenders}
        for _ in range(chosen.repetitions):
            for name, run in contenders.items():
                with tempfile.TemporaryDirectory() as folder:
                    done[name].append(run(folder))
    wall = {name: statistics.median(process.wall for process in runs) for name, runs in done.items()}
    cpu = {name: statistics.median(process.cpu for process in runs) for name, runs in done.items()}
    rows = [
        {
            "whole job": name,
            "wall s": f"{wall[name]:.1f} ({min(p.wall for p in runs):.1f}-{max(p.wall for p in runs):.1f})",
            "CPU s": f"{cpu[name]:.1f}",
            "of kernels": f"{cpu[name] / cpu['kernels']:.2f}",
            "peak MB": f"{max(p.peak_mb for p in runs):.0f}",
            "times gensim": f"{wall['gensim'] / wall[name]:.2f}" if "gensim" in wall else "",
        }
        for name, runs in done.items()
    ]
    print(format_table(rows))
    write_report(chosen.json, vars(chosen), rows)
    return 0


def _ours(text: str, folder: str, epochs: int, threads: int) -> Process:
    files = [f"--input={text}", f"--output={folder}/run"]
    return run_process(ours([*files, f"--epochs={epochs}", f"--threads={threads}"]))


def _kernels(text: str, epochs: int, threads: int) -> Process:
    return run_process([sys.executable, "-c", KERNELS, text, str(epochs), str(threads)])


def _gensim(text: str, folder: str, epochs: int, threads: int) -> Process:
    rate = Options().learning_rate
    return run_process([sys.executable, "-c", PEER, text, folder, str(epochs), str(threads), str(rate)])


if __name__ == "__main__":
    sys.exit(main())
