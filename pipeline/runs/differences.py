"""How two runs differ: what keeps a command from going on with a run that is there."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

from pipeline.corpus.given_sentences import are_given
from pipeline.options import Options, shown_value
from pipeline.runs.stage_keys import option_names
from pipeline.runtime.shown_text import shown

Identity = Mapping[str, Any]
"""What is in run.json."""
NO_MODEL = "it is a preprocessed corpus, not a training run"
_MANY = 10
"""Most differing inputs that a message names."""


def has_model(identity: Identity) -> bool:
    """Whether it is that of a training run, not of a preprocessed corpus alone."""
    return "dims" in identity["options"]["model"]


def differences(saved: Identity, now: Identity) -> list[str]:
    """The differences that keep two runs from making the same model, a line each."""
    lines = []
    starts = {name for name in ("start_from", "update") if now.get(name) and saved.get(name) == now.get(name)}
    if saved.get("corpus") != now.get("corpus"):
        value_now, saved_value = (shown_value("corpus", entry.get("corpus")) for entry in (now, saved))
        lines.append(f"--corpus is {value_now}, the run has {saved_value}")
    known = now["options"]["model"]
    unchanged = {name: value for name, value in Options().of_kind("model").items() if name in known}
    options = unchanged | saved["options"]["model"], known  # options that the run did not have count as their defaults
    changed = unequal(*options)
    if not has_model(saved) and has_model(now):
        lines.append(NO_MODEL)
        changed = [entry for entry in changed if entry[0] in option_names()]
    changed = [entry for entry in changed if entry[0] not in starts]  # what they name decides, not the name
    for name, saved_value, value_now in changed:
        lines.append(f"--{name} is {shown_value(name, value_now)}, the run has {shown_value(name, saved_value)}")
    named = {name for name, _, _ in changed}
    for name, saved_value, value_now in unequal(saved["tokenizer"], now["tokenizer"]):
        if name not in options[1]:
            values = f"{shown_value(name, value_now)}, the run has {shown_value(name, saved_value)}"
            lines.append(f"the tokenizer's {shown(name)} is {values}")
        elif name not in named:  # the digest of a file that the option names
            lines.append(f"the words of --{name}={options[1][name]} have changed")
    listed = [(entry["options"]["model"].get("vocabulary"), entry.get("vocabulary")) for entry in (saved, now)]
    if listed[0][0] == listed[1][0] and listed[0][1] != listed[1][1]:
        lines.append(f"the words of --vocabulary={listed[1][0]} have changed")
    for name, what in (("start_from", "vectors"), ("update", "run")):
        given = now["options"]["model"].get(name)
        if given and name not in starts and given == saved["options"]["model"].get(name):
            lines.append(f"the {what} of --{name}={given} {'have' if what == 'vectors' else 'has'} changed")
    inputs = _input_differences(saved["inputs"], now["inputs"])
    more = [f"and {len(inputs) - _MANY} more inputs"] if len(inputs) > _MANY else []
    return lines + inputs[:_MANY] + more


def _input_differences(saved: list[dict[str, Any]], inputs_now: list[dict[str, Any]]) -> list[str]:
    names = {file["uri"].rpartition("/")[2] for file in (*saved, *inputs_now)}
    if are_given(saved) and are_given(inputs_now) and len(names) > 1:  # the name is their digest
        return ["the sentences are not those that it was made from"]
    before, current = ({file["uri"]: file for file in files} for files in (saved, inputs_now))
    lines = []
    for uri, file in current.items():
        old = before.get(uri)
        if old is None:
            lines.append(f"input added: {shown(uri)}")
        elif old["size"] != file["size"]:
            lines.append(f"input changed: {shown(uri)} (size {old['size']} -> {file['size']})")
        elif old["version"] and old["version"] != file["version"]:  # without one, the uri says what is in the file
            changed = " -> ".join(map(_version_shown, (old["version"], file["version"])))
            lines.append(f"input changed: {shown(uri)} (same size, {changed})")
    lines += [f"input gone: {shown(uri)}" for uri in before if uri not in current]
    return lines if lines or list(before) == list(current) else ["the inputs come in another order"]


def _version_shown(version: str) -> str:
    """A version in words: the time of a file, or the ETag of an object."""
    if not re.fullmatch(r"\d{19}", version):
        return f"version {shown(version)}"
    return f"written {datetime.datetime.fromtimestamp(int(version) / 1e9):%Y-%m-%d %H:%M:%S.%f}"


def unequal(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(name, saved value, value now) where they differ; None stands for a missing value."""
    names = [*now, *(name for name in saved if name not in now)]
    return [(n, saved.get(n), now.get(n)) for n in names if saved.get(n) != now.get(n)]
