"""Identifies processes, and tells whether another one is dead."""

from __future__ import annotations

import os
import socket


def host() -> str:
    return socket.gethostname()


def process_of(pid: int) -> str:
    """Boot, process namespace and start time of a process of this host; "" if the system does not provide them.

    Hosts and containers can share a name; only a process of the same boot and
    namespace can be looked up by its pid.
    """
    place = _place()
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command's name, in parentheses, may hold anything; state and 18 more come before the start.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return f"{place} dead" if place and not _exists(pid) else ""
    state, start = fields[0].decode(), fields[19].decode()
    if not place:
        return ""
    return f"{place} {start}" if state not in "ZX" else f"{place} dead"


def _exists(pid: int) -> bool:
    """Whether there may be such a process; /proc can hide those of other users."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


def _place() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def is_dead(its_host: str, pid: int, process: str) -> bool:
    """Whether a process certainly ended: it ran in this boot and namespace of this host, and is gone.

    Args:
      process: what `process_of` said of it there.
    """
    place = _place()
    if not place or its_host != host() or not process.startswith(place + " ") or pid <= 0:
        return False
    return process_of(pid) not in ("", process)
