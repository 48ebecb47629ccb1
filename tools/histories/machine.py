"""Machines with processes that run one at a time and may be killed, paused or interleaved at each call of storage.

A thread of a simulated process is a greenlet. It gives up the CPU only in `Machine.step`, which every simulated call
passes. A killed process runs no `finally`: its greenlets are never switched to again, and what they do when the history
is over is refused by `Gone`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import random
from collections.abc import Callable, Iterator
from typing import Any

import greenlet

from pipeline.storage.world import Files, World

EPOCH = 1.8e9
"""When histories begin, seconds since 1970."""


class Gone(BaseException):
    """Refuses each call of a process that was killed. No `except Exception` of the product can pass over it."""


class Endless(Exception):  # noqa: N818
    """A history that does not end."""


class Violation(Exception):  # noqa: N818
    """Something that must never happen has happened."""


@dataclasses.dataclass
class Rates:
    """How often things happen, per call of storage."""

    switch: float = 0.3
    pause: float = 0.0
    """of a whole process, for up to half an hour"""
    stall: float = 0.0
    """of one thread, for up to a minute"""
    kill: float = 0.0
    crash: float = 0.0
    """of all machines, with what was not synced"""
    fault: float = 0.0
    jump: float = 0.0
    """of one host's clock"""
    seconds: float = 0.01
    """that a call takes on average"""


@dataclasses.dataclass(eq=False)
class Process:
    """A process: a number, a host, threads, and what became of it."""

    name: str
    host: str
    pid: int
    boot: int
    started: int
    token: str = ""
    """of the lock of the command that it belongs to"""
    alive: bool = True
    killed: bool = False
    error: BaseException | None = None
    result: Any = None
    paused_until: float = 0.0
    synced_folders: set[str] = dataclasses.field(default_factory=set)
    threads: list[Thread] = dataclasses.field(default_factory=list)
    children: list[Process] = dataclasses.field(default_factory=list)
    """processes that are killed with this one"""

    @property
    def identity(self) -> str:
        return f"boot-{self.boot} {self.started}"

    @property
    def fate(self) -> str:
        if self.killed:
            return "killed"
        return "at work" if self.alive else f"{type(self.error).__name__}: {self.error}" if self.error else "done"


@dataclasses.dataclass(eq=False)
class Thread:
    """A thread of a process."""

    process: Process
    greenlet: greenlet.greenlet
    wake: float = 0.0
    done: bool = False
    waiting: list[Thread] = dataclasses.field(default_factory=list)
    """threads that wait for the end of this one"""
    result: Any = None
    error: BaseException | None = None
    late: set[str] = dataclasses.field(default_factory=set)
    """what it has changed since its command lost the lock"""


class Machine:
    """All hosts of a history. Everything that happens is decided by `random` and the code under test alone."""

    def __init__(self, seed: int, rates: Rates, most_calls: int = 40_000):
        self.random = random.Random(seed)
        self.rates, self.most_calls = rates, most_calls
        self.calls = 0
        self.clock = 0.0
        self.offsets: dict[str, float] = {}
        self.boot = 1
        self.processes: list[Process] = []
        self.current: Thread = None  # type: ignore[assignment]
        self.over = False
        self.has_two_trainers = False
        """whether a command has begun to train again while a worker that it took for lost may go on"""
        self.log: list[str] | None = None
        self.on_crash: list[Callable[[], None]] = []
        self.on_end: list[Callable[[Process], None]] = []
        self._outside: list[Process] = []
        self._hub = greenlet.getcurrent()
        self._ready: list[Thread] = []
        self._asleep: list[tuple[float, int, Thread]] = []
        self._numbers = 0
        self._violation = ""

    # ---- what the simulated world calls

    def step(self, what: str, path: str = "") -> None:
        """One call begins: others may run first, and the process may never come back from it."""
        thread = self.current
        if self.over or not thread.process.alive:
            raise Gone
        self.calls += 1
        if self.calls > self.most_calls:
            raise Endless
        draw, rates = self.random.random, self.rates
        self.clock += rates.seconds * 2 * draw()
        if self.log is not None:
            process = thread.process
            self.log.append(f"{self.clock:10.3f} {process.name:<12} {process.pid} {what} {path}")
        chance = draw()
        if chance < rates.kill:
            return self.kill(thread.process)
        chance -= rates.kill
        if chance < rates.crash:
            return self.crash()
        chance -= rates.crash
        if chance < rates.pause:
            thread.process.paused_until = self.clock + self._long(2400)
            self.note(f"{thread.process.name} is paused until {thread.process.paused_until:.0f}")
            return self._switch(thread)
        chance -= rates.pause
        if chance < rates.stall:
            return self.sleep(self._long(60))
        chance -= rates.stall
        if chance < rates.jump:
            self.offsets[thread.process.host] = self.random.choice((-3600.0, -700.0, 0.0, 700.0, 3600.0))
            self.note(f"the clock of {thread.process.host} is off by {self.offsets[thread.process.host]:.0f}")
        if draw() < rates.switch:
            self._switch(thread)
        return None

    def fails(self) -> bool:
        """Whether the call of now fails."""
        return self.rates.fault > 0 and self.random.random() < self.rates.fault

    def sleep(self, seconds: float) -> None:
        thread = self.current
        if self.over or not thread.process.alive:
            raise Gone
        thread.wake = self.clock + max(0.0, seconds)
        self._numbers += 1
        heapq.heappush(self._asleep, (thread.wake, self._numbers, thread))
        self._leave()

    def join(self, other: Thread) -> None:
        """Waits until another thread is done or its process is dead."""
        if other.done or not other.process.alive:
            if self.over:
                raise Gone
            return
        other.waiting.append(self.current)
        self._leave()

    def now(self) -> float:
        """What the clock of the current process's host says."""
        return EPOCH + self.clock + self.offsets.get(self.current.process.host, 0.0)

    def note(self, line: str) -> None:
        if self.log is not None:
            self.log.append(f"{self.clock:10.3f} -- {line}")

    def violate(self, what: str) -> None:
        """Ends the history, whatever the code under test would catch."""
        self.note(f"VIOLATION: {what}")
        if greenlet.getcurrent() is self._hub:
            raise Violation(what)
        self._violation = self._violation or what
        self._leave()

    def _long(self, most: float) -> float:
        return most * self.random.random() ** 3

    # ---- processes

    def start(self, name: str, host: str, run: Callable[[], Any], parent: Process | None = None) -> Thread:
        """A new process with one thread. With `parent`, it ends with that one."""
        used = {process.pid for process in self.processes if process.alive and process.host == host}
        pid = self.random.choice([pid for pid in range(100, 112 + len(used)) if pid not in used])
        process = Process(name, host, pid, self.boot, len(self.processes))
        self.processes.append(process)
        if parent is not None:
            process.token = parent.token
            parent.children.append(process)
        self.note(f"{name} starts on {host} as {pid}")
        return self.thread(process, run)

    def thread(self, process: Process, run: Callable[[], Any]) -> Thread:
        """A new thread of a process; the process has ended when the first one has."""
        thread = Thread(process, None)
        is_first = not process.threads

        def body() -> None:
            try:
                thread.result = run()
            except (Gone, Endless, greenlet.GreenletExit):
                raise
            except BaseException as error:
                thread.error = error
            self._end(thread, is_first)

        thread.greenlet = greenlet.greenlet(body, self._hub)
        process.threads.append(thread)
        self._ready.append(thread)
        return thread

    def _end(self, thread: Thread, is_first: bool) -> None:
        thread.done = True
        if is_first:
            process = thread.process
            process.alive, process.error, process.result = False, thread.error, thread.result
            self.note(f"{process.name} ends: {process.fate}")
            self._leave_behind(process)
            for child in process.children:
                self._kill_one(child)
        else:
            self._wake(thread)

    def scheduler(self, run: Callable[[], Any]) -> Thread:
        """A thread outside the machine, which starts processes; it outlives every crash."""
        process = Process("scheduler", "", -1, 0, -1)
        self._outside.append(process)
        return self.thread(process, run)

    def kill(self, process: Process) -> None:
        """Ends a process and those that end with it, at once."""
        for one in (process, *process.children):
            self._kill_one(one)
        if not self.current.process.alive:
            self._leave()

    def _kill_one(self, process: Process) -> None:
        if process.alive:
            process.alive, process.killed = False, True
            self.note(f"{process.name} is killed")
            self._leave_behind(process)

    def crash(self) -> None:
        """Power fails everywhere: no process is left."""
        self.note("power fails")
        self.boot += 1
        for process in self.processes:
            if process.alive:
                process.alive, process.killed = False, True
                self._leave_behind(process)
        self._ready[:] = [thread for thread in self._ready if thread.process.alive]
        self._asleep[:] = [entry for entry in self._asleep if entry[2].process.alive]
        heapq.heapify(self._asleep)
        for call in self.on_crash:
            call()
        self._leave()

    def _leave_behind(self, process: Process) -> None:
        """What a system does at the end of a process."""
        for call in self.on_end:
            call(process)
        self._wake_all(process)

    def _wake_all(self, process: Process) -> None:
        for thread in process.threads:
            self._wake(thread)

    def _wake(self, thread: Thread) -> None:
        self._ready += thread.waiting
        thread.waiting.clear()

    # ---- who runs

    def _switch(self, thread: Thread) -> None:
        self._ready.append(thread)
        self._leave()

    def _leave(self) -> None:
        thread = self.current
        self._hub.switch()
        self.current = thread
        if self.over or not thread.process.alive:
            raise Gone

    def run(self) -> None:
        """Runs until no thread is left."""
        ready, asleep, draw = self._ready, self._asleep, self.random.random
        while ready or asleep:
            if not ready:
                self.clock = max(self.clock, asleep[0][0])
            while asleep and asleep[0][0] <= self.clock:
                ready.append(heapq.heappop(asleep)[2])
            at = int(draw() * len(ready))
            thread = ready[at]
            ready[at] = ready[-1]
            ready.pop()
            process = thread.process
            if not process.alive:
                continue
            if process.paused_until > self.clock:
                self._numbers += 1
                heapq.heappush(asleep, (process.paused_until, self._numbers, thread))
                continue
            self.current = thread
            thread.greenlet.switch()
            if self._violation:
                raise Violation(self._violation)
        if stuck := [process.name for process in self.processes if process.alive]:
            raise Violation(f"{', '.join(stuck)} never ends")

    def finish(self) -> None:
        """Frees the frames of threads that were killed; they can do nothing any more."""
        self.over = True
        for process in (*self.processes, *self._outside):
            for thread in process.threads:
                if thread.greenlet and not thread.greenlet.dead:
                    self.current = thread
                    with contextlib.suppress(Gone, Endless):
                        thread.greenlet.throw(Gone)


class SimulatedWorld(World):
    """The world of the thread that runs."""

    def __init__(self, machine: Machine, files: Files):
        self.machine, self.files = machine, files

    @property
    def synced_folders(self) -> set[str]:  # type: ignore[override]
        return self.machine.current.process.synced_folders

    def time(self) -> float:
        return self.machine.now()

    def monotonic(self) -> float:
        return self.machine.clock

    def sleep(self, seconds: float) -> None:
        self.machine.sleep(seconds)

    def token(self, size: int) -> str:
        return f"{self.machine.random.getrandbits(8 * size):0{2 * size}x}"

    def host(self) -> str:
        return self.machine.current.process.host

    def pid(self) -> int:
        return self.machine.current.process.pid

    def process_of(self, pid: int) -> str:
        return self._process_of(self.host(), pid)

    def _process_of(self, host: str, pid: int) -> str:
        for process in reversed(self.machine.processes):
            if process.alive and process.pid == pid and process.host == host:
                return process.identity
        return f"boot-{self.machine.boot} dead"

    def is_dead(self, host: str, pid: int, process: str) -> bool:
        if host != self.host() or not process.startswith(f"boot-{self.machine.boot} "):
            return False
        return self._process_of(host, pid) != process

    @contextlib.contextmanager
    def in_background(self, call: Callable[[], bool], every: float, name: str) -> Iterator[None]:
        machine, done = self.machine, False

        def beat() -> None:
            while True:
                machine.sleep(every)
                if done or not call():
                    return

        thread = machine.thread(machine.current.process, beat)
        try:
            yield
        finally:
            done = True
            if not machine.over and thread not in [entry[2] for entry in machine._asleep]:
                machine.join(thread)


class Pool:
    """Takes the place of ThreadPoolExecutor: its threads are those of the simulated process."""

    machine: Machine

    def __init__(self, *_: Any, **__: Any):
        self.threads: list[Thread] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self.threads:
            self.machine.join(thread)

    def submit(self, call: Callable, *arguments: Any) -> Future:
        thread = self.machine.thread(self.machine.current.process, lambda: call(*arguments))
        self.threads.append(thread)
        return Future(self.machine, thread)


@dataclasses.dataclass
class Future:
    """What `Pool.submit` returns."""

    machine: Machine
    thread: Thread

    def result(self) -> Any:
        self.machine.join(self.thread)
        if self.thread.error:
            raise self.thread.error
        return self.thread.result

    def cancel(self) -> bool:
        return False
