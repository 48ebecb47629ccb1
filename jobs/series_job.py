"""What `beam2vec follow` and `beam2vec promote` do, as calls: one generation after the other, until nothing is due."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from jobs.generation import Maker
from jobs.sources import Request
from pipeline.errors import InputError
from pipeline.runs.directory import PATH as IDENTITY
from pipeline.runtime.messages import say, warn
from pipeline.runtime.shown_text import counted, shown_list
from pipeline.series import gates
from pipeline.series.decisions import Decision, check_partition, decide
from pipeline.series.entries import (
    Decided,
    Dropped,
    Entry,
    Promoted,
    Refused,
    Released,
    RolledBack,
    Void,
)
from pipeline.series.events import COMPLETE, FAIL, Attempt
from pipeline.series.log import Log
from pipeline.series.partitions import (
    File,
    Fingerprint,
    Listing,
    Places,
    altered,
    files_of,
    poll,
    read_manifest,
    settled,
    write_manifest,
)
from pipeline.series.policies import Settings, changes, policy_after
from pipeline.series.retention import kept, prune
from pipeline.series.state import PROMOTED, REFUSED, WAITING, WITHDRAWN, Generation, State
from pipeline.storage.lock import LIFETIME, Lock
from pipeline.storage.records import canonical_json
from pipeline.storage.world import world

CURRENT = "current.json"
SUCCESS, REFUSAL = "_SUCCESS", "_REFUSED"
_POLL = "poll.json"
_VOIDS = 3
"""Times that one call voids a generation before it stops: its files change all the time."""


@dataclasses.dataclass(frozen=True)
class Call:
    """What a call of follow wants.

    Attributes:
      request: for training: options of execution and Beam's are taken from it.
      partition: that one alone; "" for all that are due.
      waits: whether it waits for another command at work in the series, as long as its lock is valid.
      accepts_loss: go on although more than half of the known files are gone or changed.
    """

    series: str
    settings: Settings
    request: Request
    partition: str = ""
    waits: bool = True
    accepts_loss: bool = False


class _Poll(msgspec.Struct):
    """What a poll leaves for the next one."""

    present: int = 0
    """files that were taken, and are as they were"""
    lost: int = 0
    """files that were taken, and are gone or others"""
    waiting: dict[str, str] = {}
    """without --by: files that are taken if they stay as they are; see `partitions.settled`"""


@dataclasses.dataclass
class Followed:
    """What a call has done."""

    promoted: list[Generation] = dataclasses.field(default_factory=list)
    refused: list[Generation] = dataclasses.field(default_factory=list)
    state: State = dataclasses.field(default_factory=State)
    began: float = 0.0
    """when the series was"""

    def is_overdue(self, seconds: float) -> bool:
        """Whether nothing was promoted for so long, by this machine's clock."""
        last = self.state.generations[self.state.current].at if self.state.current else self.began
        return world().time() - last > seconds

    def described(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "promoted": [one.name for one in self.promoted],
            "refused": [{"name": one.name, "why": one.why} for one in self.refused],
            "current": self.state.generations[self.state.current].name if self.state.current else None,
            "folder": self.state.current or None,
        }


def follow(call: Call) -> Followed:
    """Makes all generations that are due.

    Raises:
      OutputInUseError: another command is at work in the series.
      InputError: a setting or the input cannot be used.
    """
    log = Log(call.series)
    if log.storage.info(IDENTITY) is not None:
        raise InputError(f"--series={call.series} is a run: choose another folder")
    with _holding(log, call.waits) as release:
        log.refresh()
        _set_policy(log, call.settings)
        following = _Following(log, call, Maker(log.storage, call.request, release))
        following.go_on()
        return following.done


class _Following:
    """One call, with the log as far as it was read."""

    def __init__(self, log: Log, call: Call, maker: Maker):
        self.log, self.call, self.maker = log, call, maker
        self.done = Followed()
        self._voids = 0

    def go_on(self) -> None:
        _settle(self.log)
        while self._one():
            _settle(self.log)
        for folder in prune(self.log.storage, self.log.state):
            say(f"removed {self.log.storage.uri(folder)}")
        self.done.state, self.done.began = self.log.state, self.log.entries[0].at

    @property
    def _places(self) -> Places:
        assert self.log.state.policy
        return Places(self.log.state.policy)

    def _one(self) -> bool:
        """Finishes or decides one generation; False where nothing is due."""
        state = self.log.state
        if generation := state.open:
            self._finish(generation)
            return True
        places = self._places
        listing = self._listing(places)
        if self.call.partition:
            check_partition(listing, state, self.call.partition)
        decision = decide(listing, state, self.call.partition)
        if decision is None:
            _tell_others(listing)
            return False
        self.log.append(self._decided(decision, places))
        return True

    def _listing(self, places: Places) -> Listing:
        """What is in the input; InputError if more than half of what was there at the last poll is gone or changed."""
        storage = self.log.storage
        before, data = _Poll(), storage.find(_POLL)
        with contextlib.suppress(msgspec.MsgspecError):  # nothing depends on it
            before = msgspec.json.decode(data, type=_Poll) if data else before
        listing = poll(places, self.log.state, storage)
        lost = listing.known - listing.present
        if (lost - before.lost) * 2 > before.present and not self.call.accepts_loss:
            raise InputError(
                f"{lost - before.lost:,} of {before.present:,} files that this series has taken are gone from"
                f" {places.root} at once, or are others: check --input_root; --accept_loss goes on"
            )
        waiting: dict[str, str] = {}
        if not places.policy.by:
            listing, waiting = settled(listing, before.waiting)
        storage.put(_POLL, msgspec.json.encode(_Poll(listing.present, lost, waiting)))
        return listing

    def _decided(self, decision: Decision, places: Places) -> Decided:
        state = self.log.state
        files = [*decision.files, *self._old_files(decision, places)]
        name = decision.folder.rpartition("/")[2]
        manifest, digest = write_manifest(self.log.storage, name, files)
        assert state.policy
        options, first = self.maker.options_for(state.policy, decision)
        return Decided(
            name=decision.name,
            partition=decision.partition,
            folder=decision.folder,
            mode=decision.mode,
            follows=decision.follows.folder if decision.follows else "",
            parent=decision.parent.as_parent if decision.parent else None,
            options=options,
            first_options=first,
            manifest=manifest,
            manifest_digest=digest,
            files=len(decision.files),
            bytes=sum(file.size for file in decision.files),
            fingerprint=Fingerprint.of((file.path, file.size, file.version) for file in decision.files).text,
            forced=decision.forced,
            forget=state.policy.forget,
        )

    def _old_files(self, decision: Decision, places: Places) -> Iterator[File]:
        """The files of the text so far, for a retrain: those that are there, as they are now."""
        by_folder: dict[str, dict[str, str]] = {}
        for generation in decision.text:
            decided = generation.decided
            for file in files_of(read_manifest(self.log.storage, decided)):
                if file.partition == decided.partition and not places.is_forgotten(file.path):
                    folder = places.folder_of(file.path)
                    by_folder.setdefault(folder, {})[file.path] = file.partition
        for folder, partitions in by_folder.items():
            for info in places.storage.walk(folder):
                if info.path in partitions:
                    yield File(partitions[info.path], info.path, info.size, info.version)

    def _finish(self, generation: Generation) -> None:
        """Makes a decided generation, and says what became of it."""
        decided, places = generation.decided, self._places
        if decided.follows != self.log.state.current:
            self._end(
                decided,
                Refused(
                    name=decided.name,
                    folder=decided.folder,
                    why="withdrawn: what it goes on from is not current any more",
                ),
            )
            return
        files = files_of(read_manifest(self.log.storage, decided))
        if why := altered(places, files):
            self._void(decided, why)
            return
        say(f"{decided.name}: {decided.mode}, {counted(decided.files, 'file')}")
        attempt = Attempt.begin(self.log.storage, decided, places.root)
        try:
            entry = self.maker.make(self.log.state, decided, files, places)
        except Exception as error:
            attempt.end(FAIL, str(error))
            raise
        if isinstance(entry, Void):
            self._void(decided, entry.why)
        else:
            self._end(decided, entry)
        attempt.end(COMPLETE if isinstance(entry, Promoted) else FAIL, getattr(entry, "why", ""))

    def _void(self, decided: Decided, why: str) -> None:
        warn(f"{decided.name}: {why}; it is decided again")
        self.log.append(Void(folder=decided.folder, why=why))
        self._voids += 1
        if self._voids == _VOIDS:
            raise InputError(f"{decided.name}: its files change all the time ({why}): write the marker last")

    def _end(self, decided: Decided, entry: Promoted | Refused) -> None:
        state = self.log.state
        if self.log.append(entry) is None:
            return  # another command has said something meanwhile
        ended = self.log.state.generations[decided.folder]
        if ended.status == REFUSED:
            self.done.refused.append(ended)
            choice = gates.remedy(self.call.series, state, ended.figures, ended.name)
            warn(f"{ended.name} is refused: {ended.why} ({choice})")
        else:
            self.done.promoted.append(ended)
            say(f"{ended.name} is current")


def _tell_others(listing: Listing) -> None:
    """What a poll has found besides what is due."""
    changed = sum(arrived.changed for arrived in listing.arrived.values())
    if changed:
        warn(f"{counted(changed, 'file')} changed after having been taken: new text needs a new file")
    open_ones = sorted(name for name, arrived in listing.arrived.items() if not arrived.closed and arrived.files)
    if open_ones:
        say(f"not closed yet: {shown_list(open_ones)}")


def _set_policy(log: Log, settings: Settings) -> None:
    while policy := policy_after(log.state, settings):
        if old := log.state.policy:
            say("; ".join(changes(old, policy)))
        if log.append(policy):
            return


@contextlib.contextmanager
def _holding(log: Log, waits: bool) -> Iterator[Callable[[], None]]:
    """The lock of a series: it saves two commands from the same work. What they do is right without it."""
    lock = Lock(log.storage)
    lock.acquire(LIFETIME if waits else 0.0)
    with contextlib.ExitStack() as stack:
        stack.callback(lock.release)
        stack.enter_context(lock.kept_alive())
        yield lock.release


def _settle(log: Log) -> None:
    """Writes what follows from the log for readers outside: current.json, and the markers of generations.

    A command that was killed between the log and these has left it to this one.
    """
    state, storage = log.state, log.storage
    says = next((entry for entry in reversed(log.entries) if isinstance(entry, Promoted | RolledBack)), None)
    if says:
        data = canonical_json(msgspec.to_builtins(says))
        if storage.find(CURRENT) != data:
            storage.put(CURRENT, data)
    for folder in kept(state):
        generation = state.generations[folder]
        marker = {PROMOTED: SUCCESS, REFUSED: REFUSAL, WITHDRAWN: REFUSAL}.get(generation.status)
        if marker is None or storage.info(f"{folder}/{marker}") is not None:
            continue
        if generation.status == WITHDRAWN:
            storage.delete(f"{folder}/{SUCCESS}")
        told = {"generation": generation.name, "status": generation.status, "why": generation.why}
        figures = msgspec.to_builtins(generation.figures)
        storage.put(f"{folder}/{marker}", canonical_json({**told, "model": generation.model, "figures": figures}))


def promote(series: str, action: str, name: str) -> State:
    """What a person decides: release, force or drop a partition, or roll back to a generation.

    It does not wait for a follower at work: who creates the next entry of the log first has it. A generation that is
    being made while its parent is withdrawn is refused at its end.

    Args:
      action: release, force, drop or roll_back.

    Raises:
      InputError: there is nothing of this name that it could be done to.
    """
    log = Log.open(series)
    while log.append(_asked(log, action, name)) is None:
        pass
    _settle(log)
    return log.state


def _asked(log: Log, action: str, name: str) -> Entry:
    state = log.state
    if action == "roll_back":
        return _rollback(log, name)
    held = state.partitions.get(name)
    if held is None or held.status not in WAITING:
        waiting = [partition for partition, one in state.partitions.items() if one.status in WAITING]
        is_now = f"is {held.status}" if held else "is not in the log"
        raise InputError(f"--{action}={name}: it {is_now}; refused or withdrawn are {shown_list(waiting) or 'none'}")
    if action == "drop":
        return Dropped(partition=name)
    return Released(partition=name, forced=action == "force")


def _rollback(log: Log, name: str) -> RolledBack:
    state = log.state
    target = state.named(name)
    chain = [one.name for one in state.chain()]
    if target is None:
        raise InputError(
            f"--roll_back={name}: there is no such generation before the current one; there are {shown_list(chain[:8])}"
        )
    if target.folder == state.current:
        raise InputError(f"--roll_back={name}: it is current already")
    if log.storage.info(f"{target.folder}/{IDENTITY}") is None:
        there = [one.name for one in state.chain() if log.storage.info(f"{one.folder}/{IDENTITY}")]
        raise InputError(f"--roll_back={name}: it was removed (--keep_days); there are {shown_list(there)}")
    withdrawn = []
    for generation in state.chain():
        if generation.folder == target.folder:
            break
        withdrawn.append(generation.folder)
    return RolledBack(name=target.name, folder=target.folder, withdrawn=tuple(withdrawn))
