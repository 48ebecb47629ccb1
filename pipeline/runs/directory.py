"""The output of a run: what the run is made from (run.json), and whether a command may resume it.

run.json is written when a run begins. A later command in the same place resumes the run if it would make the same
model, or if everything stored so far is what it would make too. Else it is refused, with a list of the differences.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
import platform
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec

from pipeline.errors import InputError, OutputInUseError
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.options import Options, shown_value
from pipeline.runs.current import run_of, what_is_current
from pipeline.runs.differences import NO_MODEL, Identity, differences, has_model, unequal
from pipeline.runs.leftovers import OUR_FOLDERS, REPORT, key_folders, remove_folders, split_by_owner
from pipeline.runs.preprocessed_records import CorpusRecords, allow_corpus, records_of_corpus
from pipeline.runs.stage_keys import CARRIES, FORMAT_VERSION, stage_keys
from pipeline.runtime.shown_text import shown
from pipeline.storage import lock
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import FOLDER as RECORDS
from pipeline.storage.records import Digest, Number, Records, canonical_json, sealed_json, unsealed_json
from pipeline.storage.storage import Storage

PATH = "run.json"
PACKAGES = ("beam2vec", "apache-beam", "numba", "numpy", "obstore", "pyarrow")


class _Input(msgspec.Struct):
    uri: str
    size: Number
    version: str


class _Options(msgspec.Struct):
    model: dict[str, Any]
    layout: dict[str, Any]


class _Parent(msgspec.Struct):
    model: Digest
    totals: Digest
    reservoir: str
    phrases: list[Digest]


class _Identity(msgspec.Struct):
    """What run.json has to hold; it may have been written by others."""

    format_version: Number
    options: _Options
    inputs: list[_Input]
    tokenizer: dict[str, Any]
    carries: Number
    versions: dict[str, str] = {}
    vocabulary: str = ""
    start_from: str = ""
    corpus: str = ""
    update: _Parent | None = None


def make_identity(
    options: Options,
    inputs: Iterable[Any],
    tokenizer_identity: Mapping[str, Any],
    vocabulary: str = "",
    names: Collection[str] | None = None,
) -> dict[str, Any]:
    """What decides the bytes of a run, and facts about how they were made.

    Args:
      options: model and layout options are kept; execution options decide no byte.
      inputs: objects with uri, size (bytes) and version (mtime in ns, or ETag), in corpus order.
      tokenizer_identity: of `Reader.identity`.
      vocabulary: digest of the file of --vocabulary.
      names: of the options that this run has; None stands for all.

    Returns:
      JSON values: format_version, options (model, layout), versions, inputs, tokenizer.
    """
    identity = {
        "format_version": FORMAT_VERSION,
        "carries": CARRIES,
        "options": options_of_run(options, names),
        "versions": package_versions(),
        "inputs": [{"uri": file.uri, "size": file.size, "version": file.version} for file in inputs],
        "tokenizer": dict(tokenizer_identity),
        **({"vocabulary": vocabulary} if vocabulary else {}),
    }
    return json.loads(canonical_json(identity))


def options_of_run(options: Options, names: Collection[str] | None = None) -> dict[str, dict[str, Any]]:
    """The options in run.json: the model and layout options among `names`, or all of them."""
    return {
        kind: {name: value for name, value in options.of_kind(kind).items() if names is None or name in names}
        for kind in ("model", "layout")
    }


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that take part in the output; "" if one is not installed."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = ""
    return versions


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """An output with its identity, the stage keys that follow from it, and what the user should hear about it."""

    storage: Storage
    records: Records
    identity: dict[str, Any]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @functools.cached_property
    def keys(self) -> dict[str, str]:
        """Stage -> stage key."""
        return stage_keys(self.identity, self.pinned(Options()))

    @property
    def has_model(self) -> bool:
        """Whether this is a training run, and not a preprocessed corpus alone."""
        return has_model(self.identity)

    def pinned(self, options: Options) -> Options:
        """The options, with the model and layout options of this run in place of their own."""
        saved = self.identity["options"]
        return dataclasses.replace(options, **saved["model"], **saved["layout"])


def open_run(output: str) -> RunDirectory:
    """An existing run, to read from, or what is current in a series; InputError if there is none."""
    storage = open_storage(output)
    storage.check_holds_runs()
    data = storage.find(PATH)
    if data is None and (generation := run_of(output)):
        storage = open_storage(generation)
        data = storage.find(PATH)
    if data is None:
        if current := what_is_current(storage.root):
            raise InputError(f"{storage.root} is not there: it was removed, or never trained{current}")
        raise InputError(
            f"{storage.uri(PATH)} does not exist: {output} is not the output of a run; give the folder or prefix that"
            " was --output of beam2vec train or beam2vec preprocess"
        )
    saved = _parsed(storage, data, "restore it from a copy")
    return RunDirectory(storage, _records(storage, saved), saved)


def split_step(given: str) -> tuple[str, int | None]:
    """RUN@STEP -> (RUN, step). All else stays whole, with None; so does a run whose own name ends like that."""
    uri, at, step = given.rpartition("@")
    if uri and at and step.isascii() and step.isdecimal() and not is_run(given):
        return uri, int(step)
    return given, None


def is_run(uri: str) -> bool:
    """Whether this is a run, or a series, or SERIES@NAME."""
    return open_storage(uri).info(PATH) is not None or run_of(uri) is not None


def open_or_create(output: str, identity: Identity, overwrite: bool = False, token: str = "") -> RunDirectory:
    """Begins a run in `output`, or resumes the run that is there. Call it with the lock held.

    A run that differs is also resumed if nothing recorded would be lost. For example, one that failed because no word
    was left has only counts, and they are valid for another --min_count.

    Args:
      output: a folder or a prefix in a bucket.
      identity: that of the run that the command asks for, from make_identity.
      overwrite: replace a run that differs; artefacts that both have in common stay.
      token: of the lock. It is looked at before anything is removed, and temporary files are named after it.

    Raises:
      InputError: there is a run that differs (every difference is listed); run.json is damaged; or there are other
        files and no run.json, which are never touched.
      OutputInUseError: the lock is lost.
    """
    storage = open_storage(output).written_by(lock.writer_of(token))
    if corpus := identity.get("corpus"):  # the command names it
        allow_corpus(corpus)
    check_lock = lock.Lock.attach(storage, token).renew if token else _no_check
    identity_now = json.loads(canonical_json(identity))
    data = storage.find(PATH)
    if data is None:
        is_gone = _check_no_others(storage, overwrite)
        if storage.create(PATH, sealed_json(identity_now)):
            run = RunDirectory(storage, _records(storage, identity_now), identity_now)
            return _replacing(run, f"{storage.uri(PATH)} was gone", check_lock) if is_gone else run
        data = storage.read(PATH)
    if overwrite:
        run = RunDirectory(storage, _records(storage, identity_now), identity_now)
        before = unsealed_json(data)
        if before:
            _check_format(storage, before)
        run = _replacing(run, "" if before else f"{storage.uri(PATH)} was damaged", check_lock)
        if before != identity_now:
            _swap_identity(run, data, check_lock)
        return run
    remedy = f"choose another --output, or --overwrite to replace the run in {storage.root}"
    saved = _parsed(storage, data, remedy)
    if has_model(saved) and not has_model(identity_now):
        raise InputError(
            f"{storage.root} holds a training run: choose another --output (beam2vec train with"
            f" --corpus={storage.root} takes the corpus side of that run as it is)"
        )
    run = RunDirectory(storage, _records(storage, saved), saved)
    if changes := differences(saved, identity_now):
        run = _with_other_options(run, data, identity_now, changes, remedy, check_lock)
    else:
        _remove_leftovers(run, remedy, check_lock)
    return dataclasses.replace(run, warnings=tuple(_warnings(saved, identity_now)))


def _no_check() -> None:
    """For who has no lock."""


def _replacing(run: RunDirectory, why: str, check_lock: Callable[[], None]) -> RunDirectory:
    """Removes everything that is not under the keys of the run.

    Records are removed first, so a crash leaves the old run with fewer records, never a record without artefacts.
    """
    recorded, artifacts = (split_by_owner(folders, run.keys) for folders in key_folders(run.storage))
    removed = remove_folders(run.storage, [*recorded[1], *artifacts[1]], check_lock)
    if not why:
        return run
    kept = "files of these options are kept" if recorded[0] else "it had no files of these options"
    note = f"{why}: {kept}, and {removed:,} files of other options are removed (--overwrite)"
    return dataclasses.replace(run, notes=(note,))


def _swap_identity(run: RunDirectory, data: bytes, check_lock: Callable[[], None]) -> None:
    """Replaces run.json, if it still holds `data`: else a command that has taken over the lock has written it."""
    check_lock()
    if not run.storage.swap(PATH, data, sealed_json(run.identity)):
        raise OutputInUseError(f"another process has written {run.storage.uri(PATH)} meanwhile: this one stops")


def _remove_leftovers(run: RunDirectory, remedy: str, check_lock: Callable[[], None]) -> None:
    """Removes files that a command left which had lost its lock.

    Raises:
      InputError: run.json may be of another run: no records are of this run's options, or those of a model are not.
    """
    recorded, artifacts = (split_by_owner(folders, run.keys) for folders in key_folders(run.storage))
    models = [folder for folder in recorded[1] if folder.startswith(f"{RECORDS}/{CHECKPOINTS}/")]
    if models or (recorded[1] and not recorded[0]):
        raise InputError(f"{run.storage.uri(PATH)} is of another run than {RECORDS}/ in it: put it back, or {remedy}")
    remove_folders(run.storage, [*recorded[1], *artifacts[1]], check_lock)


def _with_other_options(
    run: RunDirectory,
    data: bytes,
    identity_now: dict[str, Any],
    changes: list[str],
    remedy: str,
    check_lock: Callable[[], None],
) -> RunDirectory:
    """The run with the options of the command and its own layout, and a note.

    Raises:
      InputError: a record is not valid for these options.
    """
    layout = identity_now["options"]["layout"] | run.identity["options"]["layout"]
    options = {**identity_now["options"], "layout": layout}
    changed = dataclasses.replace(run, identity={**identity_now, "options": options})
    recorded = key_folders(run.storage)[0]
    if not split_by_owner(recorded, changed.keys)[1]:
        _replacing(changed, "", check_lock)
        _swap_identity(changed, data, check_lock)
        note = _change_note(run.has_model or not changed.has_model, changes)
        return dataclasses.replace(changed, notes=(note,))
    if not any(folder.startswith(f"{RECORDS}/{CHECKPOINTS}/") for folder in recorded):
        remedy += " (there is no model yet that would be lost)"
    raise InputError(f"the run in {run.storage.root} differs: {'; '.join(changes)}. Repeat what it has, {remedy}")


def _change_note(is_alike: bool, changes: list[str]) -> str:
    """What is said where other options take over what a run has made; `is_alike`: both train, or neither does."""
    listed = "; ".join(change for change in changes if change != NO_MODEL)
    if is_alike:
        return f"other options than before, and what was made is valid for them too: {listed}"
    begins = "the preprocessed corpus becomes a training run: its words and tokens are used as they are"
    return f"{begins} ({listed})" if listed else begins


def _records(storage: Storage, identity: Identity) -> Records:
    """The records of a run; with those of another run, if this one takes its corpus side from it."""
    corpus = identity.get("corpus")
    return CorpusRecords(storage, records_of_corpus(storage.root, corpus)) if corpus else Records(storage)


def _check_no_others(storage: Storage, overwrite: bool) -> bool:
    """Whether the output has files of a run without run.json; InputError for other files, or without `overwrite`."""
    is_run = False
    for info in storage.walk():
        if info.path in (lock.PATH, REPORT):
            continue
        if info.path.partition("/")[0] not in OUR_FOLDERS:
            raise InputError(
                f"{storage.root} is not empty, and not the output of a run (it has {shown(info.path)} and no"
                f" {PATH}): choose another --output"
            )
        is_run = True
    if is_run and not overwrite:
        raise InputError(
            f"{storage.uri(PATH)} is gone, but there are files of a run: put it back, choose another --output, or"
            " --overwrite to keep the files of these options and to remove the rest"
        )
    return is_run


def _parsed(storage: Storage, data: bytes, remedy: str) -> dict[str, Any]:
    saved = unsealed_json(data)
    if saved is None or not {"format_version", "options", "inputs", "tokenizer"} <= saved.keys():
        raise InputError(f"{storage.uri(PATH)} is damaged: {remedy}")
    _check_format(storage, saved)
    try:
        msgspec.convert(saved, _Identity)
    except msgspec.ValidationError as error:
        raise InputError(f"{storage.uri(PATH)} is damaged ({shown(error)}): {remedy}") from error
    known = {field.name for field in dataclasses.fields(Options)}
    if unknown := sorted({*saved["options"]["model"], *saved["options"]["layout"]} - known):
        names = ", ".join(f"--{shown(name)}" for name in unknown)
        raise InputError(f"{storage.uri(PATH)} has options unknown to this version ({names}): {remedy}")
    try:
        Options.check_stored({**saved["options"]["model"], **saved["options"]["layout"]})
    except InputError as error:
        raise InputError(f"{storage.uri(PATH)} is damaged ({error}): {remedy}") from error
    return saved


def _check_format(storage: Storage, saved: Identity) -> None:
    """InputError for a run of another format, even with --overwrite: its files to remove are not known."""
    if saved.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{storage.root} has format {shown(saved.get('format_version'))}, this version reads {FORMAT_VERSION}:"
            " use the version of beam2vec that made it, or choose another --output"
        )


def _warnings(saved: Identity, now: Identity) -> list[str]:
    layout = saved["options"]["layout"], now["options"]["layout"]
    warnings = [
        f"--{name}={shown_value(name, value)} is ignored, the run began with {shown_value(name, saved_value)}"
        " (no effect on the model)"
        for name, saved_value, value in unequal(*layout)
        if name in layout[0]
    ]
    warnings += [
        f"{shown(name)} was {shown(saved_value or 'not installed')} when the run began, and is"
        f" {value or 'not installed'} now"
        for name, saved_value, value in unequal(saved.get("versions", {}), now["versions"])
    ]
    return warnings
