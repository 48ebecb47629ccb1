from __future__ import annotations

import datetime
import gzip
import io
import os
import pickle
import secrets
import socket
import threading
import time

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ArtifactError, InputError, PipelineError
from pipeline.storage import object_store as object_storage
from pipeline.storage.local import LocalStorage
from pipeline.storage.lock import Lock
from pipeline.storage.object_store import ObjectStorage
from pipeline.storage.open_storage import open_storage, split_uri
from pipeline.storage.storage import Storage
from tests.helpers import fake_s3, real_s3


@pytest.fixture(scope="module")
def s3():
    with fake_s3.serve() as environment:
        yield environment


@pytest.fixture(scope="module")
def versitygw(tmp_path_factory):
    with real_s3.serve(tmp_path_factory.mktemp("versitygw")) as server:
        yield server.environment


@pytest.fixture(params=["folder", "memory", "s3", pytest.param("versitygw", marks=pytest.mark.s3)])
def storage(request: pytest.FixtureRequest, tmp_path, monkeypatch) -> Storage:
    if request.param == "folder":
        return open_storage(str(tmp_path / "a run, 100% ü#?*[x]"))
    if request.param == "memory":
        return open_storage(f"memory://{secrets.token_hex(8)}/some/pre fix")
    use(monkeypatch, request.getfixturevalue(request.param))
    return open_storage(f"s3://{fake_s3.BUCKET}/{secrets.token_hex(8)}/pre fix, 100% ü#?*[x]")


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Leads s3:// to a server, with clients of its own."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(object_storage, "_stores", {})


def paths(storage: Storage, prefix: str = "") -> list[str]:
    return [info.path for info in storage.list(prefix)]


def test_an_object_reads_back_whole_in_ranges_and_as_a_stream(storage):
    data = bytes(range(256)) * 5
    storage.put("folder/a b%20#?.bin", data)
    assert storage.read("folder/a b%20#?.bin") == data
    assert storage.read_range("folder/a b%20#?.bin", 10, 20) == data[10:30]
    assert storage.read_range("folder/a b%20#?.bin", 1270, 100) == data[1270:]
    assert storage.read_range("folder/a b%20#?.bin", 1280, 5) == b""
    assert storage.read_range("folder/a b%20#?.bin", 9999, 5) == b""
    assert storage.read_range("folder/a b%20#?.bin", 3, 0) == b""
    with storage.open("folder/a b%20#?.bin") as reader:
        assert reader.seek(-6, io.SEEK_END) == 1274
        assert reader.read() == data[-6:]
        assert reader.read(1) == b""
        reader.seek(256)
        assert reader.read(3) == b"\0\1\2"


@pytest.mark.parametrize(
    "data",
    [b"", b"x", bytearray(b"xy"), memoryview(b"xyz"), pa.py_buffer(b"arrow")],
    ids=lambda data: type(data).__name__,
)
def test_any_buffer_can_be_put_and_replaces_what_was_there(storage, data):
    storage.put("a", b"something longer than the rest")
    storage.put("a", data)
    assert storage.read("a") == bytes(data)
    assert storage.info("a").size == len(bytes(data))


def test_a_reader_serves_gzip_and_parquet(storage):
    table = pa.table({"word": ["a", "b"] * 1000})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    storage.put("t.parquet", buffer.getvalue())
    storage.put("t.gz", gzip.compress(b"line\n" * 1000))
    with storage.open("t.parquet") as reader:
        assert pq.read_table(reader) == table
    with storage.open("t.gz") as reader, gzip.open(reader) as text:
        assert text.read() == b"line\n" * 1000


def test_listing_is_by_folder_and_sorted_by_bytes(storage, request):
    for path in ["b/2", "b/10", "bb/1", "é", "z", "Z"]:
        storage.put(path, b"1")
    if isinstance(storage, ObjectStorage) and "versitygw" not in request.node.name:  # which keeps objects in files
        storage.put("b", b"a name that is a folder's too")
    assert paths(storage, "b") == ["b/10", "b/2"]
    assert [path for path in paths(storage) if path != "b"] == ["Z", "b/10", "b/2", "bb/1", "z", "é"]
    assert paths(storage, "nowhere") == []
    assert all(info == storage.info(info.path) for info in storage.list())


def test_version_changes_with_the_content(storage):
    storage.put("a", b"1")
    before = storage.info("a").version
    time.sleep(0.01)
    storage.put("a", b"2")
    assert storage.info("a").version != before


def test_what_is_missing_is_named(storage):
    assert storage.info("folder/no") is None
    assert storage.find("folder/no") is None
    storage.delete("folder/no")
    for call in (storage.read, storage.open, lambda path: storage.read_range(path, 0, 1)):
        with pytest.raises(ArtifactError, match="folder/no does not exist"):
            call("folder/no")


def test_delete_takes_the_object_and_the_folders_it_empties(storage):
    storage.put("a/b/1", b"1")
    storage.put("a/2", b"1")
    storage.delete("a/b/1")
    assert paths(storage) == ["a/2"]
    if isinstance(storage, LocalStorage):
        assert os.listdir(os.path.join(storage.root, "a")) == ["2"]
    storage.delete("a/2")
    assert paths(storage) == []
    storage.put("a/b/1", b"again")


def test_of_many_creators_one_wins_and_nobody_sees_a_part(storage):
    for round in range(10):
        barrier, won, seen = threading.Barrier(8), [], []

        def race(me: int, path: str, barrier=barrier, won=won, seen=seen) -> None:
            barrier.wait()
            if storage.create(path, b"%d" % me * 10_000):
                won.append(me)
            seen.append(storage.read(path))

        threads = [threading.Thread(target=race, args=(me, f"round/{round}")) for me in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(won) == 1
        assert set(seen) == {b"%d" % won[0] * 10_000}


def test_of_many_swaps_of_one_content_one_wins(storage):
    storage.put("a", b"old")
    for round in range(10):
        barrier, won = threading.Barrier(8), []
        old = storage.read("a")

        def race(me: int, barrier=barrier, won=won, old=old, round=round) -> None:
            barrier.wait()
            if storage.swap("a", old, b"%d %d" % (round, me)):
                won.append(me)

        threads = [threading.Thread(target=race, args=(me,)) for me in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert storage.read("a") == b"%d %d" % (round, *won)
    assert not storage.swap("a", b"something else", b"no")
    storage.delete("a")
    assert not storage.swap("a", b"old", b"no")
    assert paths(storage) == []


def test_writers_and_deleters_of_one_folder_do_not_disturb_each_other(storage):
    failures = []

    def work(me: int) -> None:
        try:
            for _ in range(40):
                storage.put(f"a/b/{me}", b"1")
                storage.delete(f"a/b/{me}")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failures
    assert paths(storage) == []


def test_storage_travels_by_pickle(storage):
    storage.put("a", b"1")
    again = pickle.loads(pickle.dumps(storage))
    assert again == storage
    assert again.read("a") == b"1"


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../a", "a/../../b", "a\0b"])
def test_a_path_cannot_leave_its_root(storage, path):
    for call in (storage.read, storage.delete, storage.info, lambda p: storage.put(p, b"")):
        with pytest.raises(ArtifactError, match="not the path of an object"):
            call(path)


def test_a_uri_splits_into_a_root_and_a_path_that_read_it(storage):
    storage.put("x y/c.txt", b"text")
    root, path = split_uri(storage.uri("x y/c.txt"))
    assert open_storage(root).read(path) == b"text"


def test_uris_and_paths_name_the_same_storage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = str(tmp_path / "a b")
    spelt = ["a b", "./a b/", "~/a b", folder, folder + "//", f"file://{tmp_path}/a%20b", f"file://localhost{folder}"]
    assert {open_storage(root) for root in spelt} == {LocalStorage(folder)}
    assert open_storage("a%20b").root == str(tmp_path / "a%20b")
    assert open_storage("s3://bucket//x//y/").root == "s3://bucket/x/y"
    assert open_storage("S3://bucket").uri("a/b") == "s3://bucket/a/b"
    assert split_uri("gs://bucket/a/b%20c#.txt") == ("gs://bucket", "a/b%20c#.txt")


@pytest.mark.parametrize("uri", ["~", "~/runs"])
def test_a_home_that_nobody_has_is_no_folder_of_that_name(uri, monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as with HOME unset and an unknown user
    with pytest.raises(InputError, match=rf"^{uri}: ~ stands for no folder, since you have no home here; write"):
        open_storage(uri)
    assert open_storage("~name").root.endswith("/~name")


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("", "path is empty"),
        ("nosuch://name/x", "nosuch:// is not supported"),
        ("s3://", "no bucket"),
        ("s3:///folder", "no bucket"),
        ("file://host/x", "has no host"),
    ],
)
def test_a_root_that_names_no_place_is_refused(root, message):
    with pytest.raises(InputError, match=message):
        open_storage(root)


def test_folders_are_named_in_order(storage):
    for path in ("b/2/x", "b/10/y/z", "b/file", "bb/1/x"):
        storage.put(path, b"1")
    assert storage.folders("b") == ["10", "2"]
    assert storage.folders("b/10/y") == storage.folders("nowhere") == []


def test_a_name_no_bucket_can_hold_is_an_input_error():
    with pytest.raises(InputError, match="memory://x/a"):
        open_storage("memory://x").put("a//b", b"")


def test_a_missing_bucket_is_named(monkeypatch, s3):
    use(monkeypatch, s3)
    storage = open_storage("s3://no-such-bucket/run")
    calls = (lambda: storage.put("a", b""), storage.list, lambda: storage.create("a", b""), lambda: storage.find("a"))
    for call in calls:
        with pytest.raises(InputError, match="s3://no-such-bucket: there is no such bucket"):
            call()


NO_SERVER = "http://127.0.0.1:9"
NO_KEY = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({**NO_KEY, "AWS_METADATA_ENDPOINT": NO_SERVER}, "no credentials; set AWS_ACCESS_KEY_ID and"),
        ({"AWS_ACCESS_KEY_ID": None}, "no credentials; set AWS_ACCESS_KEY_ID and"),
        ({"AWS_ACCESS_KEY_ID": "another"}, "credentials are not valid; set AWS_ACCESS_KEY_ID and"),
        ({"AWS_ENDPOINT_URL": NO_SERVER}, "error sending request; check the network, AWS_REGION, and AWS_ENDPOINT"),
        ({"AWS_ALLOW_HTTP": None}, "AWS_ENDPOINT_URL is not https; set AWS_ALLOW_HTTP=true"),
    ],
)
def test_what_is_wrong_with_a_bucket_is_told_with_the_variables_to_set(monkeypatch, s3, changes, message):
    use(monkeypatch, s3)
    for name, value in changes.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    for call in (lambda storage: storage.find("a"), lambda storage: storage.create("a", b"")):
        with pytest.raises(PipelineError, match=f"^s3://{fake_s3.BUCKET}: .*{message}") as raised:
            call(open_storage(f"s3://{fake_s3.BUCKET}/run"))
        assert isinstance(raised.value, ArtifactError if "AWS_REGION" in message else InputError)


def test_a_server_that_never_answers_is_told_soon(monkeypatch, s3):
    use(monkeypatch, s3)
    monkeypatch.setattr(object_storage, "_PATIENCE", datetime.timedelta(seconds=1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ArtifactError, match=r"^s3://bucket: no answer in 1 s; check the network"):
            open_storage("s3://bucket/run").find("a")


def test_an_account_that_is_not_given_is_an_input_error(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(InputError, match=r"^az://container: .*set AZURE_STORAGE_ACCOUNT_NAME"):
        open_storage("az://container/run").list()


@pytest.mark.parametrize("conditions", ["refused", "ignored"])
def test_a_store_without_conditional_create_cannot_be_locked(monkeypatch, conditions):
    with fake_s3.serve(conditions=conditions) as environment:
        use(monkeypatch, environment)
        storage = open_storage(f"s3://{fake_s3.BUCKET}/run")
        with pytest.raises(InputError, match=r"^s3://bucket/run/lock\.json: this store has no conditional create"):
            Lock(storage).acquire()
        assert storage.list() == []


def test_what_a_network_loses_is_tried_again(monkeypatch):
    with fake_s3.serve(trouble=["", "503", "", "", "drop", ""]) as environment:
        use(monkeypatch, environment)
        storage = open_storage(f"s3://{fake_s3.BUCKET}/run")
        for number in range(6):
            storage.put(f"a/{number}", b"%d" % number)
            assert storage.read(f"a/{number}") == b"%d" % number
        with Lock(storage) as lock:
            lock.renew()
        assert paths(storage) == [f"a/{number}" for number in range(6)]
        assert storage.read_range("a/3", 0, 1) == b"3"
        storage.delete("a/3")
        assert storage.info("a/3") is None


@pytest.mark.parametrize("lands", [2, None])
def test_a_conflict_of_writes_that_all_failed_is_no_object(monkeypatch, lands):
    """A store answers 409 where two creates meet. Then it may be that neither landed: nobody would hold the lock."""
    storage = open_storage("memory://conflicts/run")
    put, tries = obstore.store.MemoryStore.put, []

    class Meeting:
        def put(self, *given, **named):
            tries.append(1)
            if len(tries) == lands:
                return put(storage._store, *given, **named)
            raise obstore.exceptions.AlreadyExistsError("409 ConditionalRequestConflict")

    monkeypatch.setattr(ObjectStorage, "_conditional_store", Meeting())
    monkeypatch.setattr(object_storage, "_CONFLICT_WAITS", (0.0, 0.0))
    if lands is None:
        with pytest.raises(ArtifactError, match="the store says that it exists, and that it does not: try again later"):
            storage.create("lock.json", b"mine")
        assert storage.find("lock.json") is None
    else:
        assert storage.create("lock.json", b"mine")
        assert (storage.read("lock.json"), len(tries)) == (b"mine", 2)
        assert not storage.create("lock.json", b"another's")
        assert storage.read("lock.json") == b"mine"
        storage.delete("lock.json")
