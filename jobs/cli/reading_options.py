"""The parser of commands that read a run, and the options that several of them have."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from jobs.cli import events
from pipeline.analysis.evaluation import METHODS
from pipeline.analysis.judgements import Columns
from pipeline.corpus.files import split_names
from pipeline.errors import InputError
from pipeline.model.vectors import SIDES
from pipeline.runs.preprocessed_records import allow_corpus
from pipeline.runtime import progress
from pipeline.runtime.shown_text import quoted, shown


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


def plain_parser(prog: str, description: str) -> Parser:
    """A parser with --log_format alone, whose help shows the description as it is written."""
    parser = Parser(
        prog, description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_log_format(parser)
    return parser


def reading_parser(prog: str, description: str) -> tuple[argparse.ArgumentParser, argparse._ArgumentGroup]:
    """A parser with --run and --step in its first group, and that group."""
    parser = plain_parser(prog, description)
    group = parser.add_argument_group("what is read")
    group.add_argument("--run", required=True, metavar="DIR", help="the output of beam2vec train: a folder or a uri")
    add_corpus(group)
    group.add_argument("--step", type=whole(0), metavar="N", help="checkpoint to take (default: the newest)")
    return parser, group


def add_log_format(parser: argparse._ActionsContainer) -> None:
    """Adds the option that jobs/cli/entry.py looks for before anything is parsed."""
    shown_formats = "|".join(events.FORMATS)
    parser.add_argument("--log_format", choices=events.FORMATS, metavar=shown_formats, help=events.HELP)


def add_corpus(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--corpus",
        type=allow_corpus,
        metavar="RUN",
        help="the run that DIR takes its words and tokens from, if that may be read although it is in another store",
    )


def add_vectors(group: argparse._ArgumentGroup) -> None:
    help = "which vectors of a word: input, output, or the mean of both (default: input for skip-gram, mean for CBOW)"
    group.add_argument("--vectors", choices=SIDES, metavar="|".join(SIDES), help=help)


def add_judged(group: argparse._ArgumentGroup, most_frequent: int) -> None:
    """Adds the options for word pairs and analogies."""
    group.add_argument(
        "--pairs",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="word pairs with their similarity: columns with tabs, semicolons, commas or blanks between them",
    )
    group.add_argument(
        "--pairs_columns",
        type=_columns,
        metavar="N,N,N",
        help="columns of the two words and of the score in each file of --pairs, from 1 (default: as the file shows)",
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
        "--analogy",
        choices=METHODS,
        default=METHODS[0],
        metavar="|".join(METHODS),
        help=f"how an analogy is answered (Levy and Goldberg 2014; default: {METHODS[0]})",
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


def _columns(text: str) -> Columns:
    """A type for options: numbers of three columns, as places from 0."""
    numbers = [int(part) for part in text.split(",") if part.strip().isascii() and part.strip().isdigit()]
    if len(numbers) != 3 or text.count(",") != 2 or len(set(numbers)) != 3 or min(numbers) < 1:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is not the numbers of three columns, of two words and the score, like 2,3,4"
        )
    first, second, score = (number - 1 for number in numbers)
    return first, second, score


def listed_files(values: Iterable[str]) -> list[str]:
    """`listed` of names of files, which may have commas themselves."""
    return [name for value in values for name in split_names(value)]


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
