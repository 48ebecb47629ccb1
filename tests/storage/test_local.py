"""Storage in a folder: what a crash leaves, what a full disk says, and whose temporary files are swept."""

from __future__ import annotations

import errno
import os
import stat
import time

import pytest

from pipeline.errors import ArtifactError, InputError
from pipeline.storage.open_storage import open_storage


def test_a_killed_writer_leaves_nothing_to_see(tmp_path, monkeypatch):
    storage = open_storage(str(tmp_path)).written_by("aaaa1111")
    storage.put("a", b"old")

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            storage.put("a", b"new")
        assert os.listdir(tmp_path) == ["a"]
        patch.setattr(os, "unlink", die)  # what a SIGKILL leaves: the temporary file stays
        with pytest.raises(KeyboardInterrupt):
            storage.put("a", b"new")
    assert len(os.listdir(tmp_path)) == 2
    assert [info.path for info in storage.list()] == ["a"]
    assert storage.read("a") == b"old"
    storage.sweep([], "aaaa1111")
    assert len(os.listdir(tmp_path)) == 2
    storage.sweep([], "bbbb2222")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("writer", ["bbbb2222", ""])
def test_a_sweep_takes_temporary_files_of_others_alone(tmp_path, writer):
    """At the root and in the folders that it is told, at once; without a writer's name, after an hour."""
    digits = "0123456789abcdef"
    gone = [
        f".beam2vec-tmp-aaaa1111-{digits}",
        f"counts/0a/.beam2vec-tmp-aaaa1111-{digits}",
        f".beam2vec-tmp--{digits}",
    ]
    stay = [
        f"counts/.beam2vec-tmp--{digits}",  # may be written just now
        f"thesis/.beam2vec-tmp-aaaa1111-{digits}",
        "counts/.beam2vec-tmp-notes",
        f"counts/beam2vec-tmp-aaaa1111-{digits}",
        "counts/0a/unit-000000000.parquet",
    ]
    own = [f"counts/.beam2vec-tmp-bbbb2222-{digits}"]
    for name in gone + stay + own:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    os.utime(tmp_path / gone[-1], (time.time() - 3700,) * 2)
    open_storage(str(tmp_path)).sweep(["counts", "nowhere"], writer)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == sorted(stay + (own if writer else []))


def test_a_writer_whose_temporary_file_was_swept_writes_again(tmp_path, monkeypatch):
    storage = open_storage(str(tmp_path)).written_by("aaaa1111")
    replace, swept = os.replace, []

    def sweep_once(*arguments):
        if not swept:
            swept.append(1)
            open_storage(str(tmp_path)).sweep([], "bbbb2222")
        replace(*arguments)

    monkeypatch.setattr(os, "replace", sweep_once)
    storage.put("a", b"1")
    assert (swept, storage.read("a"), os.listdir(tmp_path)) == ([1], b"1", ["a"])


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path, monkeypatch):
    storage = open_storage(str(tmp_path))

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match=f"^{tmp_path}/folder/a: No space left on device$"):
        storage.put("folder/a", b"1")
    assert [info.path for info in storage.list()] == []


def test_a_file_in_the_way_is_the_users_to_move(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=f"^{tmp_path}/file is a file, but a folder is needed there$"):
        open_storage(str(tmp_path / "file" / "run")).put("a", b"1")
    assert open_storage(str(tmp_path / "file")).list() == []


def test_a_folder_that_cannot_be_made_is_an_input_error():
    storage = open_storage("/proc/nowhere/run")
    for write in (storage.put, storage.create):
        with pytest.raises(InputError, match=r"^/proc/nowhere/run cannot be created$"):
            write("a", b"1")


def test_without_hard_links_create_still_has_one_winner(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    storage = open_storage(str(tmp_path))
    assert storage.create("a", b"1")
    assert not storage.create("a", b"2")
    assert storage.read("a") == b"1"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF])
def test_a_folder_that_cannot_be_synced_fails_the_write_unless_its_file_system_cannot_do_that(
    tmp_path, monkeypatch, number
):
    """A name that is not on the disk is lost at a crash: a disk's error was passed over."""
    sync = os.fsync

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    storage = open_storage(str(tmp_path))
    if number in (errno.EIO, errno.ENOSPC):
        with pytest.raises(ArtifactError, match=f"^{tmp_path}/a: {os.strerror(number)}$"):
            storage.put("a", b"1")
    else:
        storage.put("a", b"1")
        assert storage.read("a") == b"1"
