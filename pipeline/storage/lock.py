"""One run at a time in an output: a lock that outlives neither its run nor its process.

The lock is an object with a random token and an expiry. Whoever commits renews
it, and stops if another token stands there. It is taken over when it has
expired, or when the process that holds it ran on this host and is dead. Every
change is a compare-and-swap, so two that take over at once do not both win.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterator

from pipeline.errors import ArtifactError, InputError, OutputInUseError
from pipeline.runtime.shown_text import shown, shown_line
from pipeline.storage.storage import NO_CONDITIONAL_CREATE, Storage
from pipeline.storage.world import world

PATH = "lock.json"
LIFETIME = 600.0
"""Seconds from a renewal to the expiry."""

_POLL = 0.5
_RELEASED = "released "
"""Before the token of a lock that is about to be removed."""
_ATTEMPTS = 20
"""Of a change, where others change the lock at the same time."""
_log = logging.getLogger(__name__)


def writer_of(token: str) -> str:
    """What stands for the holder of a lock in the names of temporary files."""
    return token[:8]


@dataclasses.dataclass(frozen=True)
class _Holder:
    """What lock.json says. Times are seconds since 1970."""

    token: str
    host: str
    pid: int
    process: str
    """Names the process on its host beyond its pid, which is used again; "" where any process may renew."""
    since: float
    expires: float

    def is_alive(self, now: float) -> bool:
        """Whether nobody may take the lock over."""
        return self.expires > now and not world().is_dead(self.host, self.pid, self.process)

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> _Holder | None:
        try:
            holder = cls(**json.loads(data))
            time.gmtime(holder.since + holder.expires)
            return holder if isinstance(holder.token, str) and isinstance(holder.pid, int) else None
        except (ValueError, TypeError, OverflowError, OSError):
            return None


def is_held(storage: Storage, path: str = PATH) -> bool:
    """Whether a command is at work in the output: its lock has not expired, and its process is not known to be dead."""
    data = storage.find(path)
    holder = _Holder.from_json(data) if data is not None else None
    return holder is not None and holder.is_alive(world().time())


class Lock:
    """The lock of an output, as `with Lock(storage):` or by acquire, renew, release.

    A worker elsewhere renews what the driver acquired: the driver hands it
    `lock.token`, a string, and it calls `Lock.attach(storage, token).renew()`.
    """

    def __init__(self, storage: Storage, path: str = PATH, lifetime: float = LIFETIME):
        self.path = path
        self.lifetime = lifetime
        self.is_handed_over = False
        """Whether workers elsewhere hold it."""
        self._hold(storage, world().token(16))

    def _hold(self, storage: Storage, token: str) -> None:
        self.token = token
        self.storage = storage.written_by(self.writer)

    @property
    def writer(self) -> str:
        """Who writes under this lock, in the names of temporary files."""
        return writer_of(self.token)

    @classmethod
    def attach(cls, storage: Storage, token: str, path: str = PATH, lifetime: float = LIFETIME) -> Lock:
        """A lock that another process, or another object of this one, acquired."""
        lock = cls(storage, path, lifetime)
        lock._hold(storage, token)
        return lock

    def acquire(self, wait: float = 0.0) -> Lock:
        """Takes the lock, trying again for `wait` seconds; OutputInUseError names who holds it."""
        until = world().monotonic() + wait
        while not self._try():
            if world().monotonic() >= until:
                raise self._in_use(self.storage.find(self.path))
            world().sleep(min(_POLL, max(0.0, until - world().monotonic())))
        return self

    def renew(self) -> None:
        """Puts the expiry off; OutputInUseError where the lock is no longer ours.

        Call it before every commit. It reads the lock each time, and writes it
        once a tenth of its lifetime has passed.
        """

        def put_off(holder: _Holder, now: float) -> _Holder | None:
            if self.lifetime * 0.9 < holder.expires - now <= self.lifetime:
                return None
            # Once any other process renews, the death of the first no longer ends the run.
            process = holder.process if self._is_me(holder) else ""
            return dataclasses.replace(holder, process=process, expires=now + self.lifetime)

        self._change(put_off)

    def hand_over(self) -> None:
        """Leaves the lock to the workers: neither release nor the end of this process removes it, only its expiry."""
        self.is_handed_over = True
        self._change(lambda holder, now: dataclasses.replace(holder, process="", expires=now + self.lifetime))

    def _change(self, change: Callable[[_Holder, float], _Holder | None]) -> None:
        """Swaps the lock for what `change` makes of it, None: for nothing; OutputInUseError where it is not ours."""
        for _ in range(_ATTEMPTS):
            data = self.storage.find(self.path)
            holder = _Holder.from_json(data) if data is not None else None
            if data is None or holder is None or holder.token != self.token:
                raise self._lost(data)
            changed = change(holder, world().time())
            if changed is None or self.storage.swap(self.path, data, changed.to_json()):
                return
        raise self._lost(self.storage.find(self.path))

    def release(self) -> None:
        """Removes the lock if it is ours, else does nothing.

        No storage deletes an object only if it still holds what was read. So the lock is first swapped for one that
        nobody renews and nobody takes over while this process lives: a worker that renews meanwhile cannot
        bring the lock back, and no other's lock is deleted.
        """
        if self.is_handed_over:
            return
        released = _RELEASED + self.token
        for _ in range(_ATTEMPTS):
            data = self.storage.find(self.path)
            holder = _Holder.from_json(data) if data is not None else None
            if data is None or holder is None or holder.token not in (self.token, released):
                return
            try:
                # It may be swapped already: by an earlier call, or one whose answer was lost.
                ours = holder.token == released or self.storage.swap(
                    self.path, data, self._held_here(released).to_json()
                )
            except ArtifactError:  # a disk that is full has no room for another lock, but lets this one go
                ours = True
            if ours:
                self.storage.delete(self.path)
                return

    def __enter__(self) -> Lock:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    @contextlib.contextmanager
    def kept_alive(self) -> Iterator[Lock]:
        """Renews in the background, for work that commits more seldom than the lock expires.

        A lost lock, or a storage that fails, is logged here and raised by the next renew().
        """

        def beat() -> bool:
            try:
                self.renew()
            except OutputInUseError as error:
                _log.error("%s", error)
                return False
            except Exception as error:
                _log.warning("the lock was not renewed, it is tried again: %s", shown_line(error))
            return True

        with world().in_background(beat, self.lifetime / 4, "renew-lock"):
            yield self

    def _try(self) -> bool:
        now = world().time()
        mine = self._held_here(self.token).to_json()
        if self.storage.create(self.path, mine):
            self._check_excludes(mine)
            return True
        data = self.storage.find(self.path)
        if data is None:  # released since
            return self.storage.create(self.path, mine)
        holder = _Holder.from_json(data)
        if holder is None:
            return self._is_old() and self.storage.swap(self.path, data, mine)
        if holder.token == self.token:  # ours: an answer that was lost, and the call tried again
            return True
        if holder.is_alive(now):
            return False
        if not self.storage.swap(self.path, data, mine):
            return False
        _log.warning("took over the output from process %d on %s, which is gone", holder.pid, shown(holder.host))
        return True

    def _is_old(self) -> bool:
        """Whether a file that is no lock was written long ago: on a disk without hard links a lock may be cut off."""
        info = self.storage.info(self.path)
        return info is not None and info.age(world().time()) > self.lifetime

    def _check_excludes(self, mine: bytes) -> None:
        """Some stores take a conditional create and ignore the condition: they would give the lock to everyone."""
        if self.storage.create(self.path, mine):
            self.storage.delete(self.path)
            raise InputError(f"{self.storage.uri(self.path)}: {NO_CONDITIONAL_CREATE}")

    def _held_here(self, token: str) -> _Holder:
        now, me = world().time(), world().pid()
        return _Holder(token, world().host(), me, world().process_of(me), now, now + self.lifetime)

    @staticmethod
    def _is_me(holder: _Holder) -> bool:
        me = world().pid()
        return holder.pid == me and holder.host == world().host() and holder.process == world().process_of(me)

    def _in_use(self, data: bytes | None) -> OutputInUseError:
        where, lock = self.storage.root, self.storage.uri(self.path)
        if data is None:
            return OutputInUseError(f"{where} was in use until now: run the same command again")
        holder = _Holder.from_json(data)
        if holder is None:
            return OutputInUseError(f"{lock} cannot be read as a lock: if no run uses {where}, delete it")
        left = max(0.0, holder.expires - world().time())
        return OutputInUseError(
            f"{where} is in use by process {holder.pid} on {shown(holder.host)} since {_clock(holder.since)}"
            f" (its lock expires {_clock(holder.expires)}, in {left:.0f} s, unless renewed):"
            f" wait for it, stop it, or choose another --output; if it is gone, delete {lock}"
        )

    def _lost(self, data: bytes | None) -> OutputInUseError:
        holder = _Holder.from_json(data) if data is not None else None
        if holder is None or holder.token.startswith(_RELEASED):
            who = "its lock was removed"
        else:
            who = f"process {holder.pid} on {shown(holder.host)} took it over"
        return OutputInUseError(f"{self.storage.root} is no longer held by this run: {who}; this run stops")


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
