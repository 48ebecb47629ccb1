"""The policy of a series: what the user has set, once, and what may be set anew later."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from pipeline.errors import InputError
from pipeline.options import Options, shown_value
from pipeline.series.entries import MODES, UPDATE, Policy
from pipeline.series.gates import checked_gates
from pipeline.series.partitions import Places
from pipeline.series.state import State
from pipeline.storage.open_storage import open_storage

_NOT_HERE = ("update", "start_from", "threads", "device", "checkpoint_every", "keep_checkpoints")
"""Options of training that a series sets itself, or that decide no byte and are given anew with each call."""
_LOG_FIELDS = ("version", "number", "at", "who", "token")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a call has set; None: not set.

    Attributes:
      forget: patterns, in addition to those of the policy.
      options: of training, by name: those that were set.
    """

    root: str | None = None
    by: str | None = None
    done: str | None = None
    pattern: str | None = None
    mode: str | None = None
    retrain_every: int | None = None
    gates: tuple[str, ...] | None = None
    pairs: tuple[str, ...] | None = None
    keep_days: int | None = None
    forget: tuple[str, ...] = ()
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def policy_after(state: State, settings: Settings) -> Policy | None:
    """The policy with these settings; None where it is as it was.

    Raises:
      InputError: a setting is not allowed, or may not change any more.
    """
    old = state.policy
    if old is None and (settings.root is None or settings.by is None):
        raise InputError(
            "there is no series yet: --input_root and --by begin one (--by=dt=* for folders dt=2026-11-29,"
            " --by= for one without folders)"
        )
    named = {
        name: value
        for name, value in dataclasses.asdict(settings).items()
        if value is not None and name not in ("forget", "options")
    }
    if "root" in named:
        named["root"] = open_storage(named["root"]).root
    if "gates" in named:
        named["gates"] = checked_gates(named["gates"])
    options = {name: value for name, value in settings.options.items() if name not in _NOT_HERE}
    if old is None:
        named.setdefault(
            "gates", checked_gates(("words", "bad_lines", "unknown", "surprise", "seen", "loss", "kept", "pairs"))
        )
        policy = Policy(**named, forget=settings.forget, options=options)
    else:
        forget = tuple(dict.fromkeys([*old.forget, *settings.forget]))
        policy = msgspec.structs.replace(old, **named, forget=forget, options={**old.options, **options})
    _check(policy, old, state)
    return None if old is not None and _said(policy) == _said(old) else policy


def options_of(policy: Policy) -> Options:
    """The options of training."""
    options = Options(**policy.options)
    options.check()
    return options


def changes(old: Policy, new: Policy) -> list[str]:
    """What is another now, for people."""
    before, after = _said(old), _said(new)
    return [f"{name} is {after[name]}, it was {before[name]}" for name in after if before[name] != after[name]]


def _check(policy: Policy, old: Policy | None, state: State) -> None:
    if policy.mode not in MODES:
        raise InputError(f"--mode={policy.mode}: allowed are {', '.join(MODES)}")
    Places(policy)
    options = options_of(policy)
    if policy.mode == UPDATE and options.model != "skipgram":
        raise InputError(f"--mode=update is for skip-gram, this is {options.model}: --mode=warm goes on from it")
    if old is None:
        return
    if state.partitions and (policy.by, policy.done) != (old.by, old.done):
        raise InputError(f"--by={old.by} and --done={old.done} stay as they are: the names in the log depend on them")
    if state.current:
        _check_same(options, options_of(old))


def _check_same(options: Options, before: Options) -> None:
    unequal = [
        f"--{field.name} is {shown_value(field.name, getattr(options, field.name))}, it was"
        f" {shown_value(field.name, getattr(before, field.name))}"
        for field in dataclasses.fields(Options)
        if field.metadata["child"] == "same" and getattr(options, field.name) != getattr(before, field.name)
    ]
    if unequal:
        raise InputError(
            f"{'; '.join(unequal)}: what a chain of generations has in common cannot change. Begin a new --series"
        )


def _said(policy: Policy) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(policy).items() if name not in _LOG_FIELDS}
