"""The log of a series in its storage: read in order, and made longer by one entry at a time."""

from __future__ import annotations

import getpass
import re
from typing import TypeVar

import msgspec

from pipeline.errors import ArtifactError, InputError
from pipeline.runtime.process import each
from pipeline.series.entries import DIGITS, FOLDER, AnyEntry, Entry, from_json, path_of, to_json
from pipeline.series.state import State, fold
from pipeline.storage.open_storage import is_remote, open_storage
from pipeline.storage.storage import NO_CONDITIONAL_CREATE, Storage
from pipeline.storage.world import world

_NAME = re.compile(rf"{FOLDER}/([0-9]{{{DIGITS}}})\.json")
_Kind = TypeVar("_Kind", bound=Entry)


class Log:
    """The entries that were read so far, and the state that follows from them."""

    def __init__(self, uri: str):
        self.storage: Storage = open_storage(uri)
        self.storage.check_holds_runs()
        self.entries: list[AnyEntry] = []
        self.state = State()

    @classmethod
    def open(cls, uri: str) -> Log:
        """A series that is there; InputError if there is none."""
        log = cls(uri)
        log.refresh()
        if not log.entries:
            raise InputError(f"--series={uri}: there is no series; beam2vec follow with --input_root begins one")
        return log

    def refresh(self) -> State:
        """Reads what was added since; returns the state.

        Raises:
          ArtifactError: an entry is damaged, or missing in the middle.
        """
        listed = (_NAME.fullmatch(info.path) for info in self.storage.walk(FOLDER))
        numbers = sorted(number for match in listed if match and (number := int(match[1])) >= len(self.entries))
        expected = range(len(self.entries), len(self.entries) + len(numbers))
        for number, wanted in zip(numbers, expected):
            if number != wanted:
                place = self.storage.uri(path_of(wanted))
                raise ArtifactError(f"{place} is missing", "restore it from a copy: the log is what the series is")
        paths = [path_of(number) for number in numbers]
        for path, data in zip(paths, each(self.storage.read, paths, is_remote(self.storage.root))):
            entry = from_json(data, self.storage.uri(path))
            if path_of(entry.number) != path:
                raise ArtifactError(f"{self.storage.uri(path)} is entry {entry.number:,}", "restore it from a copy")
            self.entries.append(entry)
        if numbers:
            self.state = fold(self.entries)
        return self.state

    def append(self, entry: _Kind) -> _Kind | None:
        """Makes the entry the next one. None: another command has made that one, so the state is another now.

        The log is read up to its end afterwards.
        """
        number, token = len(self.entries), world().token(8)
        made = msgspec.structs.replace(entry, number=number, at=round(world().time(), 3), who=_who(), token=token)
        data, path = to_json(made), path_of(number)
        fold([*self.entries, made])  # type: ignore[list-item]  # it has to follow from what is there
        is_mine = self.storage.create(path, data)
        if is_mine and number == 0 and self.storage.create(path, data):
            self.storage.delete(path)
            raise InputError(f"{self.storage.uri(path)}: {NO_CONDITIONAL_CREATE}")
        if not is_mine:  # or it is: a store repeats a request whose answer was lost
            is_mine = self.storage.read(path) == data
        self.refresh()
        return made if is_mine else None


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{world().host()}"
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return world().host()
