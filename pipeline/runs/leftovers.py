"""Leftovers: files in an output under other stage keys, of a replaced run or of a command that lost its lock.

Each stage keeps its artefacts and its records in folders named by its key. So the names of folders show what does not
belong to the run; no file is opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from pipeline.corpus.dead_letters import FOLDER as DEAD_LETTERS
from pipeline.corpus.given_sentences import FOLDER as SENTENCES
from pipeline.runs.stage_keys import stages
from pipeline.runtime.process import each
from pipeline.storage.failures import FOLDER as ERRORS
from pipeline.storage.open_storage import is_remote
from pipeline.storage.records import FOLDER as RECORDS
from pipeline.storage.records import KEY_DIGITS
from pipeline.storage.storage import Storage

STAGE_FOLDERS = (*stages(0, is_update=True), "trained", "phrases", "start", "metrics", "slices", "shards", DEAD_LETTERS)
"""Folders of an output that hold artefacts."""
OUR_FOLDERS = (RECORDS, ERRORS, SENTENCES, *STAGE_FOLDERS)
REPORT = "report.html"
"""The file of a run's report, by default."""
_KEY = re.compile(f"[0-9a-f]{{{KEY_DIGITS}}}")


def key_folders(storage: Storage) -> tuple[list[str], list[str]]:
    """(folders of records, folders of artefacts) that are named by a stage key, of any stage."""
    remote = is_remote(storage.root)

    def named(folders: list[str]) -> list[str]:
        listings = zip(folders, each(storage.folders, folders, remote))
        return [f"{top}/{name}" for top, names in listings for name in names if _KEY.fullmatch(name)]

    recorded = [f"{RECORDS}/{stage}" for stage in storage.folders(RECORDS)]
    passes = [f"phrases/{name}" for name in storage.folders("phrases") if name.startswith("pass=")]
    return named(recorded), named([*STAGE_FOLDERS, *passes, *(f"{folder}/counts" for folder in passes)])


def split_by_owner(folders: Iterable[str], keys: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """(folders of these keys, other folders)"""
    digits_of_keys = {key[:KEY_DIGITS] for key in keys.values()}
    own: list[str] = []
    others: list[str] = []
    for folder in folders:
        (own if folder.rpartition("/")[2] in digits_of_keys else others).append(folder)
    return own, others


def remove_folders(storage: Storage, folders: Iterable[str], check: Callable[[], None] = lambda: None) -> int:
    """Removes all files in the folders, one folder after the other, each after `check`; returns how many there were."""
    removed = 0
    for folder in folders:
        paths = [info.path for info in storage.walk(folder)]
        check()
        each(storage.delete, paths, is_remote(storage.root))
        removed += len(paths)
    return removed
