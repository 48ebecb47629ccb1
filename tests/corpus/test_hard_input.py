"""Input that is large, dense or goes away: whole runs in bounded memory, or one clear error."""

from __future__ import annotations

import errno
import gzip
import os
import pathlib
import shutil
import time
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from pipeline.storage.world import Files
from tests.helpers.commands import ALONE, digest_of, peak, train, write_corpus
from transforms import tokens

MEGABYTE = 1 << 20
CHEAP = (
    "--dims=8",
    "--epochs=1",
    "--window=1",
    "--negatives=1",
    "--subsample=1e-7",
    "--threads=2",
    "--min_count=1",
    "--no_report",
)
"""Next to no training, but every stage."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text.txt")


@pytest.fixture(scope="module")
def digest(corpus, tmp_path_factory) -> str:
    return digest_of(corpus, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def usual(corpus, tmp_path_factory) -> int:
    """Bytes of memory that a run on little text needs."""
    return peak(f"--input={corpus}", f"--output={tmp_path_factory.mktemp('usual') / 'run'}", *CHEAP)


def dead(output: pathlib.Path) -> list[dict]:
    return [row for file in sorted(output.glob("dead_letters/*/*")) for row in pq.read_table(file).to_pylist()]


# Long lines


def test_a_long_line_is_as_many_sentences_and_a_longer_one_a_dead_letter(corpus, tmp_path):
    words = corpus.read_text().split()
    long = (" ".join(words * 20)).encode()
    assert 500_000 < len(long) < 2_000_000
    cut = words * 20
    sentences = b"".join(" ".join(cut[i : i + 1000]).encode() + b"\n" for i in range(0, len(cut), 1000))
    (tmp_path / "cut.txt").write_bytes(sentences + corpus.read_bytes())
    limit = f"--max_line_bytes={len(long)}"
    (tmp_path / "long.txt").write_bytes(long + b"\n" + long + b"x\n" + corpus.read_bytes())
    expected = digest_of(tmp_path / "cut.txt", tmp_path / "cut")
    for number, block_bytes in enumerate((8 << 20, 100_000)):
        output = tmp_path / f"run{number}"
        assert digest_of(tmp_path / "long.txt", output, limit, f"--block_bytes={block_bytes}") == expected
        (row,) = dead(output)
        assert (row["offset"], row["reason"]) == (len(long) + 1, "longer than --max_line_bytes")
        assert row["sample"] == long[:200]


@pytest.mark.slow
def test_lines_of_a_hundred_megabytes(corpus, digest, usual, tmp_path):
    """One just below --max_line_bytes is used, one just above is not; neither needs much more than itself."""
    path = tmp_path / "text.txt"
    with open(path, "wb") as file:
        file.write(b"below " * (100 * MEGABYTE // 6) + b"\n" + b"above " * (150 * MEGABYTE // 6) + b"\n")
        file.write(corpus.read_bytes())
    used = peak(f"--input={path}", f"--output={tmp_path / 'run'}", *CHEAP)
    print(f"{(used - usual) / MEGABYTE:.0f} MB more than {usual / MEGABYTE:.0f} MB")
    assert used < usual + 600 * MEGABYTE
    (row,) = dead(tmp_path / "run")
    assert row["offset"] == 100 * MEGABYTE // 6 * 6 + 1
    words = dict(pq.read_table(tmp_path / "run" / "vocabulary").to_pylist()[0])
    assert words == {"word": "below", "count": 100 * MEGABYTE // 6}


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_gigabyte_without_a_newline(corpus, usual, tmp_path, packed):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(corpus, folder / "a.txt")
    if packed:
        (folder / "bomb").write_bytes(gzip.compress(bytes(1000 * MEGABYTE), 1))
    else:
        (folder / "bomb").touch()
        os.truncate(folder / "bomb", 1000 * MEGABYTE)
    used = peak(f"--input={folder}", f"--output={tmp_path / 'run'}", *CHEAP)
    print(f"{(used - usual) / MEGABYTE:.0f} MB more than {usual / MEGABYTE:.0f} MB")
    assert used < usual + 400 * MEGABYTE
    (row,) = dead(tmp_path / "run")
    assert (row["uri"], row["offset"]) == (str(folder / "bomb"), 0)
    assert row["reason"] == "longer than --max_line_bytes"


@pytest.mark.slow
def test_a_bomb_of_lines_is_unpacked_in_bounded_memory(usual, tmp_path):
    """A few megabytes that stand for a gigabyte."""
    packed = tmp_path / "bomb.gz"
    with gzip.open(packed, "wb", 1) as file:
        for _ in range(1000):
            file.write(b"bombs are not worth much\n" * (MEGABYTE // 25))
    assert packed.stat().st_size < 20 * MEGABYTE
    used = peak(f"--input={packed}", f"--output={tmp_path / 'run'}", *CHEAP)
    print(f"{(used - usual) / MEGABYTE:.0f} MB more than {usual / MEGABYTE:.0f} MB")
    assert used < usual + 400 * MEGABYTE
    vocabulary = pq.read_table(tmp_path / "run" / "vocabulary")
    assert vocabulary["count"].to_pylist() == [1000 * (MEGABYTE // 25)] * 5


# Files that go away while a run is at work


def gone(path: pathlib.Path, patch: pytest.MonkeyPatch) -> None:
    path.unlink()


def shut(path: pathlib.Path, patch: pytest.MonkeyPatch) -> None:
    path.chmod(0)
    if os.geteuid() == 0:  # root reads it all the same

        def refusing(opened):
            def refuse(files: Files, file: str, *how, **more):
                if file == str(path):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), file)
                return opened(files, file, *how, **more)

            return refuse

        for name in ("open", "open_regular"):
            patch.setattr(Files, name, refusing(getattr(Files, name)))


def folder(path: pathlib.Path, patch: pytest.MonkeyPatch) -> None:
    path.unlink()
    path.mkdir()


def shorter(path: pathlib.Path, patch: pytest.MonkeyPatch) -> None:
    os.truncate(path, 100)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (gone, "does not exist: the input changed during the run; run again with --overwrite"),
        (shut, "permission denied"),
        (folder, "s a directory"),
        (shorter, "changed while it was read: it ends at byte 100"),
    ],
)
def test_a_file_that_cannot_be_read_any_more_when_words_are_looked_up(tmp_path, monkeypatch, act, message):
    text = write_corpus(tmp_path / "text.txt", lines=60)
    data, info = text.read_bytes(), text.stat()
    arguments = [f"--input={text}", f"--output={tmp_path / 'run'}", *ALONE, "--no_report"]
    with monkeypatch.context() as patch:
        original: Callable = tokens.stored_tokens

        def stored_tokens(*arguments):
            act(text, patch)
            return original(*arguments)

        patch.setattr(tokens, "stored_tokens", stored_tokens)
        outcome = train(*arguments)
    assert outcome.status == 2
    assert outcome.error.startswith(str(text))
    assert message in outcome.error.lower()
    if act is folder:
        text.rmdir()
    elif text.exists():
        text.chmod(0o600)
    text.write_bytes(data)
    os.utime(text, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert train(*arguments).status == 0


# Very many files, very large ones


@pytest.mark.slow
def test_a_hundred_thousand_files_in_a_few_units(tmp_path):
    folder = tmp_path / "in"
    line = write_corpus(tmp_path / "line.txt", lines=1).read_bytes()
    for i in range(100):
        (folder / f"{i:02d}").mkdir(parents=True)
        for j in range(1000):
            (folder / f"{i:02d}" / f"{j:03d}.txt").write_bytes(line)
    began = time.monotonic()
    used = peak(f"--input={folder}", f"--output={tmp_path / 'run'}", *CHEAP)
    print(f"{time.monotonic() - began:.0f} s, {used / MEGABYTE:.0f} MB")
    assert len(list((tmp_path / "run" / "tokens").glob("*/*"))) <= 60
    rows = pq.read_table(tmp_path / "run" / "vocabulary")
    assert sum(rows["count"].to_pylist()) == 100_000 * len(line.split())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_file_of_five_gigabytes_is_cut(corpus, usual, tmp_path):
    block = write_corpus(tmp_path / "block.txt", lines=9000, words=20_000).read_bytes() * 25
    times = 5_000 * MEGABYTE // len(block)
    path = tmp_path / "large.txt"
    with open(path, "wb") as file:
        for _ in range(times):
            file.write(block)
    began = time.monotonic()
    used = peak(f"--input={path}", f"--output={tmp_path / 'run'}", *CHEAP, "--batch_size=65536")
    print(f"{time.monotonic() - began:.0f} s, {(used - usual) / MEGABYTE:.0f} MB more than {usual / MEGABYTE:.0f} MB")
    units = len(list((tmp_path / "run" / "tokens").glob("*/*")))
    assert units == -(-path.stat().st_size // (8 << 20))
    rows = pq.read_table(tmp_path / "run" / "vocabulary")
    assert sum(rows["count"].to_pylist()) == times * len(block.split())
    assert used < usual + 800 * MEGABYTE
