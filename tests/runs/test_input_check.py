"""Whether the input is still what the run has read."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.corpus import digests as input_digests
from pipeline.corpus.digests import RangeDigests
from pipeline.corpus.readers.text import TextReader
from pipeline.runs.input_check import changed_inputs, recorded_files
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from pipeline.words.counts import CountNumbers

# Content digests


@given(st.integers(0, 500), st.data())
@settings(deadline=None)
def test_digests_do_not_depend_on_the_cuts(size, draw):
    data = np.random.default_rng(size).bytes(size)
    before, input_digests.RANGE_BYTES = input_digests.RANGE_BYTES, 64
    try:
        cuts = draw.draw(st.lists(st.integers(0, size), max_size=6).map(sorted))
        found: dict[int, str] = {}
        for start, end in itertools.pairwise([0, *cuts, size]):
            digests = RangeDigests(start, end, size)
            position = max(0, start - 1)
            stop = draw.draw(st.integers(position, size))
            for at in range(position, stop, 37):
                digests.update(at, data[at : min(at + 37, stop)])
            file = digests.finish("uri", lambda at, length: data[at : at + length])
            for i, digest in enumerate(file.digests if file else [], file.first if file else 0):
                assert i not in found
                found[i] = digest
    finally:
        input_digests.RANGE_BYTES = before
    whole = [hashlib.sha256(data[i : i + 64]).hexdigest()[:32] for i in range(0, size, 64)]
    assert found == dict(enumerate(whole))


def test_changed_input_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(input_digests, "RANGE_BYTES", 16)
    file = tmp_path / "text"
    file.write_bytes(b"0123456789abcdef" * 3)
    digests = RangeDigests(0, 48, 48)
    read = digests.finish(str(file), lambda at, length: file.read_bytes()[at : at + length])
    commits = Commits(Records(open_storage(str(tmp_path / "run"))), "counts", "0" * 32)
    commits.commit("unit-000000000", (), CountNumbers(1, 0, 1, 48, 1, "0" * 16, [read]))
    records = recorded_files(commits.records, {"counts": commits.key, "text": "1" * 32})
    assert list(changed_inputs(TextReader, records, {str(file): 48})) == []
    file.write_bytes(b"0123456789abcdef" * 2 + b"0123456789abcdeX")
    assert list(changed_inputs(TextReader, records, {str(file): 48})) == [
        f"{file} differs from what the run has read, within bytes 32 to 48"
    ]
    file.write_bytes(b"0123456789abcdef" * 4)
    assert "within bytes 48 to 64" in next(changed_inputs(TextReader, records, {str(file): 48}))
    file.write_bytes(b"0123456789abcdef" * 4)
    assert list(changed_inputs(TextReader, records, {str(file): 64})) == [
        f"{file}: counting has not read all of it yet"
    ]
    file.write_bytes(b"X" + b"0123456789abcdef" * 4)
    assert "within bytes 0 to 16" in next(changed_inputs(TextReader, records, {str(file): 64}))
    file.unlink()
    assert "is missing" in next(changed_inputs(TextReader, records, {str(file): 48}))
