"""Counting words and building the vocabulary, beside gensim's build_vocab and a plain PyArrow loop.

python -m benchmarks.vocabulary [--input=corpus.txt] [--threads=2]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.work_units import TextSource, plan_work_units
from pipeline.options import Options
from pipeline.runtime.cpus import available_cpus
from pipeline.words.counts import count_unit
from pipeline.words.merging import merge_counts
from pipeline.words.vocabulary import build_vocabulary
from tools.measuring.reports import format_table, write_report
from tools.measuring.sample_text import corpus_text, text_parser
from tools.measuring.timing import in_turns


def main(arguments: Sequence[str] | None = None) -> int:
    parser = text_parser("benchmarks.vocabulary", __doc__, 10_000_000, repetitions=True, peers=True)
    parser.add_argument("--threads", type=int, default=available_cpus())
    chosen = parser.parse_args(arguments)
    with corpus_text(chosen) as text:
        contenders = {
            f"ours, {chosen.threads} threads": lambda: _ours(text, chosen.threads),
            "ours, 1 thread": lambda: _ours(text, 1),
            "PyArrow loop": lambda: _pyarrow(text),
        }
        if chosen.peers:
            contenders["gensim"] = lambda: _gensim(text)
        timings = in_turns(contenders, chosen.repetitions)
    rows = [
        {"count + vocabulary": name, "wall s": timing.shown("wall"), "CPU s": timing.shown("cpu")}
        for name, timing in timings.items()
    ]
    print(format_table(rows))
    best = timings[f"ours, {chosen.threads} threads"]
    ratios = {"CPU, ours / PyArrow": timings["ours, 1 thread"].median("cpu") / timings["PyArrow loop"].median("cpu")}
    if "gensim" in timings:
        ratios["wall, gensim / ours"] = timings["gensim"].median("wall") / best.median("wall")
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f}")
    write_report(chosen.json, vars(chosen), [*rows, ratios])
    return 0


def _ours(text: str, threads: int) -> pa.Table:
    options, reader = Options(), open_reader(Options(), [])
    units = plan_work_units([TextSource(text, os.path.getsize(text))], options.block_bytes)
    with ThreadPoolExecutor(threads) as pool:
        counted = pool.map(lambda unit: count_unit(unit, reader).table, units)
        return build_vocabulary([merge_counts(counted)], options.min_count)


def _pyarrow(text: str, block: int = 8 << 20) -> pa.Table:
    """Blocks of lines, split and counted by Arrow, joined by a group_by: what one would write in ten lines."""
    counted, rest = [], b""
    with open(text, "rb") as file:
        while data := file.read(block):
            whole, _, rest = (rest + data).rpartition(b"\n")
            words = pc.utf8_split_whitespace(pa.array([whole.decode()])).flatten()
            counts = pc.value_counts(words)
            counted.append(pa.table({"word": counts.field("values"), "count": counts.field("counts")}))
    table = pa.concat_tables(counted).group_by("word").aggregate([("count", "sum")])
    table = table.filter(pc.greater_equal(table["count_sum"], 5))
    return table.sort_by([("count_sum", "descending"), ("word", "ascending")])


def _gensim(text: str) -> None:
    from gensim.models.word2vec import Word2Vec

    Word2Vec(min_count=5, workers=1).build_vocab(corpus_file=text)


if __name__ == "__main__":
    sys.exit(main())
