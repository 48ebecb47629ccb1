"""Training speed, batch generation included, beside gensim's: raw words a CPU second on one thread.

    python -m benchmarks.trainer [--input=corpus.txt] [--model=cbow] [--dims=300 --negatives=15 --window=10]

Both have counted, built their vocabulary and drawn their first vectors before; both read
the text (gensim) or the tokens (ours) again in each run, and train an epoch. Same pairs,
same sampling, same settings. "With checkpoint" also draws the first vectors, keeps
metrics, and writes a checkpoint with digests, none of which gensim does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from pipeline.options import MODELS, Options
from tools.measuring.prepared_corpus import Session, prepare
from tools.measuring.reports import format_table, write_report
from tools.measuring.sample_text import corpus_text, text_parser
from tools.measuring.timing import in_turns


def main(arguments: Sequence[str] | None = None) -> int:
    parser = text_parser("benchmarks.trainer", __doc__, 3_000_000, repetitions=True, peers=True)
    parser.add_argument("--model", choices=MODELS, default="skipgram")
    for name in ("dims", "window", "negatives", "batch_size", "min_count"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Options(), name))
    parser.add_argument("--subsample", type=float, default=1e-4)
    chosen = parser.parse_args(arguments)
    same = ("model", "dims", "window", "negatives", "batch_size", "min_count", "subsample")
    options = Options.checked({name: getattr(chosen, name) for name in same} | {"epochs": 1, "threads": 1})
    with corpus_text(chosen) as text:
        corpus = prepare(text, options, "trainer")
        with open(text, "rb") as file:
            words = sum(len(line.split()) for line in file)
        session = Session(corpus, options)
        contenders: dict[str, Callable[[], object]] = {"ours": session.train}
        contenders["with checkpoint"] = lambda: corpus.fit(options)
        if chosen.peers:
            contenders["gensim"] = _gensim(text, options)
        timings = in_turns(contenders, chosen.repetitions)
    speed = {name: words / timing.median("cpu") for name, timing in timings.items()}
    rows = [
        {
            "trainer": name,
            "words / CPU s": f"{speed[name]:,.0f}",
            "CPU s": timing.shown("cpu"),
            "times gensim": f"{speed[name] / speed['gensim']:.2f}" if "gensim" in speed else "",
        }
        for name, timing in timings.items()
    ]
    print(format_table(rows))
    write_report(chosen.json, vars(chosen), [{"words": words, **row} for row in rows])
    return 0


def _gensim(text: str, options: Options) -> Callable[[], None]:
    """A function that trains one epoch; its fastest way: the file read by compiled code."""
    from gensim.models.word2vec import Word2Vec

    rate = options.learning_rate
    model = Word2Vec(
        vector_size=options.dims,
        window=options.window,
        negative=options.negatives,
        sample=options.subsample,
        min_count=options.min_count,
        workers=1,
        sg=int(options.model == "skipgram"),
        alpha=rate,
        min_alpha=rate * 1e-4,
        seed=1,
    )
    model.build_vocab(corpus_file=text)

    def train() -> None:
        model.train(corpus_file=text, total_examples=model.corpus_count, total_words=model.corpus_total_words, epochs=1)

    return train


if __name__ == "__main__":
    sys.exit(main())
