r"""Writes shopping baskets with a planted structure: items of one kind are bought together.

    python -m examples.baskets baskets.parquet
    beam2vec train --input=baskets.parquet --input_format=parquet --field=items --window=all \
        --output=runs/baskets --dims=16 --batch_size=256 --learning_rate=0.05 --subsample=0
    python -m examples.baskets baskets.parquet runs/baskets

The second call shows each of a few items with its nearest: all should be of its own
kind. Items are integers, in an order that means nothing: hence --window=all.
"""

from __future__ import annotations

import random
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam2vec import Run
from pipeline.model.neighbors import nearest

KINDS = ("bread", "fish", "fruit", "tools", "toys", "wine")
ITEMS = 15
"""Items of a kind: number 1000 * kind + item."""


def baskets(count: int = 6000, seed: int = 1) -> list[list[int]]:
    """Each basket holds items of one kind, or of two, and now and then anything."""
    draw = random.Random(seed)
    sold = []
    for _ in range(count):
        kinds = draw.sample(range(len(KINDS)), 1 if draw.random() < 0.7 else 2)
        basket = {1000 * draw.choice(kinds) + draw.randrange(ITEMS) for _ in range(draw.randrange(2, 9))}
        if draw.random() < 0.1:
            basket.add(1000 * draw.randrange(len(KINDS)) + draw.randrange(ITEMS))
        items = sorted(basket)
        draw.shuffle(items)
        sold.append(items)
    return sold


def kind_of(item: int) -> str:
    return KINDS[item // 1000]


def write(path: str) -> None:
    rows = baskets()
    table = pa.table({"customer": np.arange(len(rows)), "items": pa.array(rows, pa.list_(pa.int32()))})
    pq.write_table(table, path)


def show(run: str) -> None:
    """Nearest items of the first of each kind."""
    finished_run = Run.open(run)
    items = [int(word) for word in finished_run.words()]
    queries = [items.index(1000 * kind) for kind in range(len(KINDS))]
    ids, _ = nearest(finished_run.vectors(), np.array(queries), 5)
    for query, near in zip(queries, ids):
        print(f"{items[query]} {kind_of(items[query])}: " + ", ".join(f"{items[i]} {kind_of(items[i])}" for i in near))


def main(arguments: list[str]) -> None:
    if len(arguments) not in (1, 2):
        sys.exit("usage: python -m examples.baskets FILE.parquet [RUN]")
    if len(arguments) == 1:
        write(arguments[0])
    else:
        show(arguments[1])


if __name__ == "__main__":
    if sys.argv[1:2] in (["--help"], ["-h"]):
        sys.exit(print(__doc__))
    main(sys.argv[1:])
