"""Nearest words from an index of usearch, and how many of the true ones it finds.

    python -m examples.usearch_index runs/topics topics.usearch
    python -m examples.usearch_index runs/topics topics.usearch class string float

The first call builds the index (HNSW, over vectors at length 1) and prints its recall: the share of the ten truly
nearest words that are among the ten it finds. The second asks the file, where nothing of beam2vec would be needed.
Needs usearch: pip install usearch
"""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np

if sys.argv[1:2] in (["--help"], ["-h"]):
    sys.exit(print(__doc__))
try:
    from usearch.index import Index
except ImportError:
    sys.exit("this example needs usearch: pip install usearch")

from beam2vec import Run

NEAREST = 10
QUERIES = 1000
"""Frequent words that recall is measured on."""


def build(run: Run, path: str) -> None:
    """Writes the index, and the words of its rows beside it."""
    vectors = _unit(run.vectors())
    index = Index(ndim=vectors.shape[1], metric="cos", dtype="f16")
    index.add(np.arange(len(vectors)), vectors)
    index.save(path)
    pathlib.Path(f"{path}.words.json").write_text(json.dumps(run.words(), ensure_ascii=False), encoding="utf-8")
    print(f"{len(vectors):,} words of {run.uri}, recall@{NEAREST} {recall(index, vectors):.3f}")


def recall(index: Index, vectors: np.ndarray) -> float:
    """The mean share of the truly nearest rows that the index finds, of the first rows."""
    queries = vectors[:QUERIES]
    exact = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, 1 : NEAREST + 1]
    found = index.search(queries, NEAREST + 1).keys
    return float(np.mean([len(set(true) & set(near)) / len(true) for true, near in zip(exact, found)]))


def ask(path: str, words: list[str]) -> None:
    """Prints the nearest words of each."""
    index = Index.restore(path)
    rows = json.loads(pathlib.Path(f"{path}.words.json").read_text(encoding="utf-8"))
    for word in words:
        if word not in rows:
            print(f"{word}: not in the vocabulary")
            continue
        near = index.search(index.get(rows.index(word)), NEAREST + 1)
        shown = [f"{rows[key]} {1 - distance:.2f}" for key, distance in zip(near.keys, near.distances)]
        print(f"{word}: {', '.join(shown[1:])}")


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def main(arguments: list[str]) -> None:
    if len(arguments) < 2:
        sys.exit("usage: python -m examples.usearch_index RUN FILE [WORD...]")
    run, path, *words = arguments
    if words:
        ask(path, words)
    else:
        build(Run(run), path)


if __name__ == "__main__":
    main(sys.argv[1:])
