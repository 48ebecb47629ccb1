"""Which files a pattern names, and compressed ones unpacked into the same lines."""

from __future__ import annotations

import gzip
import os
import pathlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.batches.tokens import encode_unit
from pipeline.corpus import decompression
from pipeline.corpus import files as inputs
from pipeline.corpus import unpacking as compressed
from pipeline.corpus.dead_letters import read_dead_letters
from pipeline.corpus.files import InputFile, match_inputs
from pipeline.corpus.readers.reader import first_sentences
from pipeline.corpus.readers.text import TextReader
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.corpus.unpacking import compression_of, compressions_of, unpack
from pipeline.corpus.work_units import plan_work_units
from pipeline.errors import InputError
from pipeline.runs.input_check import changed_inputs
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from pipeline.words.counts import count_unit
from pipeline.words.merging import merge_counts
from pipeline.words.vocabulary import Vocabulary, build_vocabulary


@pytest.fixture
def corpus(tmp_path):
    for name in (
        "b.txt",
        "a.txt",
        "sub/c.txt",
        "sub/deep/d.txt",
        ".hidden",
        "_SUCCESS",
        ".git/e.txt",
        "a[1].txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def names(files, folder):
    return [os.path.relpath(file.uri, folder) for file in files]


def test_patterns(corpus, monkeypatch):
    def matched(*patterns):
        return names(match_inputs([str(corpus / pattern) for pattern in patterns]), corpus)

    assert matched("a.txt") == ["a.txt"]
    assert matched("a[1].txt") == ["a[1].txt"]
    assert matched("[ab].txt") == ["a.txt", "b.txt"]
    assert matched("*.txt", "b.txt", "a.txt") == ["a.txt", "a[1].txt", "b.txt"]
    assert matched("**/*.txt") == ["a.txt", "a[1].txt", "b.txt", "sub/c.txt", "sub/deep/d.txt"]
    assert matched("") == ["a.txt", "a[1].txt", "b.txt", "sub/c.txt", "sub/deep/d.txt"]
    assert matched("sub/*") == ["sub/c.txt"]
    monkeypatch.chdir(corpus)
    (file,) = match_inputs(["./sub/../a.txt"])
    assert file == InputFile(str(corpus / "a.txt"), 5, str(os.stat("a.txt").st_mtime_ns))
    assert match_inputs([(corpus / "a.txt").as_uri()]) == [file]


def test_the_working_directory_is_no_part_of_a_pattern(corpus, monkeypatch):
    for place in ("[2024] te*ts?", "[a", "plain"):
        (corpus / "sub").rename(corpus / place)
        monkeypatch.chdir(corpus / place)
        assert names(match_inputs(["*.txt"]), corpus) == [f"{place}/c.txt"]
        assert names(match_inputs(["deep/[d]*"]), corpus) == [f"{place}/deep/d.txt"]
        assert names(match_inputs(["../[b]*"]), corpus) == ["b.txt"]
        (corpus / place).rename(corpus / "sub")


def test_list_files(corpus):
    listed = corpus / "sub" / "paths"
    listed.write_text(f"\ufeff{corpus}/b.txt\r\n\n{corpus}/a*.txt\n{corpus}/b.txt\n", encoding="utf-8")
    assert names(match_inputs([f"@{listed}", str(corpus / "sub" / "c.txt")]), corpus) == [
        "a.txt",
        "a[1].txt",
        "b.txt",
        "sub/c.txt",
    ]
    listed.write_text("\n")
    with pytest.raises(InputError, match=r"--input=@.*paths lists no file"):
        match_inputs([f"@{listed}"])
    with pytest.raises(InputError, match=r"--input=@nowhere cannot be read"):
        match_inputs(["@nowhere"])


def unit_of(source):
    return plan_work_units([source], 1000)[0]


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path, records):
    for data in (b"a b\n" * 100, gzip.compress(b"a b\n" * 100)):
        file = file_of(tmp_path / "a", data)
        reader = TextReader(open_tokenizer("whitespace"), 400)
        source = reader.source(file)
        os.utime(tmp_path / "a", ns=(1, 1))

        def read(file=file, source=source, reader=reader):
            return unpack(file, 0, records, "key", 400) if source is None else count_unit(unit_of(source), reader)

        with pytest.raises(InputError, match=r"a changed while it was read; run again with --overwrite"):
            read()


def test_what_matches_nothing_is_named(corpus):
    for pattern in ("no.txt", "no*.txt", "sub/deep/d.txt/x"):
        with pytest.raises(InputError, match=r"--input=.* matches no file|cannot be looked at"):
            match_inputs([str(corpus / "a.txt"), str(corpus / pattern)])
    os.mkfifo(corpus / "pipe")
    with pytest.raises(InputError, match="pipe is not a regular file"):
        match_inputs([str(corpus / "pipe")])
    (corpus / "link").symlink_to("nowhere")
    with pytest.raises(InputError, match="link is a link to nothing"):
        match_inputs([str(corpus / "li*")])
    (corpus / "folder").mkdir()
    with pytest.raises(InputError, match="folder is a folder without files"):
        match_inputs([str(corpus / "folder")])
    (corpus / "empty").touch()
    with pytest.raises(InputError, match="empty is empty"):
        match_inputs([str(corpus / "empty")])
    assert len(match_inputs([str(corpus / "empty"), str(corpus / "a.txt")])) == 2


def test_input_below_the_output_is_told(corpus):
    open_storage("memory://below").put("run/a.txt", b"text")
    for pattern, output in (
        (corpus / "sub/c.txt", corpus / "sub"),
        (corpus / "sub", corpus / "sub"),
        (corpus / "sub/*/*", corpus),
        ("memory://below/run/*", "memory://below/run"),
    ):
        with pytest.raises(InputError) as told:
            match_inputs([str(pattern)], str(output))
        assert f"--input={pattern} matches only files below --output={output}, which are left out" in str(told.value)
    assert names(match_inputs([str(corpus)], str(corpus / "sub")), corpus) == ["a.txt", "a[1].txt", "b.txt"]


def test_a_file_that_vanishes_while_it_is_listed_hides_no_other(corpus, monkeypatch):
    (corpus / "a.txt").unlink()
    listed = [str(corpus / name) for name in ("a.txt", "b.txt")]
    monkeypatch.setattr(inputs, "_walk", lambda folder: iter(listed))
    monkeypatch.setattr(inputs.glob, "iglob", lambda path, recursive: iter(listed))
    for pattern in (corpus, corpus / "*.txt"):
        assert names(match_inputs([str(pattern)]), corpus) == ["b.txt"]
    with pytest.raises(InputError, match="matches no file"):
        match_inputs(listed)


def test_patterns_in_an_object_store():
    storage = open_storage("memory://inputs")
    for name in ("x/a.txt", "x/b.gz", "x/y/c.txt", "x/_SUCCESS", "xx/d.txt"):
        storage.put(name, b"text")

    def matched(pattern):
        return [file.uri.removeprefix("memory://inputs/") for file in match_inputs(["memory://inputs/" + pattern])]

    assert matched("x/a.txt") == ["x/a.txt"]
    assert matched("x/*") == ["x/_SUCCESS", "x/a.txt", "x/b.gz"]
    assert matched("x/[!b_]*") == ["x/a.txt"]
    assert matched("x/**") == ["x/_SUCCESS", "x/a.txt", "x/b.gz", "x/y/c.txt"]
    assert matched("**/c.txt") == ["x/y/c.txt"]
    assert matched("x") == matched("x/") == ["x/a.txt", "x/b.gz", "x/y/c.txt"]
    assert matched("?/?.txt") == ["x/a.txt"]
    with pytest.raises(InputError, match="matches no file"):
        matched("y*")


FOLDERS = ("", "d/", "d/d/", "d/.d/", ".d/", ".d/d/", "^d/d/d/")
FILES = ("a", "b", "ab", "^", "!", "]", "[a]", ".a", "_a")
PARTS = (
    "*",
    "**",
    "?",
    "a*",
    "a**",
    "[^a]",
    "[!a]",
    "[!^]*",
    "[a^]",
    "[]^]",
    "[.]a",
    ".*",
    "[a",
    "[[]a]",
    ".a",
    "d",
    ".d",
    "[^]d",
    "[!.]*",
)


@pytest.fixture(scope="module")
def two_places(tmp_path_factory):
    """A folder and a bucket with the same files."""
    folder, bucket = tmp_path_factory.mktemp("tree"), "memory://patterns"
    for name in (folder + file for folder in FOLDERS for file in FILES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text")
        open_storage(bucket).put(name, b"text")
    return str(folder), bucket


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("/".join))
@settings(max_examples=300)
@example("*").via("a name that begins with a dot")
@example("[^a]").via("no negation")
@example("**/b")
def test_a_pattern_means_the_same_in_a_bucket_and_in_a_folder(two_places, pattern):
    def matched(root):
        try:
            return [file.uri.removeprefix(f"{root}/") for file in match_inputs([f"{root}/{pattern}"])]
        except InputError:
            return []

    in_folder, in_bucket = map(matched, two_places)
    assert in_bucket == in_folder


# Compressed files


def file_of(path, data: bytes) -> InputFile:
    path.write_bytes(data)
    return InputFile(str(path), len(data), str(os.stat(path).st_mtime_ns))


@pytest.fixture
def records(tmp_path):
    return Records(open_storage(str(tmp_path / "run")))


def unpacked_text(records, unpacked) -> bytes:
    return b"".join(records.storage.read("text/" + source.uri.rpartition("/")[2]) for source in unpacked.sources)


def test_members_and_padding(tmp_path, records):
    data = gzip.compress(b"one\n") + gzip.compress(b"") + gzip.compress(b"two") + b"\0" * 100
    file = file_of(tmp_path / "a.txt", data)
    assert compression_of(file) == "gzip"
    unpacked = unpack(file, 7, records, "key", 1000)
    assert unpacked_text(records, unpacked) == b"one\ntwo"
    assert unpacked.sources[0].uri == str(tmp_path / "run/text/00007-00000.txt")
    assert (unpacked.bytes, unpacked.bad_lines, unpacked.reused) == (7, 0, False)
    again = unpack(file, 7, records, "key", 1000)
    assert again.reused
    assert again.sources == unpacked.sources
    assert list(changed_inputs(records, {})) == []


def test_damaged_work_text_is_unpacked_anew(tmp_path, records):
    file = file_of(tmp_path / "a.gz", gzip.compress(b"one\ntwo\n"))
    (source,) = unpack(file, 0, records, "key", 1000).sources
    pathlib.Path(source.uri).write_bytes(b"one\ntwO\n")
    again = unpack(file, 0, records, "key", 1000)
    assert not again.reused
    assert unpacked_text(records, again) == b"one\ntwo\n"


@given(
    st.lists(st.binary(max_size=40) | st.just(b"\n") | st.just(b"word\n"), max_size=40).map(b"".join),
    st.integers(1, 60),
    st.sampled_from([5, 30, 1000]),
    st.integers(1, 50),
)
@settings(deadline=None, max_examples=80)
def test_pieces_are_the_text_cut_at_line_ends(data, piece_bytes, longest, read_bytes):
    records = Records(open_storage("memory://pieces"))
    before = compressed._LONG_LINE, compressed._READ_BYTES, decompression.OUT_BYTES
    compressed._LONG_LINE, compressed._READ_BYTES, decompression.OUT_BYTES = 5, read_bytes, 20
    try:
        records.storage.put("in", gzip.compress(data))
        info = records.storage.info("in")
        file = InputFile(records.storage.uri("in"), info.size, info.version)
        records.storage.delete("records/text/file-00000.json")
        unpacked = unpack(file, 0, records, "key", longest, piece_bytes)
    finally:
        compressed._LONG_LINE, compressed._READ_BYTES, decompression.OUT_BYTES = before
    mark = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    assert unpacked.bytes == len(data)
    covered, lost = mark, 0
    for source in unpacked.sources:
        text = records.storage.read("text/" + source.uri.rpartition("/")[2])
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


def test_overlong_line_is_not_held_and_told(tmp_path, records):
    long = 9 << 20
    text = b"\xef\xbb\xbfa\n" + b"x" * long + b"\nb\n"
    unpacked = unpack(file_of(tmp_path / "a.gz", gzip.compress(text, 1)), 0, records, "key", 1000)
    assert unpacked_text(records, unpacked) == b"a\nb\n"
    assert [source.origin_offset for source in unpacked.sources] == [3, long + 6]
    assert unpacked.bad_lines == 1
    record = records.load("text", "file-00000", "key")
    (row,) = read_dead_letters(records.read(record.artifacts[-1])).to_pylist()
    assert (row["offset"], row["uri"]) == (5, str(tmp_path / "a.gz"))


def test_plain_parts_and_gzip_hold_the_same_tokens(tmp_path, records):
    lines = [f"word{i % 97} x{i % 7} 한국{i % 3}\n".encode() for i in range(5000)]
    lines[70], lines[900] = b"bad \xff\n", b"long " * 100 + b"\n"
    text = b"\xef\xbb\xbf" + b"".join(lines)
    reader = TextReader(open_tokenizer("whitespace"), 400)
    packed = file_of(tmp_path / "a.gz", gzip.compress(text))
    whole = file_of(tmp_path / "a", text)
    cut = len(b"".join(lines[:901])) + 3
    parts = [file_of(tmp_path / "b", text[:cut]), file_of(tmp_path / "c", text[cut:])]
    pieces = unpack(packed, 0, records, "key", 400, 10_000)
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
            offsets = [row["offset"] for u in counted if u.dead_letters for row in u.dead_letters.to_pylist()]
            if sources is pieces.sources or len(sources) == 1:
                assert offsets == [text.index(lines[70]), text.index(lines[900])]
    assert len(found) == 1


def test_truncated_and_damaged_gzip(tmp_path, records):
    text = np.random.default_rng(1).bytes(200_000).hex().encode()
    data = gzip.compress(text)
    for cut in (3, 15, 1000, len(data) - 9, len(data) - 1):
        file = file_of(tmp_path / "cut.gz", data[:cut])
        with pytest.raises(InputError, match=rf"cut\.gz is truncated: .* at byte {cut:,}.*; get the file again"):
            unpack(file, 0, records, "key", 1000)
    for at in (1000, len(data) - 6):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        file = file_of(tmp_path / "bad.gz", bytes(damaged))
        with pytest.raises(InputError, match=r"bad\.gz is damaged: .*; get the file again"):
            unpack(file, 0, records, "key", 1000)
    file = file_of(tmp_path / "tail.gz", data + b"garbage")
    with pytest.raises(InputError, match=r"tail\.gz is damaged"):
        unpack(file, 0, records, "key", 1000)
    assert records.load("text", "file-00000", "key") is None


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


def test_linked_folders_are_followed_once(tmp_path):
    """In the same order on every file system, and never round in a circle."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside / "a", outside / "deep"):
        folder.mkdir(parents=True)
        (folder / "text.txt").write_text("words\n")
    (inside / "b").symlink_to(outside)
    (inside / "c").symlink_to(outside)  # the same folder once more
    (inside / "d").symlink_to(inside / "a")  # found without it
    (inside / "a" / "up").symlink_to(inside)
    (outside / "deep" / "up").symlink_to(outside)
    found = [file.uri.removeprefix(f"{inside}/") for file in match_inputs([str(inside)])]
    assert found == ["a/text.txt", "b/deep/text.txt"]
