"""One trainer on more threads: how much faster, with the same bytes.

    python -m benchmarks.scaling [--input=corpus.txt] [--threads=1,2]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.common import format_table, prepare, write_report
from benchmarks.timing import corpus_text, in_turns, parser
from pipeline.model_digest import model_digest
from pipeline.options import MODELS, Options


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser("scaling", __doc__, 5_000_000)
    made.add_argument("--threads", default="1,2")
    made.add_argument("--model", choices=MODELS, default="skipgram")
    made.add_argument("--batch_size", type=int, default=Options().batch_size)
    chosen = made.parse_args(arguments)
    digests: dict[str, str] = {}
    with corpus_text(chosen) as text:
        options = Options.checked({"model": chosen.model, "epochs": 1, "batch_size": chosen.batch_size})
        corpus = prepare(text, options, "scaling")

        def contender(threads: str):
            asked = Options.checked({**options.of_kind("model"), "threads": threads})

            def train() -> None:
                digests[threads] = model_digest(corpus.train(asked))

            return train

        timings = in_turns({threads: contender(threads) for threads in chosen.threads.split(",")}, chosen.repetitions)
    first = next(iter(timings.values())).median("wall")
    rows = [
        {
            "threads": threads,
            "wall s": timing.shown("wall"),
            "times faster": f"{first / timing.median('wall'):.2f}",
            "digest": digests[threads][:16],
        }
        for threads, timing in timings.items()
    ]
    print(format_table(rows))
    write_report(chosen.json, vars(chosen), rows)
    return int(len(set(digests.values())) > 1)


if __name__ == "__main__":
    sys.exit(main())
