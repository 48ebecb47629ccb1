"""Compressed files, unpacked into work text."""

from __future__ import annotations

import gzip
import os
import pathlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.batches.tokens import encode_unit
from pipeline.corpus import decompression
from pipeline.corpus import unpacking as compressed
from pipeline.corpus.files import InputFile
from pipeline.corpus.readers.reader import first_sentences
from pipeline.corpus.readers.text import TextReader
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.corpus.unpacking import compression_of, compressions_of, unpack
from pipeline.corpus.work_units import plan_work_units
from pipeline.errors import InputError
from pipeline.runs.input_check import changed_inputs, recorded_files
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.parquet import from_parquet
from pipeline.words.counts import count_unit
from pipeline.words.merging import merge_counts
from pipeline.words.vocabulary import Vocabulary, build_vocabulary
from tests.helpers.keys import KEY
from tests.helpers.unpacking import piece_text, text_commits, work_text

# Compressed files


def file_of(path, data: bytes) -> InputFile:
    path.write_bytes(data)
    return InputFile(str(path), len(data), str(os.stat(path).st_mtime_ns))


@pytest.fixture
def commits(tmp_path) -> Commits:
    return text_commits(str(tmp_path / "run"))


def test_members_and_padding(tmp_path, commits):
    data = gzip.compress(b"one\n") + gzip.compress(b"") + gzip.compress(b"two") + b"\0" * 100
    file = file_of(tmp_path / "a.txt", data)
    assert compression_of(file) == "gzip"
    unpacked = unpack(commits, file, 7, 1000)
    assert work_text(unpacked) == b"one\ntwo"
    piece = f"run/text/{KEY[:8]}/file-000000007/piece-000000000.txt"
    assert unpacked.sources[0].uri == str(tmp_path / piece)
    assert (unpacked.bytes, unpacked.bad_lines) == (7, 0)
    assert list(changed_inputs(TextReader, recorded_files(commits.records, {"text": KEY, "counts": KEY}), {})) == []
    (tmp_path / "a.txt").unlink()  # nobody asks for it again
    assert unpack(text_commits(str(tmp_path / "run")), file, 7, 1000) == unpacked


def test_damaged_work_text_is_unpacked_anew(tmp_path, commits):
    file = file_of(tmp_path / "a.gz", gzip.compress(b"one\ntwo\n"))
    (source,) = unpack(commits, file, 0, 1000).sources
    pathlib.Path(source.uri).write_bytes(b"one\ntwO\n")
    again = unpack(text_commits(str(tmp_path / "run")), file, 0, 1000)
    assert work_text(again) == b"one\ntwo\n"


@given(
    st.lists(st.binary(max_size=40) | st.just(b"\n") | st.just(b"word\n"), max_size=40).map(b"".join),
    st.integers(1, 60),
    st.sampled_from([5, 30, 1000]),
    st.integers(1, 50),
)
@settings(deadline=None, max_examples=80)
def test_pieces_are_the_text_cut_at_line_ends(data, piece_bytes, longest, read_bytes):
    commits, storage = text_commits("memory://pieces"), open_storage("memory://pieces")
    before = compressed._LONG_LINE, compressed._READ_BYTES, decompression.OUT_BYTES
    compressed._LONG_LINE, compressed._READ_BYTES, decompression.OUT_BYTES = 5, read_bytes, 20
    try:
        storage.put("in", gzip.compress(data))
        info = storage.info("in")
        file = InputFile(storage.uri("in"), info.size, info.version)
        storage.delete(f"records/text/{KEY[:8]}/file-000000000.json")
        unpacked = unpack(commits, file, 0, longest, piece_bytes)
    finally:
        compressed._LONG_LINE, compressed._READ_BYTES, decompression.OUT_BYTES = before
    mark = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    assert unpacked.bytes == len(data)
    covered, lost = mark, 0
    for source in unpacked.sources:
        text = piece_text(source)
        gap = data[covered : source.origin_offset]
        assert all(len(line) > longest for line in gap.split(b"\n")[: gap.count(b"\n")])
        lost += gap.count(b"\n")
        assert data[source.origin_offset : source.origin_offset + source.size] == text
        assert source.origin_offset == mark or data[source.origin_offset - 1 : source.origin_offset] == b"\n"
        assert source.size <= piece_bytes + max(len(line) + 1 for line in text.split(b"\n"))
        assert source.origin == file.uri
        covered = source.origin_offset + source.size
    tail = data[covered:]
    lost += len(tail.splitlines()) > 0 and sum(1 for line in tail.split(b"\n") if line)
    assert unpacked.bad_lines == lost


def test_overlong_line_is_not_held_and_told(tmp_path, commits):
    long = 9 << 20
    text = b"\xef\xbb\xbfa\n" + b"x" * long + b"\nb\n"
    unpacked = unpack(commits, file_of(tmp_path / "a.gz", gzip.compress(text, 1)), 0, 1000)
    assert work_text(unpacked) == b"a\nb\n"
    assert [source.origin_offset for source in unpacked.sources] == [3, long + 6]
    assert unpacked.bad_lines == 1
    record = commits.load("file-000000000")
    (row,) = from_parquet(commits.records.read(record.artifacts[-1])).to_pylist()
    assert (row["offset"], row["uri"]) == (5, str(tmp_path / "a.gz"))


def test_plain_parts_and_gzip_hold_the_same_tokens(tmp_path, commits):
    lines = [f"word{i % 97} x{i % 7} 한국{i % 3}\n".encode() for i in range(5000)]
    lines[70], lines[900] = b"bad \xff\n", b"long " * 100 + b"\n"
    text = b"\xef\xbb\xbf" + b"".join(lines)
    reader = TextReader(open_tokenizer("whitespace"), 400)
    packed = file_of(tmp_path / "a.gz", gzip.compress(text))
    whole = file_of(tmp_path / "a", text)
    cut = len(b"".join(lines[:901])) + 3
    parts = [file_of(tmp_path / "b", text[:cut]), file_of(tmp_path / "c", text[cut:])]
    pieces = unpack(commits, packed, 0, 400, 10_000)
    assert len(pieces.sources) > 5
    found = set()
    for sources in ([(whole.uri, whole.size)], [(file.uri, file.size) for file in parts], pieces.sources):
        for block_bytes in (1000, 1 << 20):
            units = plan_work_units(sources, block_bytes)
            counted = [count_unit(unit, reader) for unit in units]
            assert sum(unit.bad_lines for unit in counted) == 2
            assert sum(unit.lines for unit in counted) == 5000
            words = build_vocabulary([merge_counts([unit.table for unit in counted])], 2)
            shards = [encode_unit(unit, Vocabulary.from_table(words), reader).table for unit in units]
            found.add((str(words.to_pylist()), str(pa.concat_tables(shards).to_pylist())))
            offsets = [row["offset"] for u in counted for row in u.dead_letters.table().to_pylist()]
            if sources is pieces.sources or len(sources) == 1:
                assert offsets == [text.index(lines[70]), text.index(lines[900])]
    assert len(found) == 1


def test_truncated_and_damaged_gzip(tmp_path, commits):
    text = np.random.default_rng(1).bytes(200_000).hex().encode()
    data = gzip.compress(text)
    for cut in (3, 15, 1000, len(data) - 9, len(data) - 1):
        file = file_of(tmp_path / "cut.gz", data[:cut])
        with pytest.raises(InputError, match=rf"cut\.gz is truncated: .* at byte {cut:,}.*; get the file again"):
            unpack(commits, file, 0, 1000)
    for at in (1000, len(data) - 6):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        file = file_of(tmp_path / "bad.gz", bytes(damaged))
        with pytest.raises(InputError, match=r"bad\.gz is damaged: .*; get the file again"):
            unpack(commits, file, 0, 1000)
    file = file_of(tmp_path / "tail.gz", data + b"garbage")
    with pytest.raises(InputError, match=r"tail\.gz is damaged"):
        unpack(commits, file, 0, 1000)
    assert commits.load("file-000000000") is None


def test_compression_is_told_by_content(tmp_path):
    plain = file_of(tmp_path / "plain.gz", b"BZh is a name\n")
    empty = file_of(tmp_path / "empty", b"")
    assert compressions_of([plain, empty]) == ["", ""]
    for data, name in ((b"\x28\xb5\x2f\xfd1234", "zstd"), (b"P*M\x18", "zstd"), (b"BZh91AY&SY...", "bzip2")):
        assert compression_of(file_of(tmp_path / "odd", data)) == name
    for data, name in ((b"PK\x03\x04..", "zip"), (b"\x04\x22\x4d\x18", "lz4")):
        with pytest.raises(InputError, match=f"odd is {name} data, which cannot be read: unpack it first"):
            compression_of(file_of(tmp_path / "odd", data))


def test_first_sentences_of_plain_and_compressed_files(tmp_path):
    reader = TextReader(open_tokenizer("whitespace"), 400)
    text = b"\xef\xbb\xbf\n \na b\nbad \xff\nc\n" + b"d e\n" * 100_000
    plain, packed = file_of(tmp_path / "a", text), file_of(tmp_path / "b", gzip.compress(text))
    expected = [["a", "b"], ["c"], ["d", "e"]]
    assert first_sentences([plain], reader) == first_sentences([packed], reader) == expected
    short = file_of(tmp_path / "c", b"\nlast")
    assert first_sentences([short, packed], reader, 2) == [["last"], ["a", "b"]]


def test_a_file_made_to_fill_the_disk_is_refused_and_leaves_nothing(tmp_path, commits, monkeypatch):
    monkeypatch.setattr(compressed, "_ANY_FILE", 1000)
    file = file_of(tmp_path / "bomb.gz", gzip.compress(b"a line\n" * 100_000))
    with pytest.raises(InputError, match=r"bomb\.gz has .* bytes and unpacks to more than .*: it may be made to fill"):
        unpack(commits, file, 0, 1000, piece_bytes=100_000)
    assert commits.records.storage.list() == []
