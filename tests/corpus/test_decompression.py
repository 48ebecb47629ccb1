"""Compressed streams: whole, in members, truncated, damaged, and too large for memory when unpacked."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from pipeline.corpus.dead_letters import BROKEN_OFF
from pipeline.corpus.decompression import OUT_BYTES, BrokenOffError, compression_name, decompress
from pipeline.corpus.files import match_inputs
from pipeline.corpus.unpacking import compression_of, head, unpack
from pipeline.errors import InputError
from pipeline.storage.parquet import from_parquet
from tests.helpers.unpacking import text_commits, work_text


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def xz(data: bytes) -> bytes:
    """Packed fast: how well does not matter here."""
    return lzma.compress(data, preset=0)


PACKERS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": xz, "zstd": zstd}
BOMB = 100 << 20
"""Bytes that a bomb holds: more than twice what may be held of it."""
TEXT = np.random.default_rng(1).bytes(100_000).hex().encode() + b"\n" + b"the last line"
all_packers = pytest.mark.parametrize("name", PACKERS)


def chunks(data: bytes, size: int):
    return (data[i : i + size] for i in range(0, len(data), size))


@all_packers
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 23])
def test_streams_one_after_the_other(name, size):
    pack = PACKERS[name]
    text = TEXT[:2000] if size == 1 else TEXT
    data = pack(text) + pack(b"") + pack(b"more\n")
    assert compression_name(data[:16]) == name
    assert b"".join(decompress(name, chunks(data, size))) == text + b"more\n"
    assert compression_name(pack(b"")[:16]) == name
    assert b"".join(decompress(name, [pack(b"")])) == b""


@all_packers
def test_truncated_and_damaged_streams_are_told(name):
    data = PACKERS[name](TEXT)
    for cut in (3, len(data) // 2, len(data) - 1):
        with pytest.raises(BrokenOffError, match=rf"truncated: its {name} data end too early, at byte {cut:,}"):
            list(decompress(name, [data[:cut]]))
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 0x55
    if name != "zstd":  # Arrow writes frames without a checksum
        with pytest.raises(BrokenOffError, match=rf"(damaged|truncated): its {name} data"):
            list(decompress(name, [bytes(damaged)]))
    with pytest.raises(BrokenOffError):
        list(decompress(name, [data, b"garbage that follows"]))


@all_packers
def test_a_bomb_is_unpacked_in_bounded_memory(name):
    data = PACKERS[name](bytes(BOMB))
    tracemalloc.start()
    made = 0
    for part in decompress(name, [data]):
        assert len(part) <= OUT_BYTES
        made += len(part)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made == BOMB
    assert peak < 40 << 20


@all_packers
def test_what_is_left_of_a_truncated_file_is_used_only_when_allowed(name, tmp_path):
    lines = b"".join(b"%d some words of a line\n" % (i * 7919) for i in range(200_000))
    data = PACKERS[name](lines)
    path = tmp_path / "cut"
    path.write_bytes(data[: len(data) * 3 // 4])
    (file,) = match_inputs([str(path)])
    commits = text_commits(str(tmp_path / "run"))
    with pytest.raises(InputError, match=r"cut is truncated: .*; get the file again, or .* --allow_truncated"):
        unpack(commits, file, 0, 1000)
    assert commits.load("file-000000000") is None
    unpacked = unpack(commits, file, 0, 1000, allow_truncated=True)
    text = work_text(unpacked)
    assert lines.startswith(text)
    assert text.endswith(b"\n")
    assert len(text) > len(lines) // 3
    assert unpacked.bad_lines <= 1
    if unpacked.bad_lines:
        letters = commits.load("file-000000000").artifacts[-1]
        (row,) = from_parquet(commits.records.read(letters)).to_pylist()
        assert (row["reason"], row["offset"]) == (BROKEN_OFF, len(text))
    assert lines.startswith(head(file, 1000))


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_what_comes_before_damage_is_used_when_allowed(name, tmp_path):
    """However small the file: a decompressor gives nothing of the call in which it finds the damage."""
    numbers = np.random.default_rng(1).integers(0, 1 << 62, 150_000)
    lines = b"".join(b"%d\n" % number for number in numbers)
    data = bytearray(PACKERS[name](lines))
    middle = len(data) * 3 // 4
    data[middle : middle + 4096] = b"\xff" * 4096
    (tmp_path / "damaged").write_bytes(data)
    (file,) = match_inputs([str(tmp_path / "damaged")])
    commits = text_commits(str(tmp_path / "run"))
    unpacked = unpack(commits, file, 0, 1000, allow_truncated=True)
    text = work_text(unpacked)
    assert text[: len(lines) // 2] == lines[: len(lines) // 2]


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd"])
def test_a_small_truncated_file_gives_what_is_there(name):
    data = PACKERS[name](TEXT)

    def until_it_breaks(packed: bytes) -> bytes:
        made = b""
        try:
            for part in decompress(name, [packed]):
                made += part
        except BrokenOffError:
            return made
        raise AssertionError("it is whole")

    assert TEXT.startswith(cut := until_it_breaks(data[:-5]))
    assert len(cut) > len(TEXT) // 3
    for behind in (data[:-5], b"garbage that follows"):
        found = until_it_breaks(data + behind)
        assert (TEXT + cut).startswith(found)
        assert len(found) > len(TEXT) - (17 << 10)  # Arrow gives nothing of what it has begun to read


def test_the_source_of_a_zstd_stream_fails_as_itself():
    def source():
        yield zstd(TEXT)[:1000]
        raise InputError("gone")

    with pytest.raises(InputError, match="gone"):
        list(decompress("zstd", source()))


def test_an_empty_stream_is_no_text(tmp_path):
    for name, pack in PACKERS.items():
        (tmp_path / name).write_bytes(pack(b""))
        (file,) = match_inputs([str(tmp_path / name)])
        assert compression_of(file) == name
        assert unpack(text_commits(str(tmp_path / f"run-{name}")), file, 0, 1000).sources == ()
