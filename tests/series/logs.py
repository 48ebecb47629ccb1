"""Logs for tests, written by hand or at random."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec

from pipeline.series.decisions import Decision, decide
from pipeline.series.entries import (
    AnyEntry,
    Decided,
    Dropped,
    Entry,
    Figure,
    Policy,
    Promoted,
    Refused,
    Released,
    RolledBack,
    Void,
)
from pipeline.series.partitions import Arrived, File, Fingerprint, Listing, base_of
from pipeline.series.state import DUE, WAITING, State, fold

DIGEST = "0" * 64


def numbered(entries: Iterable[Entry]) -> list[AnyEntry]:
    return [msgspec.structs.replace(entry, number=number) for number, entry in enumerate(entries)]


def decided(decision: Decision, forget: tuple[str, ...] = ()) -> Decided:
    return Decided(
        name=decision.name,
        partition=decision.partition,
        folder=decision.folder,
        mode=decision.mode,
        follows=decision.follows.folder if decision.follows else "",
        parent=decision.parent.as_parent if decision.parent else None,
        manifest="manifests/x.parquet",
        manifest_digest=DIGEST,
        files=len(decision.files),
        bytes=1,
        fingerprint=Fingerprint.of((file.path, file.size, file.version) for file in decision.files).text,
        forced=decision.forced,
        forget=forget,
    )


class Series:
    """A series of which only the log is there: what lies in the input is told to it."""

    def __init__(self, **policy: object):
        self.entries: list[AnyEntry] = []
        self.files: dict[str, set[str]] = {}
        self.taken: dict[str, tuple[str, ...]] = {}
        """folder of a generation -> the paths that it took"""
        self.add(Policy(root="/texts", by="dt=*", **policy))

    @property
    def state(self) -> State:
        return fold(self.entries)

    def add(self, entry: Entry) -> None:
        self.entries = numbered([*self.entries, entry])

    def listing(self) -> Listing:
        """What a poll would find; every folder that has files is closed."""
        arrived = {}
        state = self.state
        for base, paths in self.files.items():
            held = [one.folder for name, one in state.partitions.items() if base_of(name) == base and one.status != DUE]
            known = {path for folder in held for path in self.taken[folder]}
            new = tuple(File(base, path, 1, "1") for path in sorted(paths - known))
            if new or not held:
                arrived[base] = Arrived(True, new)
        return Listing(arrived)

    def decide(self) -> Decision | None:
        decision = decide(self.listing(), self.state)
        if decision:
            self.taken[decision.folder] = tuple(file.path for file in decision.files)
            self.add(decided(decision, self.state.policy.forget))
        return decision

    def promote(self, **figures: float) -> None:
        """The open generation becomes current."""
        generation = self.state.open
        found = tuple(Figure(gate, value) for gate, value in figures.items())
        self.add(Promoted(name=generation.name, folder=generation.folder, model=DIGEST, figures=found))

    def refuse(self) -> None:
        generation = self.state.open
        self.add(Refused(name=generation.name, folder=generation.folder, why="bad"))

    def day(self, name: str, **figures: float) -> None:
        """A day that arrives and is promoted."""
        self.files.setdefault(name, set()).add(f"dt={name}/part-0")
        assert self.decide().name == name
        self.promote(**figures)

    def roll_back(self, folder: str) -> None:
        withdrawn = []
        for generation in self.state.chain():
            if generation.folder == folder:
                break
            withdrawn.append(generation.folder)
        self.add(RolledBack(name=folder.rpartition("/")[2], folder=folder, withdrawn=tuple(withdrawn)))


def random_history(seed: int, steps: int = 60) -> Series:
    """Arrivals, generations and people's decisions in any order that is possible."""
    draw = random.Random(seed)
    series = Series(retrain_every=draw.choice([0, 3, 7]), mode=draw.choice(["update", "warm", "cold"]))
    for step in range(steps):
        state = series.state
        if draw.random() < 0.5:
            day = f"2026-11-{draw.randrange(1, 12):02}"
            series.files.setdefault(day, set()).add(f"dt={day}/part-{step}")
        if state.open:
            if state.open.decided.follows != state.current:
                series.refuse()
            elif draw.random() < 0.6:
                series.promote()
            elif draw.random() < 0.7:
                series.refuse()
            else:
                series.add(Void(folder=state.open.folder, why="changed"))
        elif draw.random() < 0.6:
            series.decide()
        waiting = [name for name, held in series.state.partitions.items() if held.status in WAITING]
        if waiting and draw.random() < 0.3:
            name = draw.choice(waiting)
            kind = draw.choice([Released, Dropped])
            series.add(kind(partition=name))
        chain = [one.folder for one in series.state.chain()]
        if len(chain) > 1 and draw.random() < 0.1:
            series.roll_back(draw.choice(chain[1:]))
    return series
