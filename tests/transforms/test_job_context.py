"""What every stage is handed: it commits under its own key, and only with the lock held."""

from __future__ import annotations

import pickle

import pytest

from pipeline.errors import OutputInUseError
from pipeline.options import Options
from pipeline.storage.lock import Lock
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from tests.helpers.keys import KEY
from transforms.job_context import JobContext


def test_a_context_that_has_travelled_commits_under_the_key_of_the_stage_and_the_lock(tmp_path):
    storage = open_storage(str(tmp_path))
    lock = Lock(storage).acquire()
    context = pickle.loads(pickle.dumps(JobContext(Records(storage), {"unigram": KEY}, Options(), None, lock.token)))
    commits = context.commits("unigram")
    made = commits.commit("one", [commits.put("one.parquet", b"bytes")])
    assert commits.find("one") == made
    storage.delete("lock.json")
    with Lock(storage), pytest.raises(OutputInUseError, match="took it over"):
        commits.commit("two")
    paths = [f"records/unigram/{KEY[:8]}/one.json", f"unigram/{KEY[:8]}/one.parquet"]
    assert sorted(info.path for info in storage.walk()) == paths
