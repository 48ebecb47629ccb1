"""Errors of workers, written down for the command that waits for them."""

from __future__ import annotations

import pytest

from pipeline.errors import ArtifactError, InputError, NonFiniteError, OutputInUseError
from pipeline.storage import failures
from pipeline.storage.open_storage import open_storage
from pipeline.storage.storage import Storage

TOKEN, ANOTHER = "12ab" * 8, "34cd" * 8


@pytest.fixture
def storage(tmp_path) -> Storage:
    return open_storage(str(tmp_path / "run"))


def fail(storage: Storage, error: Exception, token: str = TOKEN) -> None:
    with pytest.raises(type(error)) as raised, failures.recorded(storage, token):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    "error", [InputError("line 3 of a.txt"), ArtifactError("gone", "again"), NonFiniteError("inf")]
)
def test_an_error_is_read_as_it_was_raised(storage, error):
    fail(storage, error)
    told = failures.read(storage, TOKEN)
    assert (type(told), str(told)) == (type(error), str(error))


def test_nothing_is_read_where_nothing_was_written(storage):
    with failures.recorded(storage, TOKEN):
        pass
    fail(storage, KeyError("a fault of the program"))
    fail(storage, InputError("of a run without a lock"), token="")
    assert failures.read(storage, TOKEN) is None
    assert storage.list() == []


def test_a_worker_that_has_lost_the_output_writes_nothing_into_it(storage):
    fail(storage, OutputInUseError("taken over"))
    assert storage.list() == []


def test_the_error_of_another_lock_is_not_read_and_stays_when_ours_is_removed(storage):
    fail(storage, InputError("another's"), ANOTHER)
    assert failures.read(storage, TOKEN) is None
    fail(storage, InputError("ours"))
    failures.remove(storage, TOKEN)
    assert failures.read(storage, TOKEN) is None
    assert str(failures.read(storage, ANOTHER)) == "another's"
    failures.remove_all(storage)
    assert storage.list() == []


def test_the_newest_error_is_read(storage):
    fail(storage, InputError("the first"))
    fail(storage, ArtifactError("the second"))
    assert str(failures.read(storage, TOKEN)) == "the second"


@pytest.mark.parametrize("word", ["x ", "語 ", '" '])
def test_a_long_message_is_cut_between_its_place_and_its_remedy(storage, word):
    fail(storage, InputError("line 3 of a: " + word * 100_000 + "cut it"))
    (info,) = storage.list(failures.FOLDER)
    assert info.size <= 4096
    told = failures.read(storage, TOKEN)
    assert type(told) is InputError
    assert str(told).startswith("line 3 of a: " + word * 200)
    assert str(told).endswith(word * 200 + "cut it")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"error": 3}', b'{"error": "X", "message": "x"}', b"x" * 9999])
def test_what_is_no_error_is_read_as_none(storage, data):
    storage.put(f"{failures.FOLDER}/{TOKEN}.json", data)
    assert failures.read(storage, TOKEN) is None


def test_a_storage_that_fails_takes_no_errors_place(storage, monkeypatch):
    def put(*_):
        raise ArtifactError("the disk is full")

    monkeypatch.setattr(type(storage), "put", put)
    fail(storage, InputError("line 3 of a.txt"))
