"""What a command and its workers listen on while they run, as /proc shows it."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import re
import subprocess
import time

_LISTENS = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}
"""Table of /proc/net -> the state of a socket that takes what anybody sends."""


def watched(process: subprocess.Popen, timeout: float = 120) -> tuple[set[str], int]:
    """Samples a process and its descendants every 50 ms until it ends.

    Returns:
      All that they listened on, such as "tcp 00000000:1F90" or "unix /tmp/x/0", and the number of samples.
    """
    found: set[str] = set()
    samples, until = 0, time.monotonic() + timeout
    while process.poll() is None:
        assert time.monotonic() < until, "the command does not end"
        found |= listened_on(process.pid)
        samples += 1
        time.sleep(0.05)
    return found, samples


def listened_on(pid: int, alone: bool = False) -> set[str]:
    """What a process and its descendants listen on now; or the process alone."""
    inodes = {inode for each in (pid, *([] if alone else descendants(pid))) for inode in _sockets(each)}
    found = set()
    for table, state in _LISTENS.items():
        for row in _rows(table):
            if row[3] == state and row[9] in inodes:
                found.add(f"{table} {row[1]}")
    for row in _rows("unix"):
        if row[3] == "00010000" and row[6] in inodes:
            found.add(f"unix {row[7]}")
    return found


def descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = collections.defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = pathlib.Path("/proc", entry, "stat").read_text()
                children[int(stat.rpartition(")")[2].split()[1])].append(int(entry))
    found = [*children[pid]]
    for each in found:  # which grows meanwhile
        found += children[each]
    return found


def _sockets(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if match := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry.path)):
                    found.add(match[1])
    return found


def _rows(table: str) -> list[list[str]]:
    lines = pathlib.Path("/proc/net", table).read_text().splitlines()[1:]
    return [line.split() for line in lines]
