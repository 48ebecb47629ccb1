"""SERIES and SERIES@NAME in place of a run: the run that the log of a series says is current, or was.

The last entry that says what is current decides. A reader so sees a whole generation that was promoted, or the one
before it. `pipeline/series` writes the log; here is what a reader needs of it.
"""

from __future__ import annotations

import re
from typing import Any

from pipeline.errors import ArtifactError, InputError
from pipeline.runtime.process import each
from pipeline.runtime.shown_text import shown_list
from pipeline.storage.open_storage import is_remote, open_storage
from pipeline.storage.records import unsealed_json
from pipeline.storage.storage import Storage

_LOG = "log"
_IDENTITY = "run.json"
_ENTRY = re.compile(rf"{_LOG}/[0-9]{{20}}\.json")
_FIRST = f"{_LOG}/{0:020}.json"
_SAYS = ("promoted", "rolled_back")
_FOLDER = re.compile(r"generations/[^/]+")
_NAMED = 5


def run_of(given: str) -> str | None:
    """The run that SERIES or SERIES@NAME stands for; None where it is no series.

    Raises:
      InputError: nothing is promoted yet, or no generation of that name.
    """
    storage = open_storage(given)
    if paths := _paths(storage):
        return storage.uri(_current(storage, paths))
    uri, at, name = given.rpartition("@")
    if not (uri and at and name) or "/" in name:
        return None
    storage = open_storage(uri)
    if paths := _paths(storage):
        return storage.uri(_of_name(storage, paths, name))
    return None


def resolved(given: str) -> str:
    """The run that is meant: what is current, for a series; all else stays as it is."""
    if open_storage(given).info(_IDENTITY) is not None:
        return given
    return run_of(given) or given


def what_is_current(run: str) -> str:
    """For a run that is gone from a series: what is current there, as the end of a message; "" elsewhere."""
    parts = open_storage(run).root.rstrip("/").rsplit("/generations/", 1)
    if len(parts) != 2 or "/" in parts[1]:
        return ""
    storage = open_storage(parts[0])
    paths = _paths(storage)
    return f"; the series goes on, and {_current(storage, paths)} is current" if paths else ""


def _paths(storage: Storage) -> list[str]:
    """The entries of the log, in order; [] where this is no series. Not every storage can list files."""
    if storage.info(_FIRST) is None:
        return []
    return sorted(info.path for info in storage.walk(_LOG) if _ENTRY.fullmatch(info.path))


def _current(storage: Storage, paths: list[str]) -> str:
    for path in reversed(paths):
        body = _read(storage, path)
        if body.get("entry") in _SAYS:
            return _folder(storage, path, body)
    raise InputError(f"{storage.root}: no generation of this series is promoted yet")


def _of_name(storage: Storage, paths: list[str], name: str) -> str:
    promoted: dict[str, str] = {}
    for path, data in zip(paths, each(storage.read, paths, is_remote(storage.root))):
        body = _parsed(storage, path, data)
        if body.get("entry") == "promoted":
            promoted[_folder(storage, path, body)] = str(body.get("name"))
        for folder in body.get("withdrawn", ()):
            promoted.pop(folder, None)
    folders = [folder for folder, own in promoted.items() if own == name]
    if not folders:
        last = shown_list(list(promoted.values())[-_NAMED:]) or "none"
        raise InputError(f"{storage.root}@{name}: there is no such generation; the last ones are {last}")
    return folders[-1]


def _read(storage: Storage, path: str) -> dict[str, Any]:
    return _parsed(storage, path, storage.read(path))


def _parsed(storage: Storage, path: str, data: bytes) -> dict[str, Any]:
    body = unsealed_json(data)
    if body is None:
        raise ArtifactError(f"{storage.uri(path)} is damaged", "restore it from a copy: the log is what the series is")
    return body


def _folder(storage: Storage, path: str, body: dict[str, Any]) -> str:
    folder = str(body.get("folder"))
    if not _FOLDER.fullmatch(folder):
        raise ArtifactError(f"{storage.uri(path)} names no generation", "restore it from a copy")
    return folder
