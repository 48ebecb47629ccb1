"""What lies under other keys than the run's."""

from __future__ import annotations

import time

from pipeline.runs import leftovers
from pipeline.storage.object_store import ObjectStorage
from pipeline.storage.open_storage import open_storage

KEYS = "0123abcd", "4567cdef"


def test_records_are_gone_before_the_first_artefact_goes_on_a_store_too(monkeypatch):
    """A store's objects are deleted many at a time; a record without its artefacts would be a false one."""
    storage = open_storage("memory://leftovers-order")
    for number in range(8):
        storage.put(f"records/tokens/{KEYS[0]}/{number}.json", b"")
        storage.put(f"tokens/{KEYS[0]}/{number}.parquet", b"")
    deleted: list[str] = []
    delete = ObjectStorage.delete

    def slow_for_records(self: ObjectStorage, path: str) -> None:
        time.sleep(0.05 * path.startswith("records"))
        delete(self, path)
        deleted.append(path)

    monkeypatch.setattr(ObjectStorage, "delete", slow_for_records)
    assert leftovers.remove_folders(storage, [f"records/tokens/{KEYS[0]}", f"tokens/{KEYS[0]}"]) == 16
    assert [path.startswith("records") for path in deleted] == [True] * 8 + [False] * 8
    assert storage.list() == []


def test_a_folder_of_the_users_among_the_phrases_is_none_of_ours():
    storage = open_storage("memory://leftovers-phrases")
    for path in (f"phrases/mine/{KEYS[0]}/notes", f"phrases/pass=1/{KEYS[0]}/a", f"phrases/pass=1/counts/{KEYS[1]}/b"):
        storage.put(path, b"")
    assert leftovers.key_folders(storage) == ([], [f"phrases/pass=1/{KEYS[0]}", f"phrases/pass=1/counts/{KEYS[1]}"])
