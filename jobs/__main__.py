"""Lists the commands.

    python -m jobs
"""

from __future__ import annotations

import ast
import pathlib
import sys

COMMANDS = ("train", "preprocess", "verify", "evaluate", "export", "report")
"""In the order in which one needs them."""


def main() -> int:
    width = max(map(len, COMMANDS))
    print("The commands, each with --help:\n")
    for name in COMMANDS:
        print(f"  python -m jobs.{name:{width}}  {first_line(name)}")
    return 0


def first_line(name: str) -> str:
    """The first line of a command's docstring; read, not imported, so that the list comes at once."""
    source = pathlib.Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
