r"""Writes sessions of visitors of a shop, in which order means something, and shows what is visited next to what.

    python -m examples.sessions sessions.jsonl
    beam2vec train --input=sessions.jsonl --input_format=jsonl --field=pages --window=2 --subsample=0 \
        --output=runs/sessions --dims=16 --epochs=10 --batch_size=256 --learning_rate=0.05
    python -m examples.sessions sessions.jsonl runs/sessions

The planted structure: the pages of a department are a walk, and visitors go on to the next page or the one before. So
the nearest of a page should be its neighbours on the walk. A session is a sentence, hence a small --window.
"""

from __future__ import annotations

import json
import pathlib
import random
import sys

from beam2vec import Run

DEPARTMENTS = ("books", "garden", "kitchen", "music")
PAGES = 20
"""Pages of a department: books/0 to books/19."""


def sessions(count: int = 3000, seed: int = 1) -> list[list[str]]:
    """Each goes through one department: mostly a page on, sometimes one back, now and then anywhere in the shop."""
    draw = random.Random(seed)
    visited = []
    for _ in range(count):
        department, page = draw.choice(DEPARTMENTS), draw.randrange(PAGES)
        pages = []
        for _ in range(draw.randrange(4, 12)):
            pages.append(f"{department}/{page}")
            page = (page + draw.choice((1, 1, 1, -1))) % PAGES
            if draw.random() < 0.02:
                department = draw.choice(DEPARTMENTS)
        visited.append(pages)
    return visited


def are_close(page: str, other: str, reach: int = 2) -> bool:
    """Whether two pages are at most `reach` apart on the walk of one department."""
    (department, number), (other_department, other_number) = page.split("/"), other.split("/")
    apart = abs(int(number) - int(other_number))
    return department == other_department and min(apart, PAGES - apart) <= reach


def write(path: str) -> None:
    rows = ({"visitor": visitor, "pages": pages} for visitor, pages in enumerate(sessions()))
    pathlib.Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def show(run: str) -> None:
    """Nearest pages of the first of each department."""
    trained = Run(run)
    for department in DEPARTMENTS:
        page = f"{department}/0"
        print(f"{page}: " + ", ".join(near for near, _ in trained.nearest(page, top=4)))


def main(arguments: list[str]) -> None:
    if len(arguments) not in (1, 2):
        sys.exit("usage: python -m examples.sessions FILE.jsonl [RUN]")
    if len(arguments) == 1:
        write(arguments[0])
    else:
        show(arguments[1])


if __name__ == "__main__":
    if sys.argv[1:2] in (["--help"], ["-h"]):
        sys.exit(print(__doc__))
    main(sys.argv[1:])
