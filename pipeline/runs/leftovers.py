"""What lies in an output under other keys than the run's: of a replaced run, or a command that lost its lock.

Each stage keeps its artefacts and its records in a folder named by its key. So what is not the run's is told by
the names of folders; no file is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pipeline.corpus.dead_letters import FOLDER as DEAD_LETTERS
from pipeline.runs.stage_keys import UPSTREAM
from pipeline.runtime.process import each
from pipeline.storage.failures import FOLDER as ERRORS
from pipeline.storage.open_storage import is_remote
from pipeline.storage.records import FOLDER as RECORDS
from pipeline.storage.records import KEY_DIGITS
from pipeline.storage.storage import Storage

STAGE_FOLDERS = (*UPSTREAM, "phrases", "metrics", "slices", "shards", DEAD_LETTERS)
"""Folders of an output that hold artefacts."""
OUR_FOLDERS = (RECORDS, ERRORS, *STAGE_FOLDERS)
REPORT = "report.html"
"""Where a run keeps its report, unless told otherwise."""
_KEY = re.compile(f"[0-9a-f]{{{KEY_DIGITS}}}")


def key_folders(storage: Storage) -> tuple[list[str], list[str]]:
    """(folders of records, folders of artefacts) that are named by a stage key, whatever stage it is of."""
    remote = is_remote(storage.root)

    def named(folders: list[str]) -> list[str]:
        found = zip(folders, each(storage.folders, folders, remote))
        return [f"{top}/{name}" for top, names in found for name in names if _KEY.fullmatch(name)]

    recorded = [f"{RECORDS}/{stage}" for stage in storage.folders(RECORDS)]
    passes = [f"phrases/{name}" for name in storage.folders("phrases") if name.startswith("pass=")]
    return named(recorded), named([*STAGE_FOLDERS, *passes, *(f"{folder}/counts" for folder in passes)])


def split_by_owner(folders: Iterable[str], keys: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """(folders of the keys, others)"""
    ours = {key[:KEY_DIGITS] for key in keys.values()}
    mine: list[str] = []
    others: list[str] = []
    for folder in folders:
        (mine if folder.rpartition("/")[2] in ours else others).append(folder)
    return mine, others


def remove_folders(storage: Storage, folders: Iterable[str]) -> int:
    """Removes what lies in the folders, one folder after the other; returns how many files that were."""
    removed = 0
    for folder in folders:
        paths = [info.path for info in storage.walk(folder)]
        each(storage.delete, paths, is_remote(storage.root))
        removed += len(paths)
    return removed
