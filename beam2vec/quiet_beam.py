"""Keeps Beam's own log lines off a program's screen."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def without_warnings_of_beam() -> Iterator[None]:
    """While open, Beam's log lines go where the program's own logging sends them, and nowhere else.

    Beam logs by the root logger, which prints by itself if the program has not set it up. Problems are raised as
    errors.
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
