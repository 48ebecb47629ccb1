"""Programs that only tests run: Prism and an S3 server, fetched as `deploy.pieces` fetches what users need.

python -m tests.helpers.programs prism flink boot versitygw
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.pieces import BEAM, PIECES, Piece, UnavailableError, by_go, fetch

PROGRAMS = PIECES | {
    "prism": Piece("prism", BEAM, "prism", by_go("github.com/apache/beam/sdks/v2/go/cmd/prism", "prism")),
    "versitygw": Piece(
        "versitygw", "1.8.0", "versitygw", by_go("github.com/versity/versitygw/cmd/versitygw", "versitygw")
    ),
}


def found(name: str) -> Path | None:
    """The path of a program that has been fetched, or None."""
    try:
        path = PROGRAMS[name].path
    except UnavailableError:
        return None
    return path if path.exists() else None


def needed(name: str) -> Path:
    """The path of a program, fetched first where that is needed; skips the test where it cannot be had."""
    import pytest  # CI fetches programs before it has any package

    path = _fetched(name)
    if isinstance(path, UnavailableError):
        pytest.skip(f"no {name} here: {path}")
    return path


@functools.cache
def _fetched(name: str) -> Path | UnavailableError:
    """What cannot be had is asked for once, not by each test."""
    try:
        return PROGRAMS[name].get()
    except UnavailableError as error:
        return error


def main(arguments: Sequence[str] | None = None) -> int:
    return fetch("tests.helpers.programs", __doc__, PROGRAMS, arguments)


if __name__ == "__main__":
    sys.exit(main())
