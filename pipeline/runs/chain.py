"""The runs that a run goes on from, back to the first one that can be made again.

A run can be made again from its text if it has ended, its input files are there, and so is what it starts from: another
run that is made again before it, or that stands as it was; or a file of vectors.
"""

from __future__ import annotations

import os

from pipeline.errors import InputError, PipelineError
from pipeline.runs.directory import is_run, split_step
from pipeline.runs.parent import ParentRef
from pipeline.runs.run import Run
from pipeline.runs.start_vectors import start_ref
from pipeline.runtime.shown_text import counted, shown
from pipeline.storage.open_storage import open_storage, split_uri


def chain_of(run: Run) -> tuple[list[Run], str]:
    """(the run and those that it goes on from, the first one first; why it does not begin with a cold one, or "")."""
    runs, why = [run], ""
    while given := started_from(runs[0]):
        parent, why = _parent(given)
        if parent is None:
            break
        runs.insert(0, parent)
    while len(runs) > 1 and (lacks := lacking(runs[0])):
        why = f"{runs.pop(0).uri} cannot be made again ({lacks})"
    return runs, why


def started_from(run: Run) -> str:
    """What --update or --start_from of the run names; "" for neither."""
    return run.options.update or run.options.start_from or ""


def lacking(run: Run) -> str:
    """What is wrong with the run or the file that the run starts from; "" if it can start from it now."""
    try:
        if run.options.update:
            ParentRef.of(Run.open(run.options.update))
        elif run.options.start_from:
            start_ref(run.options.start_from, run.options.dims)
    except PipelineError as error:
        return f"{error}{_relative(started_from(run))}"
    return ""


def check_ended(run: Run) -> None:
    """InputError unless the run has ended: else there is nothing whole to compare with."""
    if run.directory.has_model:
        ref = run.checkpoint()
        if ref.step != ref.steps:
            raise InputError(f"{run.uri} has not ended (its newest checkpoint is {ref.place}): run it to its end first")
    run.shards()


def _parent(given: str) -> tuple[Run | None, str]:
    """(the run that this names, if its text is there; else why it is not made again)."""
    uri = split_step(given)[0]
    try:
        if not is_run(uri):
            return None, f"it starts from {given}, which is no run{_relative(given)}"
        parent = Run.open(uri)
        check_ended(parent)
        gone = [file["uri"] for file in parent.identity["inputs"] if not _is_there(file["uri"])]
    except PipelineError as error:
        return None, f"{given} cannot be made again ({error})"
    if gone:
        return None, f"{uri} lacks {counted(len(gone), 'input file')}, such as {shown(gone[0])}"
    return parent, ""


def _relative(given: str) -> str:
    """What to do about a relative name, which is looked for in another folder than it was given in; "" otherwise."""
    uri = split_step(given)[0]
    if "://" in uri or os.path.isabs(os.path.expanduser(uri)) or _is_there(uri) or is_run(uri):
        return ""
    where = f"relative to the folder in which the run was trained: if that is not {shown(os.getcwd())}"
    return f"; {shown(given)} is {where}, give the command there"


def _is_there(uri: str) -> bool:
    root, path = split_uri(uri)
    return open_storage(root).info(path) is not None
