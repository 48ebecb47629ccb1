"""One trainer on more threads: how much faster, with the same bytes.

    python -m benchmarks.thread_scaling [--input=corpus.txt] [--threads=1,2] [--beside=2]

"Training" is an epoch, rows included; "with checkpoint" also draws the first vectors and writes a checkpoint.
With --beside, so many processes that do nothing but count share the machine: more threads should not be slower
than one there.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

from pipeline.options import MODELS, Options
from tools.measuring.prepared_corpus import Session, prepare
from tools.measuring.reports import format_table, write_report
from tools.measuring.sample_text import corpus_text, text_parser
from tools.measuring.timing import in_turns


def main(arguments: Sequence[str] | None = None) -> int:
    parser = text_parser("benchmarks.thread_scaling", __doc__, 5_000_000, repetitions=True)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--model", choices=MODELS, default="skipgram")
    parser.add_argument("--batch_size", type=int, default=Options().batch_size)
    parser.add_argument("--beside", type=int, default=0, help="busy processes beside the trainer")
    chosen = parser.parse_args(arguments)
    digests: dict[str, str] = {}
    with corpus_text(chosen) as text:
        options = Options.checked({"model": chosen.model, "epochs": 1, "batch_size": chosen.batch_size})
        corpus = prepare(text, options, "thread_scaling")

        def whole(asked: Options) -> None:
            digests[str(asked.threads)] = corpus.fit(asked).digest

        contenders: dict[str, Callable[[], object]] = {}
        for threads in chosen.threads.split(","):
            asked = Options.checked({**options.of_kind("model"), "threads": threads})
            contenders[threads] = Session(corpus, asked).train
            contenders[f"{threads} whole"] = functools.partial(whole, asked)
        with _busy_processes(chosen.beside):
            timings = in_turns(contenders, chosen.repetitions)
    one, *_ = digests
    rows = [
        {
            "threads": threads,
            "training s": timings[threads].shown("wall"),
            "times faster": f"{timings[one].median('wall') / timings[threads].median('wall'):.2f}",
            "with checkpoint s": timings[f"{threads} whole"].shown("wall"),
            "faster": f"{timings[f'{one} whole'].median('wall') / timings[f'{threads} whole'].median('wall'):.2f}",
            "digest": digest[:16],
        }
        for threads, digest in digests.items()
    ]
    print(format_table(rows))
    write_report(chosen.json, vars(chosen), rows)
    return int(len(set(digests.values())) > 1)


@contextlib.contextmanager
def _busy_processes(count: int) -> Iterator[None]:
    """Each would take a CPU for itself."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
