"""Batch generation on one thread: subsampling, windows, negatives, into Arrow. Rows a CPU second.

python -m benchmarks.batches [--input=corpus.txt] [--negative_policy=distinct]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pipeline.batches.rows import generate_rows, piece_bounds
from pipeline.batches.sampling import Sampling, load_tables
from pipeline.batches.tokens import read_tokens
from pipeline.options import NEGATIVE_POLICIES, Options
from tools.measuring.prepared_corpus import prepare
from tools.measuring.reports import format_table, write_report
from tools.measuring.sample_text import corpus_text, text_parser
from tools.measuring.timing import in_turns


def main(arguments: Sequence[str] | None = None) -> int:
    parser = text_parser("benchmarks.batches", __doc__, 3_000_000, repetitions=True)
    parser.add_argument("--negative_policy", choices=NEGATIVE_POLICIES, default="exclude_target")
    for name in ("window", "negatives"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Options(), name))
    parser.add_argument("--subsample", type=float, default=Options().subsample)
    chosen = parser.parse_args(arguments)
    options = Options.checked(
        {name: getattr(chosen, name) for name in ("negative_policy", "window", "negatives", "subsample")}
    )
    with corpus_text(chosen) as text:
        corpus = prepare(text, options, "batches")
    shards = [(shard, *read_tokens(corpus.records.read(shard.tokens))) for shard in corpus.shards]
    tables = load_tables(corpus.records, corpus.shards[0].unigram)
    made_rows = 0

    def generate() -> None:
        nonlocal made_rows
        made_rows = 0
        for shard, tokens, sentences in shards:
            for begin, end in piece_bounds(sentences, options.window, options.negatives):
                piece = sentences[begin : end + 1]
                first = shard.first_position + int(piece[0])
                made_rows += generate_rows(tokens, piece, first, tables, Sampling.of(options), 0).num_rows

    timing = in_turns({"ours": generate}, chosen.repetitions)["ours"]
    row = {
        "rows / CPU s": f"{made_rows / timing.median('cpu'):,.0f}",
        "positions / CPU s": f"{corpus.tokens / timing.median('cpu'):,.0f}",
        "CPU s": timing.shown("cpu"),
    }
    print(format_table([row]))
    write_report(chosen.json, vars(chosen), [row])
    return 0


if __name__ == "__main__":
    sys.exit(main())
