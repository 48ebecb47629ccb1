"""How good the vectors are beside gensim's, on word pairs and analogies, with the same settings.

    python -m benchmarks.quality --input=corpus.txt --pairs=wordsim353.tsv --analogies=questions-words.txt

Where an option takes several values (commas between them), every combination is
trained; gensim once for each model, number of epochs, learning rate and seed.
Results of seeds are shown as their mean and half the distance between the extremes.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.analysis.evaluation import Words, evaluate_analogies, evaluate_pairs
from pipeline.analysis.judgements import Analogies, WordPairs, read_analogies, read_pairs
from pipeline.analysis.precision import PRECISIONS, rounded
from pipeline.batches.schedule import FINAL_SHARE
from pipeline.errors import PipelineError
from pipeline.model.model import Model
from pipeline.model.vectors import SIDES, side_of
from pipeline.options import MODELS, Options
from tools.measuring.prepared_corpus import Corpus, prepare
from tools.measuring.reports import format_table, report_parser, spread, write_report
from tools.measuring.sample_text import write_plain_text

Result = dict[str, Any]
SETTING = (
    "model",
    "epochs",
    "learning_rate",
    "trainer",
    "batch_size",
    "damping",
    "replicas",
    "rounds",
    "vectors",
    "precision",
)


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    judged = {Path(uri).stem: read_pairs(uri) for uri in chosen.pairs}
    analogies = {Path(uri).stem: read_analogies(uri) for uri in chosen.analogies}
    with tempfile.TemporaryDirectory() as folder:
        text = str(Path(folder) / "corpus.txt")
        words = write_plain_text(chosen.input, text, chosen.words, not chosen.keep_case)
        corpus = prepare(text, _options(chosen), "quality")
        print(f"{words:,} words, {len(corpus.vocabulary):,} in the vocabulary", flush=True)
        results = []
        for setting, seconds, model in _models(chosen, text, corpus):
            for side, precision in itertools.product(chosen.vectors, chosen.precision):
                vectors = rounded(side_of(model, side), precision)
                scores = _scores(model.words, vectors, judged, analogies, chosen.most_frequent)
                results.append(setting | {"vectors": side, "precision": precision} | seconds | scores)
                print(" ".join(f"{name}={value}" for name, value in results[-1].items()), file=sys.stderr, flush=True)
    print(format_table(list(_rows(results))))
    write_report(chosen.json, vars(chosen) | {"corpus_words": words}, results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = report_parser("benchmarks.quality", __doc__)
    add = parser.add_argument
    add("--input", required=True, help="a text file, plain or gzip")
    add("--pairs", nargs="+", default=[], help="files of word pairs and their similarity")
    add("--analogies", nargs="+", default=[], help="files like questions-words.txt")
    add("--words", type=int, help="take only so many words of the text")
    add("--keep_case", action="store_true", help="do not lower-case the text")
    add("--most_frequent", type=int, default=30_000, help="analogies: words that take part (default: 30000)")
    add(
        "--vectors",
        type=_several(str, tuple(SIDES)),
        default=["input"],
        help="which of a word's two vectors are judged",
    )
    add("--precision", type=_several(str, PRECISIONS), default=["float32"], help="what the vectors are rounded to")
    add("--models", type=_several(str, MODELS), default=list(MODELS))
    add("--epochs", type=_several(int), default=[1])
    add("--learning_rate", type=_several(float), default=[Options().learning_rate])
    add("--batch_size", type=_several(int), default=[Options().batch_size])
    add("--damping", type=_several(float), default=[Options().damping])
    add("--replicas", type=_several(int), default=[1], help="1 is one trainer, whatever --rounds says")
    add("--rounds", type=_several(int), default=[1])
    add("--seeds", type=_several(int), default=[1])
    add("--dims", type=int, default=100)
    add("--window", type=int, default=5)
    add("--negatives", type=int, default=5)
    add("--subsample", type=float, default=1e-3)
    add("--min_count", type=int, default=5)
    add("--threads", type=int, default=1, help="ours; gensim has one worker, so that it repeats itself")
    add("--peers", type=_several(str, ("gensim",)), default=["gensim"], help="gensim, or nothing")
    return parser


def _several(kind: type, choices: Sequence[str] = ()) -> Any:
    def parse(text: str) -> list[Any]:
        values = [kind(part) for part in text.split(",") if part]
        for value in values:
            if choices and value not in choices:
                raise argparse.ArgumentTypeError(f"{value}: allowed are {', '.join(choices)}")
        return values

    return parse


def _options(chosen: argparse.Namespace, **more: Any) -> Options:
    same = ("dims", "window", "negatives", "subsample", "min_count", "threads")
    return Options.checked({name: getattr(chosen, name) for name in same} | more)


def _models(chosen: argparse.Namespace, text: str, corpus: Corpus) -> Iterator[tuple[Result, Result, Model]]:
    """(setting, CPU seconds, model) of every model, as soon as it is trained."""
    for model, epochs in itertools.product(chosen.models, chosen.epochs):
        for rate, seed in itertools.product(chosen.learning_rate, chosen.seeds):
            common = {"model": model, "epochs": epochs, "learning_rate": rate, "seed": seed}
            for peer in chosen.peers:
                began = time.process_time()
                trained = _gensim(chosen, text, common)
                yield common | {"trainer": peer}, _seconds(began), trained
            several = [(s, r) for s, r in itertools.product(chosen.replicas, chosen.rounds) if s > 1]
            trainers = [(1, 1)] * (1 in chosen.replicas) + several
            for batch_size, damping, (replicas, rounds) in itertools.product(
                chosen.batch_size, chosen.damping, trainers
            ):
                own = common | {"batch_size": batch_size, "damping": damping, "replicas": replicas, "rounds": rounds}
                began = time.process_time()
                try:
                    trained = corpus.train(_options(chosen, **own))
                except PipelineError as error:
                    print(f"{own}: {error}", file=sys.stderr)
                    continue
                yield own | {"trainer": "ours"}, _seconds(began), trained


def _gensim(chosen: argparse.Namespace, text: str, setting: Result) -> Model:
    from gensim.models.word2vec import LineSentence, Word2Vec

    model = Word2Vec(
        LineSentence(text, max_sentence_length=Options().max_sentence),
        vector_size=chosen.dims,
        window=chosen.window,
        negative=chosen.negatives,
        sample=chosen.subsample,
        min_count=chosen.min_count,
        workers=1,
        sg=int(setting["model"] == "skipgram"),
        epochs=setting["epochs"],
        alpha=setting["learning_rate"],
        min_alpha=setting["learning_rate"] * FINAL_SHARE,
        seed=setting["seed"],
    )
    words = pa.array(model.wv.index_to_key, pa.string())
    counts = np.array([model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key])
    return Model(words, counts, model.wv.vectors, model.syn1neg)


def _seconds(began: float) -> Result:
    return {"cpu_seconds": round(time.process_time() - began, 2)}


def _scores(
    words: Words, vectors: np.ndarray, judged: dict[str, WordPairs], analogies: dict[str, Analogies], most_frequent: int
) -> Result:
    pairs = {name: evaluate_pairs(words, vectors, pairs).spearman for name, pairs in judged.items()}
    answers = {
        name: evaluate_analogies(words, vectors, questions, most_frequent).total.accuracy
        for name, questions in analogies.items()
    }
    return {"scores": {name: round(score, 4) for name, score in (pairs | answers).items()}}


def _rows(results: Sequence[Result]) -> Iterator[dict[str, str]]:
    """One row for all seeds of a setting."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(result.get(name, "") for name in SETTING), []).append(result)
    for setting, seeds in groups.items():
        row = dict(zip(SETTING, map(str, setting)))
        for name in seeds[0]["scores"]:
            row[name] = spread([result["scores"][name] for result in seeds])
        yield row | {"CPU seconds": spread([result["cpu_seconds"] for result in seeds], 1)}


if __name__ == "__main__":
    sys.exit(main())
