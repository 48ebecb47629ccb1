"""Storage through Beam's FileSystems: what it promises, what it refuses, and exports that go there."""

from __future__ import annotations

import pathlib
import shutil

import numpy as np
import pytest
from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem
from apache_beam.io.filesystems import FileSystems

from beam2vec import Run
from pipeline.analysis.export import FORMATS
from pipeline.errors import ArtifactError, InputError
from pipeline.storage.open_storage import open_storage, split_uri
from tests.helpers.commands import TINY, digest_of, run, train, write_corpus
from tests.helpers.fake_hdfs import serve


class Shelf(FileSystem):
    """shelf://...: a folder, as strict as file systems get. Nothing is written over, no folder comes by itself."""

    folder: pathlib.Path
    fails_after: int | None = None

    @classmethod
    def scheme(cls):
        return "shelf"

    def _path(self, uri):
        return self.folder / uri.removeprefix("shelf://")

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def has_dirs(self):
        return True

    def mkdirs(self, path):
        self._path(path).mkdir(parents=True)

    def create(self, path, mime_type="application/octet-stream", compression_type="auto"):
        assert compression_type != "auto", "a name that ends in .gz must not decide"
        if Shelf.fails_after is not None:
            raise BeamIOError("Create operation failed", {path: OSError(28, "No space left on device")})
        return self._path(path).open("xb")

    def open(self, path, mime_type="application/octet-stream", compression_type="auto"):
        assert compression_type != "auto"
        return self._path(path).open("rb")

    def rename(self, source_file_names, destination_file_names):
        for source, destination in zip(source_file_names, destination_file_names):
            if self.exists(destination):
                raise BeamIOError(f"{destination} exists")
            self._path(source).rename(self._path(destination))

    def exists(self, path):
        return self._path(path).exists()

    def metadata(self, path):
        found = self._path(path).stat()
        return FileMetadata(path, found.st_size, found.st_mtime)

    def delete(self, paths):
        for path in paths:
            self._path(path).unlink()

    copy = size = last_updated = checksum = _list = None


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(Shelf, "folder", tmp_path / "shelf", raising=False)
    return tmp_path / "shelf"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    outcome = train(f"--input={write_corpus(folder / 'corpus.txt')}", f"--output={folder / 'run'}", *TINY)
    assert outcome.status == 0, outcome.stderr
    return Run.open(str(folder / "run"))


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_is_that_of_a_folder(trained, shelf, tmp_path, format):
    to = f"out/{format}{'.gz' if FORMATS[format].compressible else '.d'}"
    for root in ("shelf://", f"{tmp_path}/plain/"):
        for _ in range(2):  # the second replaces the first
            outcome = run("jobs.export", f"--run={trained.uri}", f"--format={format}", f"--to={root}{to}")
            assert outcome.status == 0, outcome.stderr
    assert (
        f"shelf://{to}" in run("jobs.export", f"--run={trained.uri}", f"--format={format}", f"--to=shelf://{to}").stdout
    )
    there = names(tmp_path / "plain")
    assert names(shelf) == there != []
    for name in there:
        assert (shelf / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_objects_read_back_whole_and_in_ranges(shelf):
    storage = open_storage("shelf://a/b/")
    storage.put("c/d", b"0123456789")
    assert storage.uri("c/d") == "shelf://a/b/c/d"
    root, path = split_uri("shelf://a/b/c/d")
    assert open_storage(root).read(path) == b"0123456789"
    assert open_storage(root).read_range(path, 8, 5) == b"89"
    assert open_storage(root).info(path).size == 10
    assert storage.find("nothing") is None
    storage.delete("c/d")
    storage.delete("c/d")
    assert names(shelf) == []
    with pytest.raises(ArtifactError, match="shelf://a/b/c/d does not exist"):
        storage.read("c/d")


def test_a_failed_write_leaves_what_was_there(shelf, monkeypatch):
    storage = open_storage("shelf://a")
    storage.put("x", b"before")
    monkeypatch.setattr(Shelf, "fails_after", 0)
    with pytest.raises(ArtifactError, match=r"^shelf://a/x: .*No space left on device$"):
        storage.put("x", b"after")
    assert storage.read("x") == b"before"
    assert names(shelf) == ["a/x"]


def test_no_run_and_no_listing(shelf, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.txt", lines=20)
    outcome = train(f"--input={corpus}", "--output=shelf://run", *TINY)
    assert outcome.status == 2
    assert "shelf://run: no run can live here" in outcome.error
    export, train_from = ["--format=npy", "--to=x"], [f"--output={tmp_path / 'run'}"]
    others = {"verify": [], "report": [], "evaluate": ["--neighbors=a"], "export": export, "train": train_from}
    for job, more in others.items():
        outcome = run(f"jobs.{job}", f"--{'corpus' if job == 'train' else 'run'}=shelf://run", *more)
        assert (outcome.status, "shelf://run: no run can live here" in outcome.error) == (2, True)
    with pytest.raises(InputError, match="files here are not listed"):
        open_storage("shelf://run").list()
    outcome = run("jobs.evaluate", "--run=nosuch://x", "--neighbors=a")
    assert (outcome.status, "nosuch:// is not supported" in outcome.error) == (2, True)


def test_reports_and_judgements_go_through_it_too(trained, shelf):
    words = trained.words()
    open_storage("shelf://in").put("pairs.tsv", f"{words[0]}\t{words[1]}\t1\n{words[2]}\t{words[3]}\t2\n".encode())
    pairs = "--pairs=shelf://in/pairs.tsv"
    assert run("jobs.evaluate", f"--run={trained.uri}", pairs, "--json=shelf://out/r.json").status == 0
    assert run("jobs.report", f"--run={trained.uri}", pairs, "--to=shelf://out/r.html").status == 0
    assert names(shelf / "out") == ["r.html", "r.json"]
    shutil.rmtree(shelf)


def test_hdfs(trained, tmp_path):
    """Beam's HadoopFileSystem and its client, against a name node of our own."""
    pytest.importorskip("hdfs", reason="pip install 'apache-beam[hadoop]'")
    export = ["jobs.export", f"--run={trained.uri}", "--format=npy", "--to=hdfs://models/first.npy"]
    try:
        with serve() as (port, files):
            for _ in range(2):
                outcome = run(*export, "--hdfs_host=127.0.0.1", f"--hdfs_port={port}", "--hdfs_user=me")
                assert outcome.status == 0, outcome.stderr
            assert set(files) == {"/models/first.npy", "/models/first.words.json"}
            (tmp_path / "v.npy").write_bytes(files["/models/first.npy"])
            np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), trained.vectors())
        outcome = run(*export, "--hdfs_host=127.0.0.1", f"--hdfs_port={port}", "--hdfs_user=me")
        assert (outcome.status, "hdfs://models/first.npy: " in outcome.error) == (1, True)
        FileSystems.set_options(None)  # as in a new process
        with serve() as (port, files):
            files["/texts/text.txt"] = write_corpus(tmp_path / "text.txt", lines=60).read_bytes()
            there = ["--hdfs_host=127.0.0.1", f"--hdfs_port={port}", "--hdfs_user=me"]
            found = digest_of("hdfs://texts/text.txt", tmp_path / "there", *there)
            assert found == digest_of(tmp_path / "text.txt", tmp_path / "here")
        outcome = run(*export, "--hdfs_host=127.0.0.1")
        assert (outcome.status, "hdfs_port is not set" in outcome.error) == (2, True)
        outcome = run(*export, "--hdfs_hosts=127.0.0.1")
        assert (outcome.status, "unrecognized arguments: --hdfs_hosts" in outcome.error) == (2, True)
    finally:
        FileSystems.set_options(None)
