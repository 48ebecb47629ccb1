"""Decide about generations of a series by hand: try a refused one again, take it, drop it, or roll back.

    beam2vec promote --series=models/topics --release=2026-11-30
    beam2vec promote --series=models/topics --roll_back=2026-11-28

A decision is an entry of the log. beam2vec follow acts on it at its next call.
"""

from __future__ import annotations

from jobs.runners import environment  # noqa: F401  before NumPy and Arrow are loaded

# isort: split
from collections.abc import Sequence

from jobs.cli import events
from jobs.cli.entry import run_process
from jobs.cli.reading_options import plain_parser
from jobs.series_job import promote
from pipeline.errors import InputError

_ACTIONS = {
    "release": "the text of this refused or withdrawn partition is due again",
    "force": "the same, and gates only warn: it is promoted unless there are no words or training fails",
    "drop": "the text of this refused or withdrawn partition is never taken",
    "roll_back": "this generation is current again; those after it are withdrawn",
}


def main(arguments: Sequence[str]) -> int:
    parser = plain_parser("beam2vec promote", __doc__ or "")
    parser.add_argument("--series", required=True, metavar="DIR", help="a folder or a prefix in a bucket")
    group = parser.add_argument_group("what is decided, one of")
    for name, text in _ACTIONS.items():
        group.add_argument(f"--{name}", metavar="NAME", help=text)
    given = parser.parse_args(list(arguments))
    asked = [(name, value) for name in _ACTIONS if (value := getattr(given, name))]
    if len(asked) != 1:
        given_ones = " and ".join(f"--{name}" for name, _ in asked) or "no decision"
        raise InputError(f"{given_ones}: give one of {', '.join(f'--{name}' for name in _ACTIONS)}")
    state = promote(given.series, *asked[0])
    current = state.generations[state.current].name if state.current else "nothing yet"
    events.tell("result", {"series": given.series, "current": state.current or None}, [f"current   {current}"])
    return 0


if __name__ == "__main__":
    run_process("beam2vec promote", main)
