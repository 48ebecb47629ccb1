"""Times contenders in turns, so that a machine that slows down slows all of them."""

from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of each repetition."""

    wall: list[float]
    cpu: list[float]
    """Of all threads; of the child process where the contender is one."""

    def median(self, clock: str) -> float:
        return statistics.median(getattr(self, clock))

    def shown(self, clock: str) -> str:
        values = getattr(self, clock)
        return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def in_turns(contenders: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, Timing]:
    """Run each contender once unmeasured (machine code, caches), then all of them in turns."""
    for run in contenders.values():
        run()
    timings = {name: Timing([], []) for name in contenders}
    for _ in range(repetitions):
        for name, run in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            timings[name].wall.append(time.perf_counter() - wall)
            timings[name].cpu.append(time.process_time() - cpu)
    return timings


@dataclasses.dataclass(frozen=True)
class Process:
    """A finished child process."""

    wall: float
    cpu: float
    peak_mb: float
    """Largest resident memory."""
    output: str
    errors: str = ""
    status: int = 0


def run_process(command: Sequence[str], **environment: str) -> Process:
    """Run a command and measure it; RuntimeError with its messages when it fails."""
    done = measured(command, **environment)
    if done.status:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.errors}")
    return done


def measured(command: Sequence[str], **environment: str) -> Process:
    """The same, however the command ends."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=errors, env={**os.environ, **environment})
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        out.seek(0)
        errors.seek(0)
        cpu, peak_mb = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
        return Process(wall, cpu, peak_mb, out.read(), errors.read(), os.waitstatus_to_exitcode(status))


def ours(arguments: Sequence[str]) -> list[str]:
    """The command line of our job."""
    return [sys.executable, "-m", "jobs.train", *arguments]
