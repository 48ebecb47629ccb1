"""An object store in memory: obstore's calls, with the faults that stores and networks have."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import obstore.exceptions

from tools.histories.machine import Machine

Keys = list[str]
Page = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Abilities:
    """What a store can do."""

    create: str = "yes"
    """a put with If-None-Match: "yes", "no" (it says so), "ignored", or "racy" (it looks, and then writes)"""
    replace: str = "yes"
    """a put with If-Match, likewise"""
    lag: float = 0.0
    """seconds for which a listing may be old"""


@dataclasses.dataclass
class _Object:
    data: bytes
    etag: str
    since: float


class _Result:
    def __init__(self, item: dict[str, Any], data: bytes):
        self.meta, self._data = item, data

    def bytes(self) -> bytes:
        return self._data


class Bucket:
    """Takes the place of obstore's client. A call is a request (before which it may be lost) and an answer (likewise).

    `landed` and `removed` are called as by `Disk`.
    """

    def __init__(self, machine: Machine, abilities: Abilities):
        self.machine, self.abilities = machine, abilities
        self.objects: dict[str, _Object] = {}
        self.landed: Callable[[str, bytes, bytes | None], None] = lambda path, data, before: None
        self.removed: Callable[[str, bytes], None] = lambda path, before: None
        self._versions = 0

    def peek(self, path: str) -> bytes | None:
        """The bytes of an object, None where there is none; for those who check."""
        one = self.objects.get(path)
        return one.data if one else None

    def contents(self, top: str) -> dict[str, bytes]:
        """Path below `top` -> bytes; for those who check."""
        return {key[len(top) :]: one.data for key, one in self.objects.items() if key.startswith(top)}

    # ---- obstore's calls

    def get(self, key: str) -> _Result:
        self._request("get", key)
        one = self._object(key)
        result = _Result(self._item(key, one), one.data)
        self._answer(key)
        return result

    def get_range(self, key: str, start: int, length: int) -> bytes:
        self._request("get range", key)
        data = self._object(key).data
        if start >= len(data):
            raise obstore.exceptions.GenericError("416 Range Not Satisfiable")
        return data[start : start + length]

    def head(self, key: str) -> dict[str, Any]:
        self._request("head", key)
        return self._item(key, self._object(key))

    def list(self, prefix: str | None, chunk_size: int = 1000) -> Iterator[Page]:
        keys = self._listed(prefix or "")
        for start in range(0, len(keys), 5):
            if start:
                self._request("list", prefix or "")
            yield [self._item(key, one) for key in keys[start : start + 5] if (one := self.objects.get(key))]

    def list_with_delimiter(self, prefix: str) -> dict[str, Any]:
        keys = [key for key in self._listed(prefix) if "/" in key[len(prefix) :]]
        return {"common_prefixes": sorted({prefix + key[len(prefix) :].partition("/")[0] for key in keys})}

    def put(self, key: str, data: Any, mode: Any = None) -> None:
        data = bytes(data)
        self._request("put" if mode is None else "put if", key)
        draw = self.machine.random.random
        if mode == "create":
            self._put_if(key, data, self.abilities.create, lambda: key not in self.objects, _exists)
        elif mode is not None:
            wanted = mode["e_tag"]
            self._put_if(key, data, self.abilities.replace, lambda: self._etag(key) == wanted, _other)
        else:
            if self.machine.fails() and draw() < 0.5:
                raise obstore.exceptions.GenericError("409 Conflict: another write is under way")
            self._land(key, data)
        if not self.machine.fails():
            return self._answer(key)
        self.machine.note("the answer is lost, and the client asks again")
        self.machine.step("put again", key)
        if mode is None:
            self._land(key, data)
        elif mode == "create" and self.abilities.create != "ignored":
            raise _exists()
        elif mode != "create" and self.abilities.replace != "ignored":
            raise _other()
        return None

    def delete(self, key: str) -> None:
        self._request("delete", key)
        one = self.objects.pop(key, None)
        if one:
            self.removed(key, one.data)
        self._answer(key)

    # ---- what happens to them

    def _request(self, what: str, key: str) -> None:
        self.machine.step(what, key)
        if self.machine.fails():
            self.machine.note("fails")
            raise obstore.exceptions.GenericError("503 Service Unavailable")

    def _answer(self, key: str) -> None:
        self.machine.step("answer", key)
        if self.machine.fails():
            self.machine.note("the answer is lost")
            raise obstore.exceptions.GenericError("error decoding response body")

    def _put_if(
        self, key: str, data: bytes, ability: str, holds: Callable[[], bool], refusal: Callable[[], Exception]
    ) -> None:
        if ability == "no":
            raise obstore.exceptions.NotSupportedError("501 Not Implemented")
        if ability != "ignored" and not holds():
            raise refusal()
        if ability == "racy":
            # Long enough for eight requests at once: simulated ones begin one after the other.
            self.machine.sleep((20 + 20 * self.machine.random.random()) * (0.001 + self.machine.rates.seconds))
        elif ability == "yes" and self.machine.fails():
            self.machine.note("conflict, and nothing landed")
            raise refusal()
        self._land(key, data)

    def _land(self, key: str, data: bytes) -> None:
        before = self.objects.get(key)
        self._versions += 1
        etag = hashlib.md5(data).hexdigest()
        self.objects[key] = _Object(data, etag, self.machine.clock)
        self.landed(key, data, before.data if before else None)

    def _etag(self, key: str) -> str:
        one = self.objects.get(key)
        return one.etag if one else ""

    def _object(self, key: str) -> _Object:
        one = self.objects.get(key)
        if one is None:
            raise FileNotFoundError(key)
        return one

    def _item(self, key: str, one: _Object) -> dict[str, Any]:
        modified = datetime.datetime.fromtimestamp(one.since, datetime.UTC)
        return {"path": key, "size": len(one.data), "e_tag": one.etag, "version": None, "last_modified": modified}

    def _listed(self, prefix: str) -> Keys:
        self._request("list", prefix)
        since = self.machine.clock - self.abilities.lag * self.machine.random.random()
        keys = [key for key, one in self.objects.items() if key.startswith(prefix)]
        if self.abilities.lag:
            keys = [key for key in keys if self.objects[key].since <= since]
        return sorted(keys)


def _exists() -> Exception:
    return obstore.exceptions.AlreadyExistsError("the object exists")


def _other() -> Exception:
    return obstore.exceptions.PreconditionError("412 Precondition Failed")
