"""What the ending of an export's name asks for: a compression, or a format that it is not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma

import pytest

from pipeline.analysis.export import FORMATS
from pipeline.analysis.export_files import COMPRESSIONS, ENDINGS, compressing, compression_of, one_file
from pipeline.corpus.decompression import compression_name, decompress
from pipeline.errors import InputError

CONTENT = b"".join(b"word%d 0.25 -1e-05\n" % (i * 7919 % 1000) for i in range(20_000))
READERS = {"gzip": gzip.decompress, "bzip2": bz2.decompress, "xz": lzma.decompress}


def compressed(compression: str, piece: int = 9999) -> bytes:
    file = io.BytesIO()
    with compressing(file, compression) as writer:
        for start in range(0, len(CONTENT), piece):
            writer.write(CONTENT[start : start + piece])
    return file.getvalue()


@pytest.mark.parametrize("compression", sorted(set(COMPRESSIONS.values())))
def test_what_is_compressed_is_read_back(compression):
    data = compressed(compression)
    assert compression_name(data[:16]) == compression
    assert b"".join(decompress(compression, [data])) == CONTENT
    assert len(data) < len(CONTENT) / 4
    if compression in READERS:
        assert READERS[compression](data) == CONTENT


def test_a_file_of_zstd_is_one_frame():
    """Readers that stop after the first would miss the rest in silence."""
    zstandard = pytest.importorskip("zstandard")
    assert zstandard.ZstdDecompressor().stream_reader(io.BytesIO(compressed("zstd"))).read() == CONTENT


def test_a_file_of_gzip_holds_no_time_and_no_name(monkeypatch):
    head = compressed("gzip")[:10]
    assert head[3] == 0, "flags: no name, no comment"
    assert head[4:8] == bytes(4), "time"
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert compressed("gzip")[:10] == head


def test_without_compression_the_file_is_written_itself():
    assert compressed("") == CONTENT


def test_every_format_has_endings():
    assert set(ENDINGS) == set(FORMATS)


@pytest.mark.parametrize(
    ("format", "name", "expected"),
    [
        ("word2vec", "v.txt.gz", ("gzip", ".gz")),
        ("word2vec", "v.vec.BZ2", ("bzip2", ".BZ2")),
        ("word2vec", "s3://bucket/a.npy/v.zst", ("zstd", ".zst")),
        ("word2vec-binary", "v.bin.xz", ("xz", ".xz")),
        ("glove", "glove.6B.50d.txt.gz", ("gzip", ".gz")),
        ("glove", "glove.6B.50d", ("", "")),
        ("projector", "p.gz/", ("gzip", ".gz")),
        ("npy", "v", ("", "")),
        ("parquet", "v.model", ("", "")),
        ("word2vec", ".gz", ("", "")),
        ("word2vec", "v.gz.old", ("", "")),
    ],
)
def test_the_ending_names_the_compression(format, name, expected):
    assert compression_of(format, name, FORMATS[format].compressible) == expected


@pytest.mark.parametrize(
    ("format", "name", "why"),
    [
        ("npy", "v.txt.gz", r"\.txt is the ending of --format=word2vec, not of npy; .* or write \.npy"),
        ("npy", "v.npy.gz", "--format=npy is not compressed"),
        ("npy", "v.gz", "--format=npy is not compressed"),
        ("parquet", "x.npy", r"\.npy is the ending of --format=npy"),
        ("parquet", "x.parquet.zst", "--format=parquet is not compressed"),
        ("safetensors", "s.gz", "--format=safetensors is not compressed"),
        ("word2vec", "v.BIN", r"\.bin is the ending of --format=word2vec-binary"),
        ("word2vec", "v.parquet.gz", r"\.parquet is the ending of --format=parquet"),
        ("word2vec-binary", "v.txt", r"\.txt is the ending of --format=word2vec, not of word2vec-binary"),
        ("word2vec", "v.txt.zip", r"\.zip files are not written"),
        ("word2vec", "v.gz.gz", r"\.gz files are not written"),
        ("word2vec", "v.zip.gz", r"\.zip files are not written"),
        ("npy", "v.npz", r"\.npz files are not written"),
    ],
)
def test_an_ending_of_another_format_is_refused(format, name, why):
    with pytest.raises(InputError, match=f"--to={name}: {why}"):
        compression_of(format, name, FORMATS[format].compressible)


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_a_result_of_one_format_is_compressed_by_its_name(tmp_path, ending):
    one_file("--json", f"{tmp_path}/r.json{ending}").pack(CONTENT)
    data = (tmp_path / f"r.json{ending}").read_bytes()
    assert b"".join(decompress(compression_name(data[:16]), [data])) == CONTENT
    one_file("--json", f"{tmp_path}/r.json").pack(CONTENT)
    assert (tmp_path / "r.json").read_bytes() == CONTENT
    (tmp_path / "link").symlink_to(f"r.json{ending}")
    with pytest.raises(InputError, match=f"--json=.*link is a link to .*{ending}, whose ending asks for"):
        one_file("--json", f"{tmp_path}/link")


@pytest.mark.parametrize("name", ["r.zip", "r.json.tgz", "r.7z"])
def test_a_result_is_no_archive(name):
    with pytest.raises(InputError, match=f"--to={name}: .* files are not written"):
        one_file("--to", name)
