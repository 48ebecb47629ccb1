"""Days of text for a series: words that follow each other in two topics, the same for the same arguments."""

from __future__ import annotations

import pathlib
import random
from collections.abc import Sequence

from tests.helpers.commands import Outcome, run

OPTIONS = ("--dims=8", "--epochs=1", "--batch_size=512", "--min_count=2", "--threads=1", "--window=2", "--seed=7")
"""Of a generation that takes half a second."""


def lines_of(seed: int, lines: int = 150) -> list[str]:
    draw = random.Random(seed)

    def word(topic: int) -> str:
        return f"{'ab'[topic]}{draw.randrange(draw.randrange(1, 60) + 1)}"

    return [" ".join(word(i % 2) for _ in range(draw.randrange(5, 25))) for i in range(lines)]


def write_day(root: pathlib.Path, name: str, seed: int, lines: Sequence[str] | None = None) -> pathlib.Path:
    """A closed partition of one file; returns its folder."""
    folder = root / f"dt={name}"
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{line}\n" for line in (lines_of(seed) if lines is None else lines))
    (folder / "part-0.txt").write_text(text)
    (folder / "_SUCCESS").touch()
    return folder


def follow(series: pathlib.Path | str, root: pathlib.Path | str, *arguments: str) -> Outcome:
    """A call as a scheduler makes it: always the same."""
    return run("jobs.follow", f"--series={series}", "--once", f"--input_root={root}", "--by=dt=*", *OPTIONS, *arguments)
