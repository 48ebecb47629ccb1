"""What the commands that read a run have in common: their parser, and options that several of them take."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from typing import NoReturn

from pipeline.errors import InputError
from pipeline.model.vectors import SIDES
from pipeline.runtime import progress
from pipeline.runtime.shown_text import quoted
from pipeline.storage.local import LocalStorage
from pipeline.storage.open_storage import open_storage


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is for those who ask."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}: see --help")


def reading_parser(prog: str, description: str) -> tuple[argparse.ArgumentParser, argparse._ArgumentGroup]:
    """A parser with --run and --step in its first group, and that group."""
    made = Parser(
        prog, description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    group = made.add_argument_group("what is read")
    group.add_argument("--run", required=True, metavar="DIR", help="the output of jobs.train: a folder or a uri")
    group.add_argument("--step", type=whole(0), metavar="N", help="checkpoint to take (default: the newest)")
    return made, group


def add_vectors(group: argparse._ArgumentGroup) -> None:
    help = "which vectors of a word: input (the usual ones), output, or the mean of both (default: input)"
    group.add_argument("--vectors", choices=SIDES, default="input", metavar="|".join(SIDES), help=help)


def add_judged(group: argparse._ArgumentGroup, most_frequent: int) -> None:
    """Word pairs and analogies, and how they are compared."""
    group.add_argument(
        "--pairs",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="pairs of words and their similarity: tabs, commas or blanks between, a header is no obstacle",
    )
    group.add_argument(
        "--analogies",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="four words a line, ': name' begins a section, as in questions-words.txt",
    )
    group.add_argument(
        "--most_frequent",
        type=whole(1),
        default=most_frequent,
        metavar="N",
        help=f"words that take part in pairs and analogies (default: {most_frequent})",
    )
    group.add_argument("--match_case", action="store_true", help="Paris and paris are two words (default: one)")


def check_target(option: str, to: str, folder: bool = False) -> None:
    """InputError, before anything is read, where `to` cannot be written: so that no work is lost for it.

    What is missing on the way is made later. A bucket is not asked.

    Args:
      option: names what was given, such as --to.
      folder: `to` becomes a folder, else a file.
    """
    storage = open_storage(to)
    if not isinstance(storage, LocalStorage):
        return
    path = storage.root
    if folder and os.path.isfile(path):
        raise InputError(f"{option}={to} is a file: name a folder")
    if not folder and (to.endswith("/") or os.path.isdir(path)):
        raise InputError(f"{option}={to} is a folder: name a file")
    there = path if folder else os.path.dirname(path)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise InputError(f"{option}={to} cannot be written: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{option}={to} cannot be written: you may not write to {there}")


class whole:  # noqa: N801 - reads as a type in add_argument
    """An option's type: a whole number of at least `low`."""

    def __init__(self, low: int):
        self.low = low

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = self.low - 1
        if value < self.low:
            raise argparse.ArgumentTypeError(f"{quoted(text)} is no whole number of at least {self.low}")
        return value


def listed(values: Iterable[str]) -> list[str]:
    """Values that came in several arguments or with commas between, one by one."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def shown_progress(name: str, unit: str) -> Callable[[int, int], None]:
    """A progress bar for what reports (done, of how many), and another one whenever that begins again."""
    last, times = 0, 1

    def report(done: int, total: int) -> None:
        nonlocal last, times
        progress.stage(name if times == 1 else f"{name} {times}", total, unit).advance(done - last)
        last, times = (done, times) if done < total else (0, times + 1)

    return report
