"""The parser of commands that read a run, and the options that several of them have."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from pipeline.errors import InputError
from pipeline.model.vectors import SIDES
from pipeline.runtime import progress
from pipeline.runtime.shown_text import quoted, shown
from pipeline.storage.local import LocalStorage
from pipeline.storage.open_storage import open_storage


class Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line; --help prints the usage.

    An option that takes one value may be given twice only with equal values: argparse would forget the first.
    """

    last_counts = False
    """Whether of several values the last one counts, as for Beam."""

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__(*arguments, **settings)
        self.values: dict[str, Any] = {}
        """destination -> value, of the options given so far"""
        for name in (None, "store", "store_true", "store_false", argparse.BooleanOptionalAction):
            self.register("action", name, _once(self._registry_get("action", name, name)))

    def parse_known_args(self, *arguments: Any, **settings: Any) -> Any:
        self.values.clear()
        return super().parse_known_args(*arguments, **settings)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}: see --help")


def _once(action: type[argparse.Action]) -> type[argparse.Action]:
    """The action, which refuses another value than it was called with before."""

    class Once(action):  # type: ignore[misc, valid-type]
        def __call__(
            self, parser: Parser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
        ) -> None:
            super().__call__(parser, namespace, values, option_string)
            value = getattr(namespace, self.dest)
            earlier = parser.values.setdefault(self.dest, value)
            if earlier != value and not parser.last_counts:
                raise InputError(
                    f"--{self.dest} is given twice, as {shown(earlier)} and as {shown(value)}: give it once"
                )

    return Once


def reading_parser(prog: str, description: str) -> tuple[argparse.ArgumentParser, argparse._ArgumentGroup]:
    """A parser with --run and --step in its first group, and that group."""
    parser = Parser(
        prog, description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    group = parser.add_argument_group("what is read")
    group.add_argument("--run", required=True, metavar="DIR", help="the output of beam2vec train: a folder or a uri")
    group.add_argument("--step", type=whole(0), metavar="N", help="checkpoint to take (default: the newest)")
    return parser, group


def add_vectors(group: argparse._ArgumentGroup) -> None:
    help = "which vectors of a word: input (the usual ones), output, or the mean of both (default: input)"
    group.add_argument("--vectors", choices=SIDES, default="input", metavar="|".join(SIDES), help=help)


def add_judged(group: argparse._ArgumentGroup, most_frequent: int) -> None:
    """Adds the options for word pairs and analogies."""
    group.add_argument(
        "--pairs",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="word pairs with their similarity, separated by tabs, commas or blanks; a header is ignored",
    )
    group.add_argument(
        "--analogies",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="analogies, four words on a line; ': name' begins a section, as in questions-words.txt",
    )
    group.add_argument(
        "--most_frequent",
        type=whole(1),
        default=most_frequent,
        metavar="N",
        help=f"words that take part in pairs and analogies (default: {most_frequent})",
    )
    group.add_argument(
        "--match_case",
        action="store_true",
        help="compare words with case, so that Paris and paris differ (default: without)",
    )


def check_target(option: str, to: str, folder: bool = False) -> None:
    """InputError if `to` cannot be written; called before anything is read, so that no work is lost.

    Missing folders are created later. Buckets are not checked.

    Args:
      option: the option that named `to`, such as --to.
      folder: whether `to` becomes a folder; else a file.
    """
    storage = open_storage(to)
    if not isinstance(storage, LocalStorage):
        return
    path = storage.root
    if folder and os.path.isfile(path):
        raise InputError(f"{option}={to} is a file: name a folder")
    if not folder and (to.endswith("/") or os.path.isdir(path)):
        raise InputError(f"{option}={to} is a folder: name a file")
    existing = path if folder else os.path.dirname(path)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise InputError(f"{option}={to} cannot be written: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{option}={to} cannot be written: you may not write to {existing}")


class whole:  # noqa: N801 - reads as a type in add_argument
    """A type for options: a whole number of at least `low`."""

    def __init__(self, low: int):
        self.low = low

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = self.low - 1
        if value < self.low:
            raise argparse.ArgumentTypeError(f"{quoted(text)} is not a whole number of at least {self.low}")
        return value


def listed(values: Iterable[str]) -> list[str]:
    """The values of an option that may be repeated, or have commas between values."""
    return [item.strip() for value in values for item in value.split(",") if item.strip()]


def shown_progress(name: str, unit: str) -> Callable[[int, int], None]:
    """A function for reports (done, total) that shows a progress bar, and a new one whenever the count starts again."""
    last, times = 0, 1

    def report(done: int, total: int) -> None:
        nonlocal last, times
        progress.stage(name if times == 1 else f"{name} {times}", total, unit).advance(done - last)
        last, times = (done, times) if done < total else (0, times + 1)

    return report
