"""The text that is measured on: a file of the user's as plain text, or made-up words with Zipf's frequencies."""

from __future__ import annotations

import argparse
import gzip
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tools.measuring.reports import report_parser


def text_parser(
    name: str, description: str | None, words: int, *, repetitions: bool = False, peers: bool = False
) -> argparse.ArgumentParser:
    """The options of a command that measures on a text.

    Args:
      name: of the module that is run.
      words: of the text, unless the user says another number.
      repetitions: the command measures several times.
      peers: the command measures other libraries too.
    """
    parser = report_parser(name, description)
    parser.add_argument("--input", help="a text file, plain or gzip (default: Zipf text made on the spot)")
    parser.add_argument("--words", type=int, default=words, help=f"take only so many words (default: {words:,})")
    if repetitions:
        parser.add_argument("--repetitions", type=int, default=5)
    if peers:
        parser.add_argument("--peers", default="gensim", help="gensim, or nothing")
    return parser


def zipf_text(path: str, words: int, seed: int = 1) -> None:
    """Sentences of 24 words, whose frequencies fall as 1 / rank, of 70,000 made-up words."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, 70_001)
    edges = np.cumsum(share / share.sum())
    names = np.array([f"w{rank}" for rank in range(70_000)])
    with open(path, "w") as file:
        for start in range(0, words, 24 * 4096):
            drawn = np.minimum(np.searchsorted(edges, rng.random(24 * 4096)), 69_999)[: max(24, words - start)]
            lines = names[drawn[: len(drawn) // 24 * 24]].reshape(-1, 24)
            file.write("\n".join(map(" ".join, lines.tolist())) + "\n")


@contextmanager
def corpus_text(chosen: argparse.Namespace, make: Callable[[str, int], None] = zipf_text) -> Iterator[str]:
    """The path of the plain text that the options ask for, or that `make` writes; it is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "corpus.txt")
        if chosen.input:
            write_plain_text(chosen.input, path, chosen.words)
        else:
            make(path, chosen.words)
        yield path


def write_plain_text(source: str, target: str, words: int | None = None, lowercase: bool = False) -> int:
    """A local text file, perhaps gzip, as plain text that every peer reads alike; returns its words.

    Args:
      words: stop after the line with the so manieth word; None takes all.
    """
    count = 0
    with open(source, "rb") as packed:
        is_gzip = packed.read(2) == b"\x1f\x8b"
    reader = (gzip.open if is_gzip else open)(source, "rt", encoding="utf-8", errors="replace")
    with reader as lines, open(target, "w", encoding="utf-8") as plain:
        for line in lines:
            plain.write(line.lower() if lowercase else line)
            count += len(line.split())
            if words and count >= words:
                break
    return count
