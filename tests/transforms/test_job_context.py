"""What every stage is handed: an artefact is made once, and only with the lock held."""

from __future__ import annotations

import pytest

from pipeline.errors import OutputInUseError
from pipeline.options import Options
from pipeline.storage.lock import Lock
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from transforms.job_context import JobContext


def test_nothing_is_made_once_the_lock_is_lost(tmp_path):
    storage = open_storage(str(tmp_path))
    lock = Lock(storage).acquire()
    context = JobContext(Records(storage), {"unigram": "key"}, Options(), None, lock.token)
    made = context.make("unigram", "one", "unigram/one", b"bytes", {"words": 3})
    assert context.made("unigram", "one") == made
    storage.delete("lock.json")
    with Lock(storage), pytest.raises(OutputInUseError, match="took it over"):
        context.make("unigram", "two", "unigram/two", b"bytes", {})
    assert sorted(info.path for info in storage.walk()) == ["records/unigram/one.json", "unigram/one"]
