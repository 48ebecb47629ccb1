"""The state of a series: a fold over its log. Equal logs give equal states; nothing else is looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline.errors import ArtifactError
from pipeline.series.entries import (
    COLD,
    AnyEntry,
    Decided,
    Dropped,
    Figure,
    Parent,
    Policy,
    Promoted,
    Refused,
    Released,
    RolledBack,
    Void,
)

OPEN, VOID, PROMOTED, REFUSED, WITHDRAWN = "open", "void", "promoted", "refused", "withdrawn"
DROPPED, DUE = "dropped", "due"
WAITING = (REFUSED, WITHDRAWN)
"""What a person has to decide about."""


@dataclasses.dataclass(frozen=True)
class Generation:
    """A generation, from its decision on."""

    decided: Decided
    status: str = OPEN
    model: str = ""
    """digest, once it is promoted"""
    figures: tuple[Figure, ...] = ()
    why: str = ""
    ended: int = 0
    """number of the entry that promoted or refused it; 0: none yet"""
    at: float = 0.0
    """when that was"""

    @property
    def name(self) -> str:
        return self.decided.name

    @property
    def folder(self) -> str:
        return self.decided.folder

    @property
    def as_parent(self) -> Parent:
        return Parent(self.name, self.folder, self.model)


@dataclasses.dataclass(frozen=True)
class Held:
    """What the log says of a partition.

    Attributes:
      status: OPEN, PROMOTED, REFUSED, WITHDRAWN, DROPPED, or DUE again.
      folder: of the generation that has it.
      forced: with DUE, whether gates only warn next time.
    """

    status: str
    folder: str
    forced: bool = False


@dataclasses.dataclass(frozen=True)
class State:
    """What is true after some entries.

    Attributes:
      next: number of the next entry.
      generations: folder -> generation, in the order of decisions.
      current: folder of what is current, or "".
      partitions: name -> what became of it.
    """

    next: int = 0
    policy: Policy | None = None
    generations: Mapping[str, Generation] = dataclasses.field(default_factory=dict)
    current: str = ""
    partitions: Mapping[str, Held] = dataclasses.field(default_factory=dict)

    @property
    def open(self) -> Generation | None:
        """The generation that is decided, and has no end yet."""
        return next((one for one in reversed(list(self.generations.values())) if one.status == OPEN), None)

    def chain(self, folder: str | None = None) -> Iterator[Generation]:
        """The current generation (or that in `folder`), the one it follows, and so on to the first."""
        folder = self.current if folder is None else folder
        while folder:
            generation = self.generations[folder]
            yield generation
            folder = generation.decided.follows

    def depth(self) -> int:
        """Generations since the last one without a parent."""
        return next((i for i, one in enumerate(self.chain()) if one.decided.mode == COLD), 0)

    def promoted(self) -> list[Generation]:
        """Those on the chain of the current one, in order."""
        return list(self.chain())[::-1]

    def named(self, name: str) -> Generation | None:
        """The generation of a name on the chain of the current one; of several, the newest."""
        return next((one for one in self.chain() if one.name == name), None)


class _Fold:
    """The state while entries are added."""

    def __init__(self) -> None:
        self.next = 0
        self.policy: Policy | None = None
        self.generations: dict[str, Generation] = {}
        self.current = self.open = ""
        self.partitions: dict[str, Held] = {}

    def add(self, entry: AnyEntry) -> None:
        if entry.number != self.next:
            raise _wrong(entry, f"the one before it is {self.next - 1:,}")
        if isinstance(entry, Policy):
            self.policy = entry
        elif self.policy is None:
            raise _wrong(entry, "the first one has to be a policy")
        elif isinstance(entry, Decided):
            self._decided(entry)
        elif isinstance(entry, Void):
            generation = self._ending(entry, entry.folder, VOID, why=entry.why)
            self._move(generation, DUE, generation.decided.forced)
        elif isinstance(entry, Promoted):
            generation = self._ending(entry, entry.folder, PROMOTED, model=entry.model, figures=entry.figures)
            if generation.decided.follows != self.current:
                raise _wrong(entry, "what it follows is not current")
            self._move(generation, PROMOTED)
            self.current = entry.folder
        elif isinstance(entry, Refused):
            generation = self._ending(entry, entry.folder, REFUSED, figures=entry.figures, why=entry.why)
            self._move(generation, REFUSED)
        elif isinstance(entry, RolledBack):
            self._rolled_back(entry)
        else:
            self._settled(entry)
        self.next += 1

    def _decided(self, entry: Decided) -> None:
        held = self.partitions.get(entry.partition)
        if entry.folder in self.generations or self.open:
            raise _wrong(entry, "another generation is open, or is in this folder")
        if entry.follows != self.current:
            raise _wrong(entry, "what it follows is not current")
        if entry.partition and held and held.status != DUE:
            raise _wrong(entry, f"partition {entry.partition} is {held.status}")
        self.generations[entry.folder] = Generation(entry)
        self.open = entry.folder
        if entry.partition:
            self.partitions[entry.partition] = Held(OPEN, entry.folder)

    def _ending(self, entry: AnyEntry, folder: str, status: str, **said: Any) -> Generation:
        generation = self.generations.get(folder)
        if generation is None or folder != self.open:
            raise _wrong(entry, f"no generation is open in {folder}")
        changed = dataclasses.replace(generation, status=status, ended=entry.number, at=entry.at, **said)
        self.generations[folder], self.open = changed, ""
        return changed

    def _move(self, generation: Generation, status: str, forced: bool = False) -> None:
        if partition := generation.decided.partition:
            self.partitions[partition] = Held(status, generation.folder, forced)

    def _rolled_back(self, entry: RolledBack) -> None:
        expected = []
        for generation in State(generations=self.generations, current=self.current).chain():
            if generation.folder == entry.folder:
                break
            expected.append(generation.folder)
        else:
            raise _wrong(entry, f"{entry.folder} is not among those before the current one")
        if sorted(expected) != sorted(entry.withdrawn):
            raise _wrong(entry, "it names others than those after the generation")
        for folder in entry.withdrawn:
            self.generations[folder] = dataclasses.replace(self.generations[folder], status=WITHDRAWN)
            self._move(self.generations[folder], WITHDRAWN)
        self.current = entry.folder

    def _settled(self, entry: Released | Dropped) -> None:
        held = self.partitions.get(entry.partition)
        if held is None or held.status not in WAITING:
            raise _wrong(entry, f"partition {entry.partition} is neither refused nor withdrawn")
        if isinstance(entry, Released):
            self.partitions[entry.partition] = Held(DUE, held.folder, entry.forced)
        else:
            self.partitions[entry.partition] = Held(DROPPED, held.folder)


def fold(entries: Iterable[AnyEntry]) -> State:
    """The state after these entries; ArtifactError where one does not follow from those before."""
    state = _Fold()
    for entry in entries:
        state.add(entry)
    return State(state.next, state.policy, state.generations, state.current, state.partitions)


def _wrong(entry: AnyEntry, why: str) -> ArtifactError:
    kind = type(entry).__name__.lower()
    return ArtifactError(
        f"entry {entry.number:,} of the log ({kind}) does not follow from those before it: {why}",
        "restore the log from a copy",
    )
