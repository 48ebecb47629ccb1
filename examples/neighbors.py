"""Nearest words, asked from a checkpoint's Parquet files with NumPy and PyArrow alone.

    python examples/neighbors.py runs/topics/checkpoints class string float

Takes the newest checkpoint in the folder, and says which that is. Nothing of beam2vec
is imported: copy this file to wherever the vectors are used.
"""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np
import pyarrow.parquet as pq

NEIGHBORS = 6


def shown(word: str) -> str:
    """A word as a terminal can be shown it: whoever wrote the corpus may have put in what moves the cursor."""
    return "".join(c if c.isprintable() or c in "\u200c\u200d" else ascii(c)[1:-1] for c in word[:200])


def main(folder: str, queries: list[str]) -> int:
    checkpoints = sorted(pathlib.Path(folder).glob("*/step=*"), key=lambda path: int(path.name[5:]))
    if not checkpoints:
        print(f"no checkpoint in {folder}", file=sys.stderr)
        return 2
    first_part = min(checkpoints[-1].glob("*.parquet"))
    provenance = json.loads(pq.read_schema(first_part).metadata[b"beam2vec"])
    is_cbow = provenance.get("model", {}).get("model") == "cbow"
    sides = ["input", "output"] if is_cbow else ["input"]  # docs/which-vectors.md
    table = pq.read_table(checkpoints[-1], columns=["word", *sides], partitioning=None).combine_chunks()
    words = table["word"].to_pylist()
    if len(words) != provenance["words"]:
        print(
            f"{checkpoints[-1]} holds {len(words):,} of {provenance['words']:,} words: a part is missing",
            file=sys.stderr,
        )
        return 1
    print(f"step {provenance['step']:,}" + (f" of {provenance['steps']:,}" if provenance.get("steps") else ""))
    vectors = sum(table[side].chunk(0).flatten().to_numpy().reshape(len(words), -1) for side in sides)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    row = {word: i for i, word in enumerate(words)}
    for query in queries:
        if query not in row:
            print(f"{query}: not in the vocabulary")
            continue
        cosine = vectors @ vectors[row[query]]
        nearest = [i for i in np.argsort(-cosine, kind="stable") if i != row[query]][:NEIGHBORS]
        print(f"{query}: " + ", ".join(f"{shown(words[i])} {cosine[i]:.2f}" for i in nearest))
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] in (["--help"], ["-h"]):
        sys.exit(print(__doc__))
    if len(sys.argv) < 3:
        sys.exit("usage: python examples/neighbors.py FOLDER WORD...")
    sys.exit(main(sys.argv[1], sys.argv[2:]))
