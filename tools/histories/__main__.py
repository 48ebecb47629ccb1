"""Simulates histories, and ends with status 1 where one violates what has to hold.

    python -m tools.histories --minutes=60             new seeds, on all CPUs
    python -m tools.histories --seeds=0:10000          these seeds
    python -m tools.histories --seed=683               this one, with everything that happens in it
    python -m tools.histories --planted                plants each of planted.yaml, and looks for a seed that shows it

A history that fails is shortened: its scenario with fewer commands, and without the faults that it does not need.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from tools.histories.history import History, Scenario, shortened
from tools.histories.machine import Violation

_TOGETHER = 50
"""Seeds that a process takes at a time."""


@dataclasses.dataclass
class Tally:
    """What was seen in histories."""

    histories: int = 0
    calls: int = 0
    ends: dict[str, int] = dataclasses.field(default_factory=dict)
    violations: dict[int, str] = dataclasses.field(default_factory=dict)
    """seed -> what was violated"""

    def add(self, other: Tally) -> None:
        self.histories += other.histories
        self.calls += other.calls
        for end, count in other.ends.items():
            self.ends[end] = self.ends.get(end, 0) + count
        self.violations |= other.violations

    def __str__(self) -> str:
        ends = ", ".join(f"{count:,} {end}" for end, count in sorted(self.ends.items()))
        return f"{self.histories:,} histories, {self.calls:,} calls; processes: {ends}"


def simulate(seeds: Iterable[int]) -> Tally:
    """Runs the histories of some seeds."""
    tally = Tally()
    for seed in seeds:
        tally.histories += 1
        try:
            outcome = History(Scenario.of(seed)).run()
        except Violation as violation:
            tally.violations[seed] = str(violation)
        else:
            tally.add(Tally(0, outcome.calls, outcome.ends))
    return tally


def _portions(seeds: Iterator[int], until: float) -> Iterator[list[int]]:
    while time.monotonic() < until:
        portion = [seed for seed, _ in zip(seeds, range(_TOGETHER))]
        if not portion:
            return
        yield portion


def _run(seeds: Iterator[int], minutes: float, processes: int, stop: bool) -> Tally:
    """Runs seeds until they or the minutes are over; with `stop`, until one fails."""
    tally, until = Tally(), time.monotonic() + minutes * 60
    portions = _portions(seeds, until)
    with ProcessPoolExecutor(processes) as pool:
        at_work = [pool.submit(simulate, portion) for _, portion in zip(range(2 * processes), portions)]
        while at_work:
            new = at_work.pop(0).result()
            tally.add(new)
            for seed, violation in new.violations.items():
                print(f"seed {seed}: {violation}", flush=True)
            if not (stop and tally.violations) and (portion := next(portions, None)):
                at_work.append(pool.submit(simulate, portion))
    return tally


def _show(seed: int) -> int:
    scenario = Scenario.of(seed)
    if _log(scenario) is None:
        print(f"seed {seed}: nothing is violated")
        return 0
    short = shortened(scenario)
    print(short)
    print("\n".join(_log(short) or []))
    return 1


def _log(scenario: Scenario) -> list[str] | None:
    """What happens in a history that fails, None where it does not."""
    history = History(scenario)
    history.machine.log = []
    try:
        history.run()
    except Violation as violation:
        return [*history.machine.log, f"VIOLATION: {violation}"]
    return None


def _count_from(first: int, last: int | None = None) -> Iterator[int]:
    while last is None or first < last:
        yield first
        first += 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tools.histories", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1e6, help="how long to take new seeds")
    parser.add_argument("--seeds", help="FIRST:END")
    parser.add_argument("--seed", type=int, help="one history, with what happens in it")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="default: the CPUs")
    parser.add_argument("--stop", action="store_true", help="at the first that fails")
    parser.add_argument("--planted", nargs="*", metavar="WORD", help="plant defects (those whose names hold a word)")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _show(options.seed)
    if options.planted is not None:
        from tools.histories.planted import look_for_all

        return look_for_all(options.planted, options.processes)
    if options.seeds:
        first, _, last = options.seeds.partition(":")
        seeds = _count_from(int(first), int(last))
    else:
        seeds = _count_from(secrets.randbits(40))
    began = time.monotonic()
    tally = _run(seeds, options.minutes, options.processes, options.stop)
    seconds = time.monotonic() - began
    print(f"{tally}; {tally.histories / seconds:.0f} a second")
    for seed in sorted(tally.violations)[:1]:
        print(f"\nthe first that fails, shortened: python -m tools.histories --seed={seed}")
        print("\n".join((_log(shortened(Scenario.of(seed))) or [])[-200:]))
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
