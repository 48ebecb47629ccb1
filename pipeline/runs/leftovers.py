"""What lies in an output under other keys than the run's: of a replaced run, or a command that lost its lock.

Each stage keeps its artefacts and its records in a folder named by its key. So what is not the run's is told by
the names of folders; no file is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pipeline.corpus.dead_letters import FOLDER as DEAD_LETTERS
from pipeline.options import MAX_PASSES
from pipeline.runs.stage_keys import UPSTREAM
from pipeline.runtime.process import each
from pipeline.storage.open_storage import is_remote
from pipeline.storage.records import FOLDER as RECORDS
from pipeline.storage.records import KEY_DIGITS
from pipeline.storage.storage import Storage
from pipeline.words.phrases import phrases_folder

STAGE_FOLDERS = (*UPSTREAM, "phrases", "metrics", "slices", "shards", DEAD_LETTERS)
"""Folders of an output that hold artefacts."""
OUR_FOLDERS = (RECORDS, *STAGE_FOLDERS)
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
    passes = [phrases_folder(number) for number in range(1, MAX_PASSES + 1)]
    passes = passes if storage.folders("phrases") else []
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
    """Removes what lies in the folders, in this order; returns how many files that were."""
    paths = [info.path for folder in folders for info in storage.list(folder)]
    each(storage.delete, paths, is_remote(storage.root))
    return len(paths)
