"""Peak memory of the whole job: beside gensim's, and of a corpus ten times as long with the same words.

python -m benchmarks.memory [--input=corpus.txt] [--words=2000000]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence

from benchmarks.end_to_end import PEER
from pipeline.runtime.cpus import available_cpus
from tools.measuring.reports import format_table, write_report
from tools.measuring.sample_text import corpus_text, text_parser
from tools.measuring.timing import ours, run_process


def main(arguments: Sequence[str] | None = None) -> int:
    parser = text_parser("benchmarks.memory", __doc__, 2_000_000, peers=True)
    parser.add_argument("--times", type=int, default=10, help="how often the longer corpus repeats the text")
    chosen = parser.parse_args(arguments)
    rows = []
    with corpus_text(chosen) as text, tempfile.TemporaryDirectory() as folder:
        long = f"{folder}/long.txt"
        with open(text, "rb") as source, open(long, "wb") as target:
            for _ in range(chosen.times):
                source.seek(0)
                while block := source.read(1 << 24):
                    target.write(block)
        for name, path, count in (("text", text, 5), (f"text x {chosen.times}", long, 5 * chosen.times)):
            with tempfile.TemporaryDirectory() as run:
                files = [f"--input={path}", f"--output={run}/run"]
                done = run_process(ours([*files, "--epochs=1", f"--min_count={count}"]))
            rows.append({"trainer": "ours", "corpus": name, "peak MB": f"{done.peak_mb:.0f}"})
        if chosen.peers:
            done = run_process([sys.executable, "-c", PEER, text, folder, "1", str(available_cpus()), "0.025"])
            rows.append({"trainer": "gensim", "corpus": "text", "peak MB": f"{done.peak_mb:.0f}"})
    print(format_table(rows))
    write_report(chosen.json, vars(chosen), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
