"""Many small objects in a store: each request takes long, so many are on their way at once, and few are made."""

from __future__ import annotations

import collections
import contextlib
import gzip
import pathlib
import threading
import time

import pytest

from pipeline.corpus import prefetch as ahead
from pipeline.corpus.files import match_inputs
from pipeline.errors import InputError
from pipeline.runtime import process
from pipeline.storage.object_store import ObjectStorage
from pipeline.storage.open_storage import open_storage
from tests.helpers.commands import TINY, digest_of, train, write_corpus

OBJECTS = 150


class Requests:
    """Counts the requests for each object, and how many are on their way at once; each takes 5 ms."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of: collections.Counter[str] = collections.Counter()
        self.now = self.most = 0
        self.guard = threading.Lock()
        for name in ("info", "read_range", "find"):
            monkeypatch.setattr(ObjectStorage, name, self.watched(getattr(ObjectStorage, name)))

    def watched(self, original):
        def request(storage, path, *arguments):
            with self.guard:
                self.of[path] += 1
                self.now += 1
                self.most = max(self.most, self.now)
            try:
                time.sleep(0.005)
                return original(storage, path, *arguments)
            finally:
                with self.guard:
                    self.now -= 1

        return request


@pytest.fixture
def objects(tmp_path) -> tuple[pathlib.Path, list[str]]:
    """(a file of text, uris of objects that hold it in parts)."""
    corpus = write_corpus(tmp_path / "text.txt", lines=2 * OBJECTS)
    lines = corpus.read_bytes().splitlines(keepends=True)
    storage = open_storage(f"memory://{tmp_path.name}")
    for i in range(OBJECTS):
        storage.put(f"in/{i:04d}.txt", b"".join(lines[2 * i : 2 * i + 2]))
    return corpus, [storage.uri(f"in/{i:04d}.txt") for i in range(OBJECTS)]


@pytest.mark.parametrize("arguments", [(), ("--phrases=1",)], ids=["words", "phrases"])
def test_listed_objects_are_asked_for_many_at_once(objects, tmp_path, monkeypatch, arguments):
    corpus, uris = objects
    expected = digest_of(corpus, tmp_path / "whole", *arguments)
    (tmp_path / "paths").write_text("\n".join(uris) + "\n")
    with monkeypatch.context() as patch:
        requests = Requests(patch)
        assert len(match_inputs([f"@{tmp_path / 'paths'}"])) == OBJECTS
        assert requests.most > 8
        assert set(requests.of.values()) == {1}
    with monkeypatch.context() as patch:
        requests = Requests(patch)
        assert digest_of(f"@{tmp_path / 'paths'}", tmp_path / "run", "--threads=1", *arguments) == expected
        assert requests.most > 8
        # listed, first bytes looked at, counted, still the same, encoded, the same at the end; a pass of phrases: read
        # twice, twice the same
        of_inputs = sorted(requests.of[f"in/{i:04d}.txt"] for i in range(OBJECTS))
        most = 10 if arguments else 6
        assert of_inputs[-9] <= most  # messages may show words of the first, and hints look into eight
        assert of_inputs[-1] <= most + 4
    assert not ahead._fetched


def test_compressed_objects_are_unpacked_many_at_once(objects, tmp_path, monkeypatch):
    corpus, _ = objects
    storage = open_storage(f"memory://{tmp_path.name}")
    for i in range(OBJECTS):
        storage.put(f"packed/{i:04d}", gzip.compress(storage.read(f"in/{i:04d}.txt")))
    with monkeypatch.context() as patch:
        requests = Requests(patch)
        digest = digest_of(storage.uri("packed"), tmp_path / "run", "--threads=1")
        assert requests.most > 8
    assert digest == digest_of(corpus, tmp_path / "whole")


def test_an_object_that_is_missing_or_changes_is_named(objects, tmp_path, monkeypatch):
    _, uris = objects
    with pytest.raises(InputError, match=r"/in/gone\.txt matches no file"):
        match_inputs([*uris, uris[0].replace("0000", "gone")])
    storage, original = open_storage(f"memory://{tmp_path.name}"), ObjectStorage.read_range
    asked = collections.Counter()

    def changing(self, path, start, length):
        asked[path] += 1
        if path == "in/0077.txt" and asked[path] == 2:  # after its first bytes were looked at
            storage.put(path, storage.read(path).replace(b" ", b"x"))
        return original(self, path, start, length)

    monkeypatch.setattr(ObjectStorage, "read_range", changing)
    outcome = train(f"--input={storage.uri('in')}", f"--output={tmp_path / 'run'}", *TINY)
    assert outcome.status == 2
    assert f"{storage.uri('in/0077.txt')} changed while it was read" in outcome.error


def test_reading_ahead_stops_with_who_asked_for_it(objects):
    _, uris = objects
    files = match_inputs(uris)
    ranges = [ahead.TextRange(file.uri, 0, file.size, file.size) for file in files]
    asked: list[str] = []

    def read(uri: str, start: int, length: int) -> bytes:
        asked.append(uri)
        if uri == uris[1]:
            raise InputError("the second is gone")
        return b"x" * length

    with contextlib.closing(ahead.fetched_ahead(ranges, read)) as coming:
        assert next(coming) == ranges[0]
        assert ahead.take(uris[0], 0, ranges[0].size) == b"x" * ranges[0].size
        assert ahead.take(uris[0], 0, ranges[0].size) is None
        assert next(coming) == ranges[1]  # its failure is for who reads it
        assert ahead.take(uris[1], 0, ranges[1].size) is None
        next(coming)
    assert len(asked) <= process.AT_ONCE + 3
    assert not ahead._fetched
