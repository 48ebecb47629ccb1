"""Lists the commands, or runs one of them.

    beam2vec
    beam2vec train --input=corpus.txt --output=runs/first

`python -m beam2vec train` is the same, and so is `python -m jobs.train` in the folder of the project.
"""

from __future__ import annotations

from jobs.runners import quiet_interrupts  # noqa: F401  before anything that takes time

# isort: split
import ast
import importlib
import importlib.metadata
import os
import pathlib
import sys
from collections.abc import Sequence

COMMANDS = (
    "train",
    "preprocess",
    "verify",
    "evaluate",
    "compare",
    "export",
    "report",
    "reproduce",
    "follow",
    "promote",
    "log",
)
"""In the order in which one needs them."""


def main(arguments: Sequence[str] | None = None) -> int:
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in COMMANDS:
        from jobs.runners import environment  # noqa: F401  before NumPy and Arrow are loaded

        # isort: split
        from jobs.cli.entry import run_command, run_process  # the list comes at once

        if "" not in sys.path and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # where a tokeniser of the user's is; python -m has it first
        sys.argv[1:] = rest if arguments is None else sys.argv[1:]
        command = importlib.import_module(f"jobs.{name}").main
        if arguments is None:
            run_process(f"beam2vec {name}", command)
        return run_command(f"beam2vec {name}", command, rest)
    if name == "--version":
        print(f"beam2vec {importlib.metadata.version('beam2vec')}")
        return 0
    if name not in ("-h", "--help"):
        from jobs.cli import events  # as above
        from pipeline.errors import InputError
        from pipeline.runtime.shown_text import shown

        problem = InputError(f"{shown(name)} is no command; there are {', '.join(COMMANDS)}")
        with events.told_as_json(events.asked_for([name, *rest])):
            events.tell_error("beam2vec", problem, 2)
        return 2
    width = max(map(len, COMMANDS))
    print("The commands, each with --help:\n")
    for name in COMMANDS:
        print(f"  beam2vec {name:{width}}  {first_line(name)}")
    return 0


def first_line(name: str) -> str:
    """The first line of a command's docstring; read, not imported, so that the list comes at once."""
    source = pathlib.Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
