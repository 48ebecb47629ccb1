"""What a series does next: a pure function of what lies in the input and of the log. No clock decides anything."""

from __future__ import annotations

import dataclasses
import itertools

from pipeline.errors import InputError
from pipeline.series.entries import COLD, UPDATE, WARM
from pipeline.series.partitions import File, Listing, base_of, order_of
from pipeline.series.state import DUE, Generation, State


@dataclasses.dataclass(frozen=True)
class Decision:
    """A generation that is to be made.

    Attributes:
      name: of its newest partition.
      partition: whose text is new; "" where the generation is made to forget.
      mode: cold, warm or update.
      files: of the partition.
      follows: what is current; None before the first.
      text: partitions whose text a retrain reads besides, in order.
      forced: whether gates only warn.
    """

    name: str
    partition: str
    folder: str
    mode: str
    files: tuple[File, ...]
    follows: Generation | None
    text: tuple[Generation, ...] = ()
    forced: bool = False

    @property
    def parent(self) -> Generation | None:
        """Whose model it goes on from."""
        return None if self.mode == COLD else self.follows


def decide(listing: Listing, state: State, only: str = "") -> Decision | None:
    """The oldest closed partition that is due, or what has to be forgotten; None where there is neither.

    Call it where no generation is open: that one is finished first.

    Args:
      only: of this folder alone (--partition).
    """
    if state.policy is None or state.open:
        raise ValueError("a series without a policy, or with an open generation, decides nothing")
    follows = state.generations.get(state.current)
    if follows and _has_to_forget(state):
        return Decision(follows.name, "", folder_for(follows.name, state), COLD, (), follows, _text(state))
    due = sorted(_due(listing, state, only), key=lambda entry: order_of(entry[0]))
    if not due:
        return None
    name, files = due[0]
    mode = mode_of_next(state)
    text = _text(state) if mode != UPDATE else ()
    forced = name in state.partitions and state.partitions[name].forced
    named = tuple(file._replace(partition=name) for file in files)
    return Decision(name, name, folder_for(name, state), mode, named, follows, text, forced)


def check_partition(listing: Listing, state: State, name: str) -> None:
    """InputError if --partition names nothing that is there, or a folder without a marker."""
    base = base_of(name)
    known = any(base_of(partition) == base for partition in state.partitions)
    if base not in listing.arrived and not known:
        raise InputError(f"--partition={name}: there is no such partition in the input")
    if base in listing.arrived and not listing.arrived[base].closed and not known:
        done = state.policy.done if state.policy else ""
        raise InputError(f"--partition={name} is not closed: it has no {done}")


def mode_of_next(state: State) -> str:
    """cold for the first; else as the policy says, where a retrain comes after so many updates."""
    policy = state.policy
    if not state.current or policy is None:
        return COLD
    if policy.mode != UPDATE:
        return policy.mode
    updates = sum(1 for _ in itertools.takewhile(lambda one: one.decided.mode == UPDATE, state.chain()))
    return WARM if policy.retrain_every and updates + 1 >= policy.retrain_every else UPDATE


def folder_for(name: str, state: State) -> str:
    """A folder that no generation has had: a partition that is decided again gets another, with other bytes in it."""
    folders = itertools.chain([f"generations/{name}"], (f"generations/{name}~{n}" for n in itertools.count(2)))
    return next(folder for folder in folders if folder not in state.generations)


def _due(listing: Listing, state: State, only: str) -> list[tuple[str, tuple[File, ...]]]:
    """(partition, its files) of each one that is closed and not held by a generation."""
    due = []
    for base, arrived in listing.arrived.items():
        if not arrived.closed or (only and base_of(only) != base):
            continue
        taken = {name for name, held in state.partitions.items() if base_of(name) == base and held.status != DUE}
        if taken and not arrived.files:
            continue  # its files have only changed, or are gone
        names = itertools.chain([base], (f"{base}+{n}" for n in itertools.count(1)))
        due.append((next(name for name in names if name not in taken), arrived.files))
    return due


def _has_to_forget(state: State) -> bool:
    """Whether the current model has read files that --forget names since."""
    wanted = set(state.policy.forget) if state.policy else set()
    return bool(wanted - set(state.generations[state.current].decided.forget))


def _text(state: State) -> tuple[Generation, ...]:
    """The generations whose partitions are the text of the current model."""
    return tuple(one for one in state.promoted() if one.decided.partition)
