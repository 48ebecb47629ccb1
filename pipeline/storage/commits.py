"""Do it once: look for the record of a piece of work; if none is there, do the work, store it, record it.

The lock is read before a record is written and again after it. So a command that lost the lock stops
at its next commit. What it had stored until then lies under its own stage key: beside, never over, what
a command with other options makes; a command with the same options writes the same bytes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, BinaryIO

from pipeline.errors import InterruptedRunError
from pipeline.runtime import interruption
from pipeline.storage.lock import Lock
from pipeline.storage.records import KEY_DIGITS, Artifact, Record, Records, stage_folder
from pipeline.storage.storage import Data

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Made = tuple[Sequence[Artifact], "DataclassInstance"]
"""(artefacts, numbers) of a piece of work; numbers are a dataclass, which `Record.read` gives back."""


@dataclasses.dataclass(frozen=True)
class Commits:
    """The pieces of work of one stage. Picklable.

    Attributes:
      key: the stage key.
      folder: of the artefacts; by default it is called as the stage.
      lock_token: of the lock under which the work is done; "" to read alone.
    """

    records: Records
    stage: str
    key: str
    folder: str = ""
    lock_token: str = ""

    def beside(self, stage: str, folder: str = "") -> Commits:
        """Another stage under the same key."""
        return dataclasses.replace(self, stage=stage, folder=folder)

    def find(self, name: str, check: str = "size") -> Record | None:
        """The record of a piece that an earlier attempt has committed, where its artefacts are whole.

        Args:
          check: compare the "size" of the artefacts, or read them for their "digest".
        """
        return self.records.valid(self.stage, name, self.key, check)

    def load(self, name: str) -> Record | None:
        """As find; the artefacts are not looked at."""
        return self.records.load(self.stage, name, self.key)

    def all(self) -> list[Record]:
        """Every whole record, by name."""
        return self.records.all(self.stage, self.key)

    def earlier(self, name: str) -> Record | None:
        """The record of an earlier attempt whose artefacts have their digests.

        Where nothing of the stage was recorded when this object was first asked, no record is looked for. A fresh
        run so saves a request for each piece, and a bundle that is tried again does its work again.
        """
        return self.find(name, "digest") if self._has_begun else None

    def once(self, name: str, make: Callable[[], Made]) -> Record:
        """The record of a piece of work: of an `earlier` attempt, else of what `make` makes now."""
        return self.earlier(name) or self.commit(name, *make())

    @functools.cached_property
    def _has_begun(self) -> bool:
        return self.records.has_any(self.stage, self.key)

    def path(self, tail: str) -> str:
        """Of an artefact, from its path in the folder of the stage."""
        return f"{self.folder or self.stage}/{self.key[:KEY_DIGITS]}/{tail}"

    def put(self, tail: str, data: Data) -> Artifact:
        """Stores an artefact, for `commit`."""
        return self.records.write_artifact(self.path(tail), data)

    def stream(self, tail: str, write: Callable[[BinaryIO], object]) -> Artifact:
        """Stores what `write` writes into the file that it gets."""
        return self.records.stream_artifact(self.path(tail), write)

    def record(self, name: str, artifacts: Sequence[Artifact] = (), numbers: DataclassInstance | None = None) -> Record:
        """What `commit` writes."""
        return Record(self.stage, name, self.key, tuple(artifacts), dataclasses.asdict(numbers) if numbers else {})

    def commit(self, name: str, artifacts: Sequence[Artifact] = (), numbers: DataclassInstance | None = None) -> Record:
        """Records a piece of work; OutputInUseError where the lock is lost."""
        record = self.record(name, artifacts, numbers)
        self.check_lock()
        self.records.commit(record)
        self.check_lock()
        return record

    def remove(self, record: Record) -> None:
        """Removes a record and its artefacts; OutputInUseError where the lock is lost."""
        self.check_lock()
        self.records.remove(record)

    def delete(self, path: str) -> None:
        """Removes a record or an artefact; OutputInUseError where the lock is lost."""
        self.check_lock()
        self.records.storage.delete(path)

    def forget(self, but: str = "") -> None:
        """Removes all records of the stage, also damaged ones, but the one of this name; then files it does not name.

        A crash in between leaves files, never a record without them. The next call removes these.
        """
        kept, storage = self.load(but) if but else None, self.records.storage
        for info in storage.list(stage_folder(self.stage, self.key)):
            if kept is None or info.path != kept.path:
                self.delete(info.path)
        self.settle()
        named = {artifact.path for artifact in kept.artifacts} if kept else set()
        for info in storage.list(self.path("")):
            if info.path not in named:
                self.delete(info.path)

    def settle(self) -> None:
        """Makes sure that records of this stage that are gone stay gone. Call it before removing what none names."""
        self.records.storage.settle(stage_folder(self.stage, self.key))

    def check_lock(self) -> None:
        """OutputInUseError where another command has taken the output over. Puts the lock's expiry off.

        InterruptedRunError where the program that runs the job was interrupted.
        """
        if interruption.cancelled():
            raise InterruptedRunError("stopped; start the run again to go on")
        if self.lock_token:
            Lock.attach(self.records.storage, self.lock_token).renew()
