"""Commands that die at a chosen moment: for test_resume.py and test_preprocess.py."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import os
import pathlib
import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from pipeline.backends.cpu import CpuBackend
from pipeline.runtime import interruption
from pipeline.storage.local import LocalStorage
from tests.helpers.commands import run
from tests.helpers.warm import WarmProcess
from transforms import work_units

PIECE_BYTES = 20_000
"""Of work text, so that a small file is unpacked into several pieces."""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch) -> None:
    """As in the commands here: equal pieces of text have equal names. A module of tests takes it as its own."""
    monkeypatch.setattr(work_units, "unpack", functools.partial(work_units.unpack, piece_bytes=PIECE_BYTES))


@dataclasses.dataclass(frozen=True)
class Moment:
    """The n-th time that something is about to happen, is half done, or has just happened."""

    action: str
    """"create", "put", "delete": of an object; "train": of a block of steps"""
    prefix: str = ""
    """of the object's path; KEY in it stands for the digits of a stage key"""
    nth: int = 1
    when: str = "before"
    """"before", "inside" (a put: the temporary file is written, not yet renamed), or "after\""""

    def __str__(self) -> str:
        return f"{self.when} {self.action} {self.nth} of {self.prefix or 'steps'}"


def run_until(
    moment: Moment, act: Callable[[], None], arguments: list[str], log: pathlib.Path, job: str = "jobs.train"
) -> int:
    """Run a command in a child that calls `act` at the moment; its exit status, or minus the signal's number."""
    return WarmProcess(_child, moment, act, arguments, log, job).wait(250)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def terminate() -> None:
    _signal(signal.SIGTERM)


def terminate_another_thread(process: WarmProcess) -> None:
    """SIGTERM to a thread of the process that takes it, and is not its main one."""
    libc = ctypes.CDLL(None, use_errno=True)
    for thread in sorted(map(int, os.listdir(f"/proc/{process.pid}/task"))):
        status = pathlib.Path(f"/proc/{process.pid}/task/{thread}/status")
        with contextlib.suppress(OSError):  # it has ended meanwhile
            blocked = int(re.search(r"SigBlk:\s*(\w+)", status.read_text())[1], 16)
            takes_it = not blocked >> (signal.SIGTERM - 1) & 1
            if thread != process.pid and takes_it and libc.tgkill(process.pid, thread, signal.SIGTERM) == 0:
                return
    raise AssertionError("no thread took the signal")


def interrupt() -> None:
    _signal(signal.SIGINT)


def _signal(number: int) -> None:
    """The moment lasts until the main thread has heard the signal: a tiny run would be over before."""
    os.kill(os.getpid(), number)
    while not interruption.requested():
        time.sleep(0.01)


def interrupt_twice() -> None:
    interrupt()
    interrupt()
    time.sleep(240)


def _child(moment: Moment, act: Callable[[], None], arguments: list[str], log: pathlib.Path, job: str) -> NoReturn:
    work_units.unpack = functools.partial(work_units.unpack, piece_bytes=PIECE_BYTES)
    _plant(moment, act)
    with open(log, "w") as file:
        os.dup2(file.fileno(), 2)
    outcome = run(job, *arguments)
    with open(log, "a") as file:
        file.write(outcome.stdout + outcome.stderr)
    os._exit(outcome.status)


def _plant(moment: Moment, act: Callable[[], None]) -> None:
    seen = 0
    guard = threading.Lock()
    inside = threading.local()
    prefix = re.compile(re.escape(moment.prefix).replace("KEY", "[0-9a-f]{8}"))

    def is_it(path: str) -> bool:
        nonlocal seen
        if not prefix.match(path):
            return False
        with guard:
            seen += 1
            return seen == moment.nth

    owner: Any = CpuBackend if moment.action == "train" else LocalStorage
    action = "write" if moment.action == "put" else moment.action  # which every put goes through
    original = getattr(owner, action)

    def planted(self: Any, *arguments: Any) -> Any:
        now = is_it(arguments[0] if owner is LocalStorage else "")
        if now and moment.when == "before":
            act()
        inside.now = now and moment.when == "inside"
        result = original(self, *arguments)
        if now and moment.when == "after":
            act()
        return result

    setattr(owner, action, planted)
    replace = os.replace

    def planted_replace(*arguments: Any) -> None:
        if getattr(inside, "now", False):
            act()
        replace(*arguments)

    os.replace = planted_replace
