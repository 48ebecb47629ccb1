"""A user's tokeniser that takes its time, so that a stage lasts long enough to be disturbed."""

from __future__ import annotations

import time


def split(line: str) -> list[str]:
    time.sleep(0.002)
    return line.split()
