"""The lock of an output: only one run at a time writes to it.

The lock is an object with a random token and an expiry. A run renews it at each commit, and stops if it finds another
token. A lock can be taken over when it has expired, or when its process ran on this host and is dead. Every change is a
compare-and-swap, so of two runs that take over at once only one wins.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator

from pipeline.errors import ArtifactError, OutputInUseError
from pipeline.runtime.messages import say, warn
from pipeline.runtime.shown_text import shown
from pipeline.storage.exclusion import has_sure_swap
from pipeline.storage.storage import Storage
from pipeline.storage.world import world

PATH = "lock.json"
LIFETIME = 600.0
"""Seconds from a renewal to the expiry."""

_POLL = 0.5
_RELEASED = "released "
"""Prefix of the token of a lock that is about to be removed."""
_UNSURE = (
    "this store has no conditional replacement (PUT with If-Match), so a command that is paused for minutes may write"
    " its lock over that of another that has taken over: do not start two commands in one output"
)
_ATTEMPTS = 20
"""Attempts of a change while others change the lock at the same time."""


def writer_of(token: str) -> str:
    """The name of a lock's holder in the names of temporary files."""
    return token[:8]


@dataclasses.dataclass(frozen=True)
class _Holder:
    """The content of lock.json. Times are seconds since 1970."""

    token: str
    host: str
    pid: int
    process: str
    """identifies the process on its host, since pids are reused; "" if any process may renew"""
    since: float
    expires: float

    def is_alive(self, now: float) -> bool:
        """Whether the lock may not be taken over."""
        return self.expires > now and not world().is_dead(self.host, self.pid, self.process)

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> _Holder | None:
        try:
            holder = cls(**json.loads(data))
            time.gmtime(holder.since + holder.expires)
            return holder if isinstance(holder.token, str) and isinstance(holder.pid, int) else None
        except (ValueError, TypeError, OverflowError, OSError, RecursionError):
            return None


def is_held(storage: Storage) -> bool:
    """Whether a command is using the output: its lock has not expired, and its process is not known to be dead."""
    data = storage.find(PATH)
    holder = _Holder.from_json(data) if data is not None else None
    return holder is not None and holder.is_alive(world().time())


class Lock:
    """The lock of an output, as `with Lock(storage):` or by acquire, renew, release.

    Workers renew the lock that the driver has acquired: they get `lock.token`, a string, and call
    `Lock.attach(storage, token).renew()`.
    """

    def __init__(self, storage: Storage, lifetime: float = LIFETIME, take_over: bool = False):
        """With `take_over`, also where the store cannot exclude that another command takes over at the same time."""
        self.lifetime, self.take_over = lifetime, take_over
        self._is_sure = True
        self.is_handed_over = False
        """whether workers hold it now, and this process does not release it"""
        self._hold(storage, world().token(16))

    def _hold(self, storage: Storage, token: str) -> None:
        self.token = token
        self.storage = storage.written_by(self.writer)

    @property
    def writer(self) -> str:
        """The name of this lock's holder in the names of temporary files."""
        return writer_of(self.token)

    @classmethod
    def attach(cls, storage: Storage, token: str) -> Lock:
        """A lock that was acquired by another process, or by another object of this one."""
        lock = cls(storage)
        lock._hold(storage, token)
        return lock

    def acquire(self, wait: float = 0.0) -> Lock:
        """Takes the lock, and retries for `wait` seconds.

        Raises:
          OutputInUseError: another run holds it; the message names its process.
          InputError: the store cannot keep two commands apart.
        """
        self._is_sure = has_sure_swap(self.storage)
        if not self._is_sure:
            warn(_UNSURE)
        until = world().monotonic() + wait
        while not self._try():
            if world().monotonic() >= until:
                raise self._in_use(self.storage.find(PATH))
            world().sleep(min(_POLL, max(0.0, until - world().monotonic())))
        return self

    def renew(self) -> None:
        """Postpones the expiry; OutputInUseError if another run has the lock now.

        Call it before every commit. It reads the lock each time, but writes it only when a tenth of its lifetime has
        passed.
        """

        def put_off(holder: _Holder, now: float) -> _Holder | None:
            if self.lifetime * 0.9 < holder.expires - now <= self.lifetime:
                return None
            # When another process renews, the run does not depend on the process that acquired the lock any more.
            process = holder.process if self._is_me(holder) else ""
            return dataclasses.replace(holder, process=process, expires=now + self.lifetime)

        self._change(put_off)

    def hand_over(self) -> None:
        """Leaves the lock to the workers: from now on only its expiry removes it, not the end of this process."""
        self.is_handed_over = True
        self._change(lambda holder, now: dataclasses.replace(holder, process="", expires=now + self.lifetime))

    def _change(self, change: Callable[[_Holder, float], _Holder | None]) -> None:
        """Replaces the lock by what `change` returns, unless that is None.

        Raises:
          OutputInUseError: the lock is not this run's any more.
        """
        for _ in range(_ATTEMPTS):
            data = self.storage.find(PATH)
            holder = _Holder.from_json(data) if data is not None else None
            if data is None or holder is None or holder.token != self.token:
                raise self._lost(data)
            changed = change(holder, world().time())
            if changed is None or self.storage.swap(PATH, data, changed.to_json()):
                return
        raise self._lost(self.storage.find(PATH))

    def release(self) -> None:
        """Removes the lock if this run holds it, else does nothing.

        Storage has no conditional delete. So the lock is first swapped for one that is never renewed, and never taken
        over while this process is alive. Then a worker that renews at the same time cannot restore the lock, and the
        lock of another run is never deleted.
        """
        if self.is_handed_over:
            return
        released = _RELEASED + self.token
        for _ in range(_ATTEMPTS):
            data = self.storage.find(PATH)
            holder = _Holder.from_json(data) if data is not None else None
            if data is None or holder is None or holder.token not in (self.token, released):
                return
            try:
                # An earlier call, or one whose answer was lost, may have swapped it already.
                is_released = holder.token == released or self.storage.swap(
                    PATH, data, self._held_here(released).to_json()
                )
            except ArtifactError:  # a full disk has no room for the new lock, but allows the deletion
                is_released = True
            if is_released:
                self.storage.delete(PATH)
                return

    def __enter__(self) -> Lock:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    @contextlib.contextmanager
    def kept_alive(self) -> Iterator[Lock]:
        """While open, renews the lock in the background, for work with long times between commits.

        If the lock is lost, or the storage fails, this is logged here, and the next renew() raises it.
        """

        def beat() -> bool:
            try:
                self.renew()
            except OutputInUseError as error:
                warn(str(error))
                return False
            except Exception as error:
                warn(f"the lock was not renewed, trying again: {error}")
            return True

        with world().in_background(beat, self.lifetime / 4, "renew-lock"):
            yield self

    def _try(self) -> bool:
        now = world().time()
        new_lock = self._held_here(self.token).to_json()
        if self.storage.create(PATH, new_lock):
            return True
        data = self.storage.find(PATH)
        if data is None:  # released since
            return self.storage.create(PATH, new_lock)
        holder = _Holder.from_json(data)
        if holder is None:
            return self._is_old() and self._may_take_over() and self.storage.swap(PATH, data, new_lock)
        if holder.token == self.token:  # created by this call, whose answer was lost and which was repeated
            return True
        if holder.is_alive(now):
            return False
        if not (self._may_take_over() and self.storage.swap(PATH, data, new_lock)):
            return False
        say(f"took over the output from process {holder.pid} on {shown(holder.host)}, which has ended")
        return True

    def _is_old(self) -> bool:
        """Whether an invalid lock was written long ago. Without hard links, a killed process may leave half a lock."""
        info = self.storage.info(PATH)
        return info is not None and info.age(world().time()) > self.lifetime

    def _may_take_over(self) -> bool:
        """Whether a swap excludes others, or the user says that there are none; else OutputInUseError."""
        if not (self._is_sure or self.take_over):
            raise OutputInUseError(
                f"{self.storage.uri(PATH)} is of a command that seems to have ended, and this store has no conditional"
                " replacement (PUT with If-Match): if two commands took over at once, neither would notice. If no other"
                " command uses this output, repeat this one with --take_over"
            )
        return True

    def _held_here(self, token: str) -> _Holder:
        now, me = world().time(), world().pid()
        return _Holder(token, world().host(), me, world().process_of(me), now, now + self.lifetime)

    @staticmethod
    def _is_me(holder: _Holder) -> bool:
        me = world().pid()
        return holder.pid == me and holder.host == world().host() and holder.process == world().process_of(me)

    def _in_use(self, data: bytes | None) -> OutputInUseError:
        where, lock = self.storage.root, self.storage.uri(PATH)
        if data is None:
            return OutputInUseError(f"{where} was in use until just now: start the run again")
        holder = _Holder.from_json(data)
        if holder is None:
            return OutputInUseError(f"{lock} is not a valid lock: if no run uses {where}, delete it")
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
