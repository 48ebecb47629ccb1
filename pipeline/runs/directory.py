"""The output of a run: what it is made from (run.json), and whether this run may go on in it.

run.json is written when a run begins. A later run in the same place goes on with
it if it would make the same model, or if all that is made is what it would make
too; else it is refused with a list of what differs.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import importlib.metadata
import json
import platform
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pipeline.errors import InputError, OutputInUseError
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.options import Options, shown_value
from pipeline.runs.leftovers import OUR_FOLDERS, REPORT, key_folders, remove_folders, split_by_owner
from pipeline.runs.preprocessed_records import CorpusRecords
from pipeline.runs.stage_keys import FORMAT_VERSION, option_names, stage_keys
from pipeline.runtime.shown_text import shown
from pipeline.storage import lock
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import FOLDER as RECORDS
from pipeline.storage.records import Records, canonical_json, sealed_json, unsealed_json
from pipeline.storage.storage import Storage

PATH = "run.json"
PACKAGES = ("beam2vec", "apache-beam", "numba", "numpy", "obstore", "pyarrow")
_MANY = 10
"""How many differing inputs a message names."""

Identity = Mapping[str, Any]


def make_identity(
    options: Options,
    inputs: Iterable[Any],
    tokenizer_identity: Mapping[str, Any],
    vocabulary: str = "",
    names: Collection[str] | None = None,
) -> dict[str, Any]:
    """What decides the bytes of a run, and what is worth knowing about how they were made.

    Args:
      options: its model and layout options are kept; execution options decide nothing.
      inputs: objects with uri, size (bytes) and version (mtime in ns, or ETag), in corpus order.
      tokenizer_identity: of `Reader.identity`.
      vocabulary: digest of the file of --vocabulary.
      names: of the options that this run knows; None stands for all.

    Returns:
      JSON values: format_version, options (model, layout), versions, inputs, tokenizer.
    """
    identity = {
        "format_version": FORMAT_VERSION,
        "options": options_of_run(options, names),
        "versions": package_versions(),
        "inputs": [{"uri": file.uri, "size": file.size, "version": file.version} for file in inputs],
        "tokenizer": dict(tokenizer_identity),
        **({"vocabulary": vocabulary} if vocabulary else {}),
    }
    return json.loads(canonical_json(identity))


def options_of_run(options: Options, names: Collection[str] | None = None) -> dict[str, dict[str, Any]]:
    """What run.json keeps of the options: the model and layout options among `names`, or all of them."""
    return {
        kind: {name: value for name, value in options.of_kind(kind).items() if names is None or name in names}
        for kind in ("model", "layout")
    }


def package_versions() -> dict[str, str]:
    """Version of Python and of each package that has a part in the output; "" where one is not installed."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = ""
    return versions


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """An output with its identity, the stage keys that follow from it, and what the user should be told."""

    storage: Storage
    records: Records
    identity: dict[str, Any]
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def keys(self) -> dict[str, str]:
        """Stage -> stage key."""
        return stage_keys(self.identity, self.pinned(Options()))

    @property
    def has_model(self) -> bool:
        """Whether this is a training run, rather than a corpus alone."""
        return _has_model(self.identity)

    def pinned(self, options: Options) -> Options:
        """The options with what this run has decided: its model and its layout, whatever they say."""
        saved = self.identity["options"]
        return dataclasses.replace(options, **saved["model"], **saved["layout"])


def open_run(output: str) -> RunDirectory:
    """A run that is there already, to read from; InputError if there is none."""
    storage = open_storage(output)
    storage.check_holds_runs()
    data = storage.find(PATH)
    if data is None:
        raise InputError(f"{storage.uri(PATH)} does not exist: {output} is not the output of a run")
    saved = _parsed(storage, data, "restore it from a copy")
    return RunDirectory(storage, _records(storage, saved), saved)


def open_or_create(output: str, identity: Identity, overwrite: bool = False, writer: str = "") -> RunDirectory:
    """Begins a run in `output`, or goes on with the one that is there. Call it with the lock held.

    Args:
      output: a folder or a prefix in a bucket.
      identity: what this run would be, from make_identity.
      overwrite: replace a run that differs; artefacts that this one would make alike stay.
      writer: of the lock; temporary files are named by it.

    A run that differs is also gone on with where nothing that is recorded would be lost: one that
    failed for want of words, say, has counts alone, and those hold for another --min_count.

    Raises:
      InputError: there is a run that differs (every difference is listed), run.json
        is damaged, or there are other files and no run.json: those are never touched.
    """
    storage = open_storage(output).written_by(writer)
    ours = json.loads(canonical_json(identity))
    data = storage.find(PATH)
    if data is None:
        is_gone = _check_no_others(storage, overwrite)
        if storage.create(PATH, sealed_json(ours)):
            run = RunDirectory(storage, _records(storage, ours), ours)
            return _replacing(run, f"{storage.uri(PATH)} was gone") if is_gone else run
        data = storage.read(PATH)
    if overwrite:
        run = RunDirectory(storage, _records(storage, ours), ours)
        before = unsealed_json(data)
        if before:
            _check_format(storage, before)
        run = _replacing(run, "" if before else f"{storage.uri(PATH)} was damaged")
        if before != ours:
            _swap_identity(run, data)
        return run
    remedy = f"choose another --output, or --overwrite to replace the run in {storage.root}"
    saved = _parsed(storage, data, remedy)
    if _has_model(saved) and not _has_model(ours):
        raise InputError(
            f"{storage.root} holds a training run: choose another --output (jobs.train --corpus={storage.root}"
            " takes the corpus side of that run as it is)"
        )
    run, notes = RunDirectory(storage, _records(storage, saved), saved), tuple(_notes(saved, ours))
    if found := differences(saved, ours):
        run, note = _with_other_options(run, data, ours, "; ".join(found), remedy)
        notes = note, *notes
    else:
        _remove_leftovers(run, remedy)
    return dataclasses.replace(run, notes=notes)


def _replacing(run: RunDirectory, why: str) -> RunDirectory:
    """Removes all that is not under the run's keys.

    Records go first: a crash leaves the old run with less made, never a record without its artefacts.
    """
    recorded, made = (split_by_owner(folders, run.keys) for folders in key_folders(run.storage))
    removed = remove_folders(run.storage, [*recorded[1], *made[1]])
    if not why:
        return run
    kept = "what is made under these options stays" if recorded[0] else "nothing of what is made is of these options"
    note = f"{why}: {kept}, and {removed:,} files of other options are removed (--overwrite)"
    return dataclasses.replace(run, notes=(note,))


def _swap_identity(run: RunDirectory, data: bytes) -> None:
    """Writes run.json in place of `data`, but never over what a command has written that holds the lock by now."""
    if not run.storage.swap(PATH, data, sealed_json(run.identity)):
        raise OutputInUseError(f"another command has written {run.storage.uri(PATH)} meanwhile: this one stops")


def _remove_leftovers(run: RunDirectory, remedy: str) -> None:
    """Removes what a command that lost its lock has left.

    InputError if run.json may be of another run: all that is made is not the run's, or a model is not.
    """
    recorded, made = (split_by_owner(folders, run.keys) for folders in key_folders(run.storage))
    models = [folder for folder in recorded[1] if folder.startswith(f"{RECORDS}/{CHECKPOINTS}/")]
    if models or (recorded[1] and not recorded[0]):
        raise InputError(f"{run.storage.uri(PATH)} is of another run than {RECORDS}/ in it: put it back, or {remedy}")
    remove_folders(run.storage, [*recorded[1], *made[1]])


def _with_other_options(
    run: RunDirectory, data: bytes, ours: dict[str, Any], listed: str, remedy: str
) -> tuple[RunDirectory, str]:
    """(the run with our options and its own layout, a note), where every record holds for them; else InputError."""
    layout = ours["options"]["layout"] | run.identity["options"]["layout"]
    options = {**ours["options"], "layout": layout}
    changed = dataclasses.replace(run, identity={**ours, "options": options})
    recorded = key_folders(run.storage)[0]
    if not split_by_owner(recorded, changed.keys)[1]:
        _replacing(changed, "")
        _swap_identity(changed, data)
        return changed, f"all that is made holds for what has changed: {listed}"
    if not any(folder.startswith(f"{RECORDS}/{CHECKPOINTS}/") for folder in recorded):
        remedy += " (no model is lost by it: none is there yet)"
    raise InputError(f"the run in {run.storage.root} differs: {listed}. Repeat what it has, {remedy}")


def _records(storage: Storage, identity: Identity) -> Records:
    """With those of the run whose corpus side this one takes, if it takes one."""
    corpus = identity.get("corpus")
    return CorpusRecords(storage, Records(open_storage(corpus))) if corpus else Records(storage)


def _has_model(identity: Identity) -> bool:
    return "dims" in identity["options"]["model"]


def _check_no_others(storage: Storage, overwrite: bool) -> bool:
    """Whether a run without its run.json lies here; InputError if something else does, or nobody said overwrite."""
    is_run = False
    for info in storage.walk():
        if info.path in (lock.PATH, REPORT):
            continue
        if info.path.partition("/")[0] not in OUR_FOLDERS:
            raise InputError(
                f"{storage.root} is not empty and no output of a run (it holds {shown(info.path)} and no"
                f" {PATH}): choose another --output"
            )
        is_run = True
    if is_run and not overwrite:
        raise InputError(
            f"{storage.uri(PATH)} is gone, and files of a run are there: put it back, choose another --output, or"
            " --overwrite to go on with what is of these options and to remove the rest"
        )
    return is_run


def _parsed(storage: Storage, data: bytes, remedy: str) -> dict[str, Any]:
    saved = unsealed_json(data)
    if saved is None or not {"format_version", "options", "inputs", "tokenizer"} <= saved.keys():
        raise InputError(f"{storage.uri(PATH)} is damaged: {remedy}")
    _check_format(storage, saved)
    known = {field.name for field in dataclasses.fields(Options)}
    if unknown := sorted({*saved["options"]["model"], *saved["options"]["layout"]} - known):
        names = ", ".join(f"--{shown(name)}" for name in unknown)
        raise InputError(f"{storage.uri(PATH)} has options unknown to this version ({names}): {remedy}")
    return saved


def _check_format(storage: Storage, saved: Identity) -> None:
    """InputError for a run of another format: not even --overwrite knows which of its files to remove."""
    if saved.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{storage.root} has format {shown(saved.get('format_version'))}, this version reads {FORMAT_VERSION}:"
            " use the version of beam2vec that made it, or choose another --output"
        )


def differences(saved: Identity, ours: Identity) -> list[str]:
    """What keeps two runs from making the same model, each in words; [] where nothing does."""
    found = []
    if saved.get("corpus") != ours.get("corpus"):
        mine, theirs = (shown_value("corpus", one.get("corpus")) for one in (ours, saved))
        found.append(f"--corpus is {mine}, the run has {theirs}")
    known = ours["options"]["model"]
    unchanged = {name: value for name, value in Options().of_kind("model").items() if name in known}
    options = unchanged | saved["options"]["model"], known  # what the run did not know of, it did not do
    unequal = _unequal(*options)
    if not _has_model(saved) and _has_model(ours):
        found.append("it holds a corpus, and is no training run")
        unequal = [one for one in unequal if one[0] in option_names()]
    for name, theirs, mine in unequal:
        found.append(f"--{name} is {shown_value(name, mine)}, the run has {shown_value(name, theirs)}")
    told = {name for name, _, _ in unequal}
    for name, theirs, mine in _unequal(saved["tokenizer"], ours["tokenizer"]):
        if name not in options[1]:
            values = f"{shown_value(name, mine)}, the run has {shown_value(name, theirs)}"
            found.append(f"the tokenizer's {shown(name)} is {values}")
        elif name not in told:  # the digest of a file that the option names
            found.append(f"the words of --{name}={options[1][name]} have changed")
    listed = [(one["options"]["model"].get("vocabulary"), one.get("vocabulary")) for one in (saved, ours)]
    if listed[0][0] == listed[1][0] and listed[0][1] != listed[1][1]:
        found.append(f"the words of --vocabulary={listed[1][0]} have changed")
    inputs = _input_differences(saved["inputs"], ours["inputs"])
    more = [f"and {len(inputs) - _MANY} more inputs"] if len(inputs) > _MANY else []
    return found + inputs[:_MANY] + more


def _input_differences(saved: list[dict[str, Any]], ours: list[dict[str, Any]]) -> list[str]:
    before, now = ({file["uri"]: file for file in files} for files in (saved, ours))
    found = []
    for uri, file in now.items():
        old = before.get(uri)
        if old is None:
            found.append(f"input added: {shown(uri)}")
        elif old["size"] != file["size"]:
            found.append(f"input changed: {shown(uri)} (size {old['size']} -> {file['size']})")
        elif old["version"] != file["version"]:
            changed = " -> ".join(map(_version_shown, (old["version"], file["version"])))
            found.append(f"input changed: {shown(uri)} (same size, {changed})")
    found += [f"input gone: {shown(uri)}" for uri in before if uri not in now]
    return found if found or list(before) == list(now) else ["the inputs come in another order"]


def _version_shown(version: str) -> str:
    """A file's time as people read it; an object's ETag as it is."""
    if not re.fullmatch(r"\d{19}", version):
        return f"version {shown(version)}"
    return f"written {datetime.datetime.fromtimestamp(int(version) / 1e9):%Y-%m-%d %H:%M:%S.%f}"


def _notes(saved: Identity, ours: Identity) -> list[str]:
    layout = saved["options"]["layout"], ours["options"]["layout"]
    notes = [
        f"--{name}={shown_value(name, mine)} is ignored, the run began with {shown_value(name, theirs)}"
        " (no effect on the model)"
        for name, theirs, mine in _unequal(*layout)
        if name in layout[0]
    ]
    notes += [
        f"{shown(name)} was {shown(theirs or 'not installed')} when the run began, and is {mine or 'not installed'} now"
        for name, theirs, mine in _unequal(saved.get("versions", {}), ours["versions"])
    ]
    return notes


def _unequal(saved: Mapping[str, Any], ours: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(name, saved value, our value) where they differ; None stands for what is not there."""
    names = [*ours, *(name for name in saved if name not in ours)]
    return [(n, saved.get(n), ours.get(n)) for n in names if saved.get(n) != ours.get(n)]
