"""Whether a store keeps commands apart: asks it, since some accept a condition that they do not keep.

A store that looks whether an object exists, and then writes it, passes any test of one request after the other, and
lets several win where requests meet. So requests race here, for an object of a random name.
"""

from __future__ import annotations

import threading

from pipeline.errors import InputError
from pipeline.runtime.process import each
from pipeline.storage.failures import FOLDER
from pipeline.storage.storage import NO_CONDITIONAL_CREATE, Storage
from pipeline.storage.world import world

_RACING = 8
"""Requests at once."""
_ATTEMPTS = 2
"""Races that must have several winners. One may: a command that takes the lock at that moment empties the folder."""

_asked: dict[int, tuple[object, bool]] = {}
"""id of a server's client -> (the client, whether its swaps are sure)"""
_guard = threading.Lock()


def has_sure_swap(storage: Storage) -> bool:
    """Whether a swap is sure to replace only what it was meant to replace. Asks a store once in a process.

    Raises:
      InputError: not even `create` excludes others.
    """
    server = storage.server
    if server is None:
        return True
    with _guard:
        known = _asked.get(id(server))
    if known is None:
        known = server, _ask(storage)
        with _guard:
            _asked[id(server)] = known
    return known[1]


def _ask(storage: Storage) -> bool:
    path = ""
    for _ in range(_ATTEMPTS):
        path = f"{FOLDER}/probe-{world().token(8)}"
        if _winners_of_create(storage, path) <= 1:
            break
        storage.delete(path)
    else:
        raise _unsafe(storage)
    before = storage.find(path) or b""
    winners = sum(each(lambda number: storage.swap(path, before, _content(-number)), range(1, _RACING + 1), True))
    is_sure = winners <= 1 and storage.refuses_stale_swap(path)
    storage.delete(path)
    return is_sure


def _winners_of_create(storage: Storage, path: str) -> int:
    try:
        return sum(each(lambda number: storage.create(path, _content(number)), range(_RACING), True, _RACING))
    except InputError as error:
        if NO_CONDITIONAL_CREATE not in str(error):
            raise
        raise _unsafe(storage) from error


def _unsafe(storage: Storage) -> InputError:
    return InputError(f"{storage.uri('lock.json')}: {NO_CONDITIONAL_CREATE}")


def _content(number: int) -> bytes:
    return f'"{number} {world().token(8)}"'.encode()
