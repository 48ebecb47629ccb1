"""Times contenders in turns, so that a machine that slows down slows all of them."""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tools.measuring.common import write_plain_text


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of each repetition."""

    wall: list[float]
    cpu: list[float]
    """Of all threads; of the child process where the contender is one."""

    def median(self, clock: str) -> float:
        return statistics.median(getattr(self, clock))

    def shown(self, clock: str) -> str:
        values = getattr(self, clock)
        return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def in_turns(contenders: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, Timing]:
    """Run each contender once unmeasured (machine code, caches), then all of them in turns."""
    for run in contenders.values():
        run()
    timings = {name: Timing([], []) for name in contenders}
    for _ in range(repetitions):
        for name, run in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            timings[name].wall.append(time.perf_counter() - wall)
            timings[name].cpu.append(time.process_time() - cpu)
    return timings


@dataclasses.dataclass(frozen=True)
class Process:
    """A finished child process."""

    wall: float
    cpu: float
    peak_mb: float
    """Largest resident memory."""
    output: str


def run_process(command: Sequence[str], **environment: str) -> Process:
    """Run a command and measure it; RuntimeError with its messages when it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=errors, env={**os.environ, **environment})
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        out.seek(0)
        errors.seek(0)
        if status:
            raise RuntimeError(f"{' '.join(command)} failed:\n{errors.read()}")
        return Process(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out.read())


def ours(arguments: Sequence[str]) -> list[str]:
    """The command line of our job."""
    return [sys.executable, "-m", "jobs.train", *arguments]


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


def parser(name: str, description: str | None, words: int) -> argparse.ArgumentParser:
    """The options that all of these benchmarks have."""
    made = argparse.ArgumentParser(
        prog=f"benchmarks.{name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--input", help="a text file, plain or gzip (default: Zipf text made on the spot)")
    made.add_argument("--words", type=int, default=words, help=f"take only so many words (default: {words:,})")
    made.add_argument("--repetitions", type=int, default=5)
    made.add_argument("--peers", default="gensim", help="gensim, or nothing")
    made.add_argument("--json", default=f"{name}.json", help="where to write the report")
    return made


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
