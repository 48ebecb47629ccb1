"""What Beam says on its own, kept from a program's screen: of clients nobody asked for, and of its own errors."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def without_warnings_of_beam() -> Iterator[None]:
    """While open, what Beam logs goes where the program's own logging sends it, and nowhere else.

    Beam logs by the root logger, which then prints by itself. Whatever matters is raised as an error.
    """
    root, beam = logging.getLogger(), logging.getLogger("apache_beam")
    silent = logging.NullHandler()
    quiet = [root, beam] if not root.handlers else [beam]
    for logger in quiet:
        logger.addHandler(silent)
    try:
        yield
    finally:
        for logger in quiet:
            logger.removeHandler(silent)
