"""Progress of the stages that this process works on: bars on a command's terminal, else a line every 10 seconds."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.runtime.shown_text import exact

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0
_guard = threading.Lock()
_owns_terminal = False
_has_bars = False
_reports_to_program = False
"""Whether this process runs a job for a program, which gets the progress in place of a screen."""
_listener: Callable[[Progress], None] | None = None
_line_prefix = ""
_stages: dict[str, Stage] = {}


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a stage is."""

    stage: str
    """Its name: `Count words`, `Train` and so on."""
    done: int
    """How much of it is done, in `unit`."""
    total: int | None
    """How much there is to do; None where that is not known."""
    unit: str
    """`B` for bytes of text, `tok` for tokens."""
    note: str = ""
    """the loss, during training"""


class Stage:
    """Counts the bytes or tokens of one stage that are done, and shows them; threads may share it."""

    def __init__(self, name: str, total: int | None, unit: str):
        self._name, self._total, self._unit = name, total, unit
        self._done, self._began = 0, time.monotonic()
        self._said = self.ended = self._began
        self._lock = threading.Lock()
        self._bar = None
        if _has_bars and sys.stderr.isatty():
            self._bar = _tqdm()(
                total=total,
                desc=f"{name:14s}",
                unit=unit,
                unit_scale=True,
                leave=True,
                dynamic_ncols=True,
                smoothing=0.05,
                file=exact(sys.stderr),
            )

    def advance(self, amount: int, note: str = "") -> None:
        """Adds `amount` to what is done; `note` is shown behind the rate."""
        with self._lock:
            self._done += amount
            self.ended = time.monotonic()
            if self._bar is not None:
                if note:
                    self._bar.set_postfix_str(note, refresh=False)
                self._bar.update(amount)
            elif _reports_to_program:
                if _listener is not None:
                    _listener(Progress(self._name, self._done, self._total, self._unit, note))
            elif time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES:
                self._said = time.monotonic()
                self._tell(note)

    def close(self) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.close()
            elif _owns_terminal and not _has_bars and self._done:
                self._tell("", ended=True)

    def _tell(self, note: str, ended: bool = False) -> None:
        """Logs a line, with what programs read of it."""
        described = {"stage": self._name, "done": self._done, "total": self._total, "unit": self._unit}
        described |= {"seconds": round(self.ended - self._began, 3), "ended": ended}
        described |= {"worker": _line_prefix.removesuffix(": ")} if _line_prefix else {}
        described |= {"note": note} if note else {}
        _log.info("%s", self._line(note), extra={"event": "progress", "described": described})

    def _line(self, note: str) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        rate = self._done / seconds
        parts = [f"{self._name}: {scaled(self._done)}{self._unit}"]
        if self._total:
            left = max(self._total - self._done, 0) / rate if rate else 0
            parts[0] += f" of {scaled(self._total)}{self._unit}"
            parts.append(f"{left:,.0f} s left")
        parts.insert(1, f"{scaled(rate)}{self._unit}/s")
        return _line_prefix + ", ".join([*parts, note] if note else parts)


def take_terminal(bars: bool = True) -> None:
    """Lets this process draw bars, since it is the command itself. Its workers inherit the terminal, but draw none.

    Args:
      bars: False stands for lines, also on a terminal, and for one more at the end of each stage.
    """
    global _owns_terminal, _has_bars
    _owns_terminal, _has_bars = True, bars


@contextlib.contextmanager
def reported_to(listener: bool | Callable[[Progress], None]) -> Iterator[None]:
    """While open, this process runs a job for a program: it prints nothing, and calls the listener.

    Args:
      listener: a function; True shows a bar for each stage, False shows nothing.
    """
    global _reports_to_program, _listener
    bars = Bars()
    _reports_to_program, _listener = True, bars if listener is True else listener or None
    try:
        yield
    finally:
        _reports_to_program, _listener = False, None
        close_all()
        bars.close()


class Bars:
    """A listener that shows a bar for each stage: a widget in a notebook, text elsewhere."""

    def __init__(self) -> None:
        self._bars: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, now: Progress) -> None:
        from tqdm.auto import tqdm as bar_of_notebook  # imported late: it loads what notebooks need

        with self._lock:
            if now.stage not in self._bars:
                self._bars[now.stage] = bar_of_notebook(total=now.total, desc=now.stage, unit=now.unit, unit_scale=True)
            bar = self._bars[now.stage]
            bar.set_postfix_str(now.note, refresh=False)
            bar.update(now.done - bar.n)

    def close(self) -> None:
        for bar in self._bars.values():
            bar.close()


def runs_the_job() -> bool:
    """Whether the job was started in this process, so that it is not one of its workers."""
    return _owns_terminal or _reports_to_program


def name_lines(name: str) -> None:
    """Makes lines of this process begin with a name."""
    global _line_prefix
    _line_prefix = f"{name}: "


def stage(name: str, total: int | None, unit: str) -> Stage:
    """The stage of this name in this process; the first call begins it."""
    with _guard:
        if name not in _stages:
            _stages[name] = Stage(name, total, unit)
        return _stages[name]


def timeline(began: float) -> dict[str, float]:
    """Stage -> seconds, for the stages that this process worked on, in the order in which they ended.

    A stage counts from the end of the one before it, the first from `began` (a time.monotonic()). So time between two
    stages counts for the second.
    """
    with _guard:
        ends = sorted((stage.ended, name) for name, stage in _stages.items())
    return {name: end - before for (end, name), before in zip(ends, [began, *(end for end, _ in ends)])}


def close_all() -> None:
    """Leaves the bars as they are on the screen, and forgets them."""
    with _guard:
        for stage in _stages.values():
            stage.close()
        _stages.clear()


def print_above_bars(line: str) -> bool:
    """Prints a line and leaves the bars in place; False where this process has no terminal for bars."""
    if not (_has_bars and sys.stderr.isatty()):
        return False
    _tqdm().write(line, file=exact(sys.stderr))
    return True


def scaled(number: float) -> str:
    """1234567 -> 1.23M"""
    return str(_tqdm().format_sizeof(number))


def _tqdm() -> Any:
    """Imported late: kernels, which say things too, run where no bars can be drawn (benchmarks/first_device.py)."""
    from tqdm import tqdm

    return tqdm
