"""One history: a world that a seed decides, commands in it, and what has to hold whatever happens."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import random
import traceback
from collections.abc import Iterator
from typing import Any

from pipeline.errors import PipelineError
from pipeline.model import checkpoints
from pipeline.runs import directory
from pipeline.runtime import process as process_module
from pipeline.runtime.messages import take_warnings
from pipeline.storage import exclusion, object_store
from pipeline.storage.world import in_world
from tools.histories.bucket import Abilities, Bucket
from tools.histories.disk import Disk
from tools.histories.machine import Endless, Machine, Pool, Process, Rates, SimulatedWorld, Violation
from tools.histories.programs import VARIANTS, Command, Layout, verify

FOLDER, BUCKET = "/disk/run", "s3://histories/run"
_UNCOMPARED = ("lock.json", "records/timings/", "errors/")


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What a history is made of."""

    seed: int
    rates: Rates
    bucket: Abilities | None
    """None stands for a folder"""
    links: bool
    layout: Layout
    commands: tuple[tuple[str, bool, str, float], ...]
    """(variant, overwrite, host, seconds before it starts)"""
    readers: int
    attempts: int
    herd: bool
    """whether commands that have ended are started again at once, all of them"""

    @classmethod
    def of(cls, seed: int) -> Scenario:
        draw = random.Random(f"scenario {seed}")
        chance = draw.random

        def sometimes(share: float, low: float, high: float) -> float:
            return low * (high / low) ** chance() if chance() < share else 0.0

        rates = Rates(
            switch=draw.choice((0.05, 0.3, 1.0)),
            pause=sometimes(0.3, 0.0003, 0.01),
            stall=sometimes(0.3, 0.0003, 0.02),
            kill=sometimes(0.5, 0.0005, 0.01),
            crash=sometimes(0.3, 0.0005, 0.005),
            fault=sometimes(0.3, 0.001, 0.03),
            jump=sometimes(0.2, 0.0005, 0.01),
            seconds=draw.choice((0.001, 0.05, 1.0)),
        )
        bucket = None
        if chance() < 0.4:
            create = draw.choice((*["yes"] * 12, "no", "ignored", "racy"))
            replace = draw.choice((*["yes"] * 4, "no", "ignored", "racy"))
            bucket = Abilities(create, replace, draw.choice((0.0, 0.0, 0.0, 2.0)))
        layout = Layout(
            workers=draw.choice((1, 2, 2, 3)),
            processes=chance() < 0.7,
            orphans=chance() < 0.3,
            lost=draw.choice((0.0, 0.0, 0.1)),
            seconds=draw.choice((0.1, 0.1, 10.0, 400.0)),
        )
        others = draw.choice(((), (), ("other dims",), ("other words",)))
        commands = tuple(
            (
                draw.choice(("plain", "plain", *others)),
                bool(others) and chance() < 0.7,
                draw.choice(("one", "one", "two")),
                draw.choice((0.0, 1.0, 100.0, 1000.0)) * chance(),
            )
            for _ in range(draw.choice((1, 2, 2, 3)))
        )
        return cls(seed, rates, bucket, chance() < 0.9, layout, commands, draw.choice((0, 0, 1, 2)), 3, chance() < 0.4)

    @property
    def is_calm(self) -> bool:
        """Whether nothing happens to it but kills and crashes of commands that want the same."""
        return not (self.rates.fault or self.rates.jump or self.rates.pause) and len({c[0] for c in self.commands}) == 1


@dataclasses.dataclass
class Outcome:
    """What became of a history that violates nothing."""

    calls: int
    ends: dict[str, int]
    """how often processes ended in which way"""


class History:
    """A scenario that runs."""

    def __init__(self, scenario: Scenario):
        self.scenario = scenario
        self.machine = Machine(scenario.seed, dataclasses.replace(scenario.rates))
        self.disk = Disk(self.machine, scenario.links)
        self.bucket = Bucket(self.machine, scenario.bucket) if scenario.bucket else None
        self.root = BUCKET if self.bucket else FOLDER
        self.top = self.root.partition("histories/")[2] + "/" if self.bucket else FOLDER + "/"
        store: Disk | Bucket = self.bucket or self.disk
        store.landed, store.removed = self._landed, self._removed
        self.store = store
        self.is_late = False
        """whether a command that has lost its lock has written or removed something"""
        self.landings: list[str] = []
        self.machine.on_crash.append(self._check_records)

    # ---- running it

    def run(self) -> Outcome:
        """Raises Violation."""
        with simulated(self.machine, self.disk, self.bucket):
            try:
                self._disturbed()
                self._calm()
                return Outcome(self.machine.calls, self._ends())
            except Endless:
                raise Violation("the history does not end") from None
            finally:
                self.machine.finish()

    def _disturbed(self) -> None:
        machine, scenario = self.machine, self.scenario
        for number, (variant, overwrite, host, delay) in enumerate(scenario.commands):
            command = Command(machine, self.root, variant, overwrite, scenario.layout)
            machine.scheduler(functools.partial(self._schedule, f"command {number}", host, command, delay))
        for number in range(scenario.readers):
            machine.scheduler(functools.partial(self._read, f"reader {number}"))
        machine.run()
        self._check_ends()
        is_quiet = self._ends().keys() <= {"done", "OutputInUseError"} and not scenario.rates.fault
        if is_quiet and self.store.peek(self.top + "lock.json") is not None:
            machine.violate("every command has ended, and a lock is left")

    def _schedule(self, name: str, host: str, command: Command, delay: float) -> None:
        machine = self.machine
        for _ in range(self.scenario.attempts):
            machine.sleep(delay)
            thread = machine.start(name, host, command)
            machine.join(thread)
            if thread.done and not thread.error:
                return
            delay = 0.0 if self.scenario.herd else machine.random.choice((0.0, 10.0, 700.0, 4000.0))

    def _read(self, name: str) -> None:
        machine = self.machine
        machine.sleep(machine.random.choice((1.0, 100.0, 1000.0)) * machine.random.random())
        thread = machine.start(name, "one", functools.partial(verify, self.root))
        machine.join(thread)
        report = thread.result
        is_quiet = self.scenario.is_calm and not self._is_loose and self.scenario.bucket is None
        if is_quiet and report is not None and report.problems and report.state != "unfinished":
            machine.violate(f"verify finds something at a quiet run: {report.problems[0]}")

    def _calm(self) -> None:
        """Nothing happens any more: one command runs to its end, and verify finds no fault."""
        machine = self.machine
        machine.rates = Rates(switch=0.0, seconds=0.0)
        machine.offsets.clear()
        machine.clock += 10_000.0
        if self.bucket:
            self.bucket.abilities = dataclasses.replace(self.bucket.abilities, lag=0.0)
        self._check_records()
        before = self._alone("verify before", functools.partial(verify, self.root), must=False)
        saved = self._saved_variant()
        variant = self.scenario.commands[0][0]
        self.landings.clear()
        command = Command(machine, self.root, variant, saved != variant, Layout(workers=1), take_over=True)
        process = self._alone("the last command", command, must=False)
        if process.error is not None:
            if self.bucket and "yes" != self.bucket.abilities.create == self.bucket.abilities.create:
                return
            raise Violation(f"the last command fails: {process.error}") from process.error
        if before.result and before.result.is_sound and saved == variant:
            made = [path for path in self.landings if not path.startswith(_UNCOMPARED)]
            if made:
                raise Violation(f"verify finds a finished run, and {made[0]} is made again")
        report = self._alone("verify", functools.partial(verify, self.root), must=True).result
        if report.problems or report.state != "finished":
            raise Violation(f"verify finds in the end: {report.state} {report.problems}")
        self._compare(variant)

    def _saved_variant(self) -> str:
        data = self.store.contents(self.top).get("run.json")
        with contextlib.suppress(ValueError, KeyError, TypeError):
            model = json.loads(data or b"")["options"]["model"]
            for name, options in VARIANTS.items():
                if (model["dims"], model["min_count"]) == (options.dims, options.min_count):
                    return name
        return ""

    def _alone(self, name: str, run: Any, must: bool) -> Process:
        thread = self.machine.start(name, "one", run)
        self.machine.run()
        self._check_end(thread.process)
        if must and thread.error:
            raise Violation(f"{name}: {thread.error}") from thread.error
        return thread.process

    def _compare(self, variant: str) -> None:
        have = _compared(self.store.contents(self.top))
        want = undisturbed(variant, self.bucket is not None)
        for path in sorted(have.keys() | want.keys()):
            if have.get(path) != want.get(path):
                if path not in want and "checkpoints/" in path and self._has_lag:
                    continue  # it was not listed when it should have been removed: recorded, and whole
                if path not in have and "metrics/" in path and self._is_loose:
                    continue  # removed by who had lost the lock after the last look at it, or by another trainer
                how = "is missing" if path not in have else "is left" if path not in want else "has other bytes"
                raise Violation(f"in the end {path} {how}")

    @property
    def _has_lag(self) -> bool:
        return self.scenario.bucket is not None and self.scenario.bucket.lag > 0

    @property
    def _is_loose(self) -> bool:
        """Whether a record may name what is gone, until a command runs to its end."""
        return self.is_late or self.machine.has_two_trainers

    # ---- what has to hold

    def _check_ends(self) -> None:
        for process in self.machine.processes:
            self._check_end(process)

    def _check_end(self, process: Process) -> None:
        for thread in process.threads:
            if thread.error is not None and not isinstance(thread.error, PipelineError):
                lines = "".join(traceback.format_exception(thread.error))
                raise Violation(f"{process.name} ends with a traceback: {lines}") from thread.error

    def _ends(self) -> dict[str, int]:
        ends: dict[str, int] = {}
        for process in self.machine.processes:
            end = "killed" if process.killed else type(process.error).__name__ if process.error else "done"
            ends[end] = ends.get(end, 0) + 1
        return ends

    def _check_records(self) -> None:
        """Every record names artefacts that are there, whole."""
        if self._is_loose:
            return
        for path, data in self.store.contents(self.top).items():
            if path.startswith("records/") and ".beam2vec-tmp" not in path:
                self._check_record(path, data)

    def _check_record(self, path: str, data: bytes) -> None:
        try:
            artifacts = json.loads(data)["artifacts"]
        except (ValueError, KeyError):
            return self.machine.violate(f"{path} is torn")
        for artifact in artifacts:
            found = self.store.peek(self.top + artifact["path"])
            if found is None or hashlib.sha256(found).hexdigest() != artifact["digest"]:
                how = "missing" if found is None else "different"
                return self.machine.violate(f"{path} names {artifact['path']}, which is {how}")
        return None

    def _landed(self, path: str, data: bytes, before: bytes | None) -> None:
        if not path.startswith(self.top) or ".beam2vec-tmp" in path:
            return
        name = path[len(self.top) :]
        self.landings.append(name)
        if name == "lock.json":
            self._check_lock(data, before)
        elif name.startswith("records/"):
            if not self._is_owner():
                self._count_late(name, name)
            if not self._is_loose:
                self._check_record(name, data)
        elif not name.startswith("errors/") and not self._is_owner():
            self.is_late = True

    def _removed(self, path: str, before: bytes) -> None:
        if not path.startswith(self.top) or ".beam2vec-tmp" in path:
            return
        name = path[len(self.top) :]
        if name == "lock.json":
            holder = _holder(before)
            if holder and not _is_of(holder, self.machine.current.process):
                self.machine.violate(f"{self.machine.current.process.name} removes the lock of another command")
        elif not self._is_owner():
            self._count_late(name, name.rpartition("/")[0])

    def _count_late(self, name: str, place: str) -> None:
        """A command that has lost its lock may be at one record, or at one folder that it removes, and no more."""
        self.is_late = True
        if name.startswith("records/"):
            thread = self.machine.current
            thread.late.add(place)
            if len(thread.late) > 1:
                self.machine.violate(f"{thread.process.name} has lost the lock and goes on to change {name}")

    def _check_lock(self, data: bytes, before: bytes | None) -> None:
        machine = self.machine
        holder, holder_before = _holder(data), _holder(before)
        if holder is None or holder_before is None or _base(holder) == _base(holder_before):
            return
        slack = 8000.0 if self.scenario.rates.jump else 0.0
        if holder_before["expires"] <= machine.now() + slack:
            return
        for process in machine.processes:
            if process.alive and process.identity == holder_before["process"]:
                break
        else:
            if holder_before["process"]:
                return
        self.machine.violate(f"{machine.current.process.name} takes the lock of a command that holds it")

    def _is_owner(self) -> bool:
        holder = _holder(self.store.peek(self.top + "lock.json"))
        return holder is not None and _is_of(holder, self.machine.current.process)


def _holder(data: bytes | None) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        holder = json.loads(data or b"")
        if isinstance(holder, dict):
            return holder
    return None


def _base(holder: dict[str, Any]) -> str:
    return str(holder["token"]).removeprefix("released ")


def _is_of(holder: dict[str, Any], process: Process) -> bool:
    """Whether the lock is of the process's command; while it is acquired, the process does not know its token yet."""
    return _base(holder) == process.token or (not process.token and holder["process"] == process.identity)


def _compared(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in contents.items() if not path.startswith("records/timings/")}


@functools.cache
def undisturbed(variant: str, in_bucket: bool) -> dict[str, bytes]:
    """Path -> bytes of what a command makes with which nothing interferes."""
    machine = Machine(0, Rates(switch=0.0, seconds=0.0))
    disk, bucket = Disk(machine), Bucket(machine, Abilities()) if in_bucket else None
    with simulated(machine, disk, bucket):
        root = BUCKET if in_bucket else FOLDER
        thread = machine.start("undisturbed", "one", Command(machine, root, variant, False, Layout(workers=1)))
        machine.run()
        machine.finish()
    if thread.error:
        raise thread.error
    return _compared(bucket.contents("run/") if bucket else disk.contents(FOLDER))


@contextlib.contextmanager
def simulated(machine: Machine, disk: Disk, bucket: Bucket | None) -> Iterator[None]:
    """While open, storage uses a simulated machine, disk and bucket, and nothing is printed."""
    log = logging.getLogger("pipeline")
    level, pool, stores = log.level, process_module.ThreadPoolExecutor, dict(object_store._stores)
    parse, read, keys = checkpoints._from_parquet, directory._parsed, directory.stage_keys
    log.setLevel(logging.CRITICAL)
    process_module.ThreadPoolExecutor = type("ItsPool", (Pool,), {"machine": machine})  # type: ignore[misc, assignment]
    checkpoints._from_parquet = _remembered(checkpoints._from_parquet, lambda data, dims: (data, dims))
    directory._parsed = _remembered(directory._parsed, lambda storage, data, remedy: data)
    directory.stage_keys = _remembered(directory.stage_keys, lambda identity, options: repr(identity))
    if bucket:
        name = BUCKET.rpartition("/")[0]
        object_store._stores.update({name: bucket, f"{name} for conditional writes": bucket})
    try:
        with in_world(SimulatedWorld(machine, disk)):
            yield
    finally:
        take_warnings()
        exclusion._asked.clear()
        log.setLevel(level)
        process_module.ThreadPoolExecutor = pool  # type: ignore[misc]
        checkpoints._from_parquet, directory._parsed, directory.stage_keys = parse, read, keys
        object_store._stores.clear()
        object_store._stores.update(stores)


_results: dict[Any, Any] = {}


def _remembered(function: Any, key: Any) -> Any:
    """A pure function, whose few results are kept: they are asked for again and again."""

    def call(*arguments: Any) -> Any:
        place = function.__name__, key(*arguments)
        if place not in _results:
            _results[place] = function(*arguments)
        return _results[place]

    return call


def shortened(scenario: Scenario) -> Scenario:
    """A scenario that fails too, with less in it where that can be had."""
    for change in _smaller(scenario):
        if _fails(change):
            return shortened(change)
    return scenario


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    for number in range(len(scenario.commands)):
        if len(scenario.commands) > 1:
            commands = scenario.commands[:number] + scenario.commands[number + 1 :]
            yield dataclasses.replace(scenario, commands=commands)
    if scenario.readers:
        yield dataclasses.replace(scenario, readers=0)
    if scenario.attempts > 1:
        yield dataclasses.replace(scenario, attempts=scenario.attempts - 1)
    for name in ("pause", "stall", "kill", "crash", "fault", "jump"):
        if getattr(scenario.rates, name):
            yield dataclasses.replace(scenario, rates=dataclasses.replace(scenario.rates, **{name: 0.0}))


def _fails(scenario: Scenario) -> bool:
    try:
        History(scenario).run()
    except Violation:
        return True
    return False
