"""How good vectors are that follow their text by --update, what they cost, and what others lose.

    python -m benchmarks.generations --input=corpus.txt --pairs=wordsim353.tsv --analogies=questions-words.txt

The text is cut into slices. The first is trained cold, and each other one updates the run before it. Beside it are
trained: cold on all text; on each slice alone from the vectors of the run before (--start_from), which is what is
usually done; and gensim with build_vocab(update=True). All are asked for the same words: those of all text.

cost is what the last generation trains on, in words over all epochs, over what the cold run trains on.
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

import beam2vec
from pipeline.analysis.evaluation import Words, evaluate_analogies, evaluate_pairs
from pipeline.analysis.judgements import read_analogies, read_pairs
from pipeline.batches.replay import ReplayRef
from pipeline.runs.run import Run
from tools.measuring.reports import format_table, report_parser, spread, write_report
from tools.measuring.sample_text import write_plain_text

Result = dict[str, Any]
KINDS = ("cold", "update", "slice alone", "gensim")
_TOPICS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    judges = _Judges(chosen)
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        slices = _slices(chosen, Path(folder))
        for seed, kind in itertools.product(chosen.seeds, chosen.kinds):
            chain = {"cold": _cold, "update": _updates, "slice alone": _slices_alone, "gensim": _gensim}[kind]
            for result in chain(chosen, Path(folder), slices, seed, judges):
                results.append({"kind": kind, "seed": seed} | result)
                print(results[-1], file=sys.stderr, flush=True)
    print(format_table(list(_rows(results, chosen.curve))))
    write_report(chosen.json, vars(chosen), results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = report_parser("benchmarks.generations", __doc__)
    add = parser.add_argument
    add("--input", required=True, help="a text file, plain or gzip")
    add("--pairs", nargs="+", default=[], help="files of word pairs and their similarity")
    add("--analogies", nargs="+", default=[], help="files like questions-words.txt")
    add("--words", type=int, default=6_000_000, help="take only so many words of the text (default: %(default)s)")
    add("--first", type=int, help="words of the first slice (default: as many as of the others)")
    add("--slices", type=int, default=10)
    add("--by", choices=("line", "topic"), default="line", help="slices in file order, or lines of like words together")
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    add("--seeds", nargs="+", type=int, default=[1])
    add("--replay", type=float, default=1.0)
    add("--reservoir", type=float, default=1 / 3, help="words of the reservoir, as a share of all text")
    add("--retrain_every", type=int, help="each so-manieth update is followed by two epochs at .025 over all text")
    add("--curve", action="store_true", help="a row for each generation, not for the last alone")
    add("--dims", type=int, default=100)
    add("--threads", type=int, default=1)
    return parser


class _Judges:
    """The evaluation sets."""

    def __init__(self, chosen: argparse.Namespace):
        self.pairs = {Path(uri).stem: read_pairs(uri) for uri in chosen.pairs}
        self.analogies = {Path(uri).stem: read_analogies(uri) for uri in chosen.analogies}

    def scores(self, words: Words, vectors: np.ndarray) -> Result:
        scores = {name: evaluate_pairs(words, vectors, pairs).spearman for name, pairs in self.pairs.items()}
        for name, questions in self.analogies.items():
            scores[name] = evaluate_analogies(words, vectors, questions, 30_000).total.accuracy
        mean = sum(scores.values()) / max(1, len(scores))
        return {name: round(score, 4) for name, score in {**scores, "mean": mean}.items()}


def _slices(chosen: argparse.Namespace, folder: Path) -> list[Path]:
    """Files of the slices, in order."""
    text = folder / "all.txt"
    total = write_plain_text(chosen.input, str(text), chosen.words, True)
    lines = text.read_text().splitlines(keepends=True)
    if chosen.by == "topic":
        lines = [lines[i] for i in _by_topic(chosen, folder, text, lines)]
    sizes = np.cumsum([len(line.split()) for line in lines])
    first = chosen.first or total // chosen.slices
    edges = first + np.arange(chosen.slices) * (total - first) / max(1, chosen.slices - 1)
    bounds = [0, *(np.searchsorted(sizes, edges[:-1]) + 1).tolist(), len(lines)]
    files = []
    for number, (a, b) in enumerate(zip(bounds[:-1], bounds[1:])):
        files.append(folder / f"slice-{number:03d}.txt")
        files[-1].write_text("".join(lines[a:b]))
    return files


def _by_topic(chosen: argparse.Namespace, folder: Path, text: Path, lines: Sequence[str]) -> list[int]:
    """The lines ordered by the cluster of the mean of their words' vectors."""
    from sklearn.cluster import MiniBatchKMeans

    run = beam2vec.train(text, folder / "topics", dims=50, epochs=2, replay_words=0, threads=chosen.threads)
    places, vectors = {word: row for row, word in enumerate(run.words())}, run.vectors()
    means = np.zeros((len(lines), vectors.shape[1]), np.float32)
    for row, line in enumerate(lines):
        known = [places[word] for word in line.split() if word in places]
        if known:
            means[row] = vectors[known].mean(axis=0)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    labels = MiniBatchKMeans(_TOPICS, random_state=0, n_init=3).fit_predict(means)
    return np.argsort(labels, kind="stable").tolist()


def _options(chosen: argparse.Namespace, seed: int) -> Result:
    return {"dims": chosen.dims, "threads": chosen.threads, "seed": seed}


def _measured(run: Run, number: int, judges: _Judges, began: float) -> Result:
    return {
        "generation": number,
        "trained words": _trained_words(run),
        "CPU seconds": round(time.process_time() - began, 1),
        **judges.scores(run.words(), run.vectors()),
    }


def _trained_words(run: Run) -> int:
    """Positions of all epochs."""
    text, epochs = sum(shard.positions for shard in run.shards()), run.options.epochs
    record = run.records.load("replay", "replay", run.key("replay")) if run.identity.get("update") else None
    return text * epochs + (sum(ReplayRef.of(record).positions) if record else 0)


def _cold(
    chosen: argparse.Namespace, folder: Path, slices: Sequence[Path], seed: int, judges: _Judges
) -> Iterator[Result]:
    for number in range(len(slices)) if chosen.curve else [len(slices) - 1]:
        began = time.process_time()
        run = beam2vec.train(
            slices[: number + 1], folder / f"cold-{seed}-{number}", replay_words=0, **_options(chosen, seed)
        )
        yield _measured(run, number, judges, began)


def _updates(
    chosen: argparse.Namespace, folder: Path, slices: Sequence[Path], seed: int, judges: _Judges
) -> Iterator[Result]:
    kept = int(chosen.reservoir * sum(len(path.read_text().split()) for path in slices))
    run = beam2vec.train(slices[0], folder / f"chain-{seed}-0", replay_words=kept, **_options(chosen, seed))
    for number, text in enumerate(slices[1:], 1):
        began, place = time.process_time(), folder / f"chain-{seed}-{number}"
        run = beam2vec.update(run, text, place, replay=chosen.replay, threads=chosen.threads)
        words = _trained_words(run)
        if chosen.retrain_every and (number + 1) % chosen.retrain_every == 0:
            run = beam2vec.train(
                slices[: number + 1],
                folder / f"retrain-{seed}-{number}",
                start_from=run,
                epochs=2,
                learning_rate=0.025,
                replay_words=kept,
                **_options(chosen, seed),
            )
            words += _trained_words(run)
        if chosen.curve or number == len(slices) - 1:
            yield _measured(run, number, judges, began) | {"trained words": words}


def _slices_alone(
    chosen: argparse.Namespace, folder: Path, slices: Sequence[Path], seed: int, judges: _Judges
) -> Iterator[Result]:
    """Each slice from the vectors of the run before, with the vocabulary of all text from the start."""
    words = folder / "words.txt"
    if not words.exists():
        everything = beam2vec.preprocess(list(slices), folder / "words", threads=chosen.threads)
        words.write_text("\n".join(everything.vocabulary()["word"].to_pylist()))
    before: Result = {}
    for number, text in enumerate(slices):
        began = time.process_time()
        run = beam2vec.train(
            text,
            folder / f"alone-{seed}-{number}",
            vocabulary=words,
            replay_words=0,
            **before,
            **_options(chosen, seed),
        )
        before = {"start_from": run}
        if chosen.curve or number == len(slices) - 1:
            yield _measured(run, number, judges, began)


def _gensim(
    chosen: argparse.Namespace, folder: Path, slices: Sequence[Path], seed: int, judges: _Judges
) -> Iterator[Result]:
    from gensim.models.word2vec import LineSentence, Word2Vec

    same = {"vector_size": chosen.dims, "sg": 1, "negative": 5, "window": 5, "sample": 1e-3, "min_count": 5}
    model = Word2Vec(**same, workers=1, seed=seed)
    for number, text in enumerate(slices):
        began, sentences = time.process_time(), LineSentence(str(text), max_sentence_length=1000)
        model.build_vocab(sentences, update=number > 0)
        model.train(sentences, total_examples=model.corpus_count, epochs=5, start_alpha=0.05, end_alpha=5e-6)
        if chosen.curve or number == len(slices) - 1:
            yield {
                "generation": number,
                "trained words": int(model.corpus_total_words) * 5,
                "CPU seconds": round(time.process_time() - began, 1),
                **judges.scores(model.wv.index_to_key, model.wv.vectors),
            }


def _rows(results: Sequence[Result], curve: bool) -> Iterator[dict[str, str]]:
    """One row for all seeds of a kind, and with a curve of a generation."""
    last = max(result["generation"] for result in results)
    cold = {r["generation"]: r["trained words"] for r in results if r["kind"] == "cold"}
    for kind in KINDS:
        for number in range(last + 1) if curve else [last]:
            seeds = [r for r in results if (r["kind"], r["generation"]) == (kind, number)]
            if not seeds:
                continue
            share = f"{seeds[0]['trained words'] / cold[number]:.3f}" if number in cold else ""
            row = {"kind": kind, "generation": str(number + 1), "cost": share}
            for name in seeds[0]:
                if name not in ("kind", "seed", "generation", "trained words"):
                    row[name] = spread([result[name] for result in seeds], 1 if name == "CPU seconds" else 3)
            yield row


if __name__ == "__main__":
    sys.exit(main())
