"""Ranges and lines: every line once, whatever the cuts; bad lines told, and only those left out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipeline.corpus import dead_letters as dead
from pipeline.corpus import encodings, lines
from pipeline.corpus.dead_letters import DeadLetters, put_dead_letters
from pipeline.corpus.lines import read_blocks, read_exactly
from pipeline.corpus.work_units import TextRange
from pipeline.errors import InputError
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.parquet import from_parquet
from pipeline.storage.records import Records
from tests.helpers.keys import KEY

STORAGE = open_storage("memory://lines")
URI = STORAGE.uri("text")

pieces = st.one_of(st.binary(max_size=12), st.text(max_size=8).map(str.encode), st.just(b"\n"), st.just(b"word word\n"))


def is_refused(data: bytes) -> bool:
    """Begins as UTF-16 or UTF-32 does, or may be taken for them; or has carriage returns for line ends."""
    text = data.rstrip(b"\n")
    if b"\n" not in text and data.count(b"\r") > (1 if text == data else 3):
        return True
    return data.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")) or 8 * data.count(0) > len(data) >= 16


corpora = st.lists(pieces, max_size=30).map(b"".join).filter(lambda data: not is_refused(data))


def naive_lines(data: bytes, max_line_bytes: int) -> tuple[list[bytes], list[tuple[int, str]]]:
    """(good lines with their ends, (offset, reason) of the bad ones), from the whole text at once."""
    good, bad = [], []
    offset = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    while offset < len(data):
        stop = data.find(b"\n", offset) + 1 or len(data)
        line = data[offset:stop]
        if len(line.removesuffix(b"\n")) > max_line_bytes:
            bad.append((offset, dead.TOO_LONG))
        else:
            try:
                line.decode()
                good.append(line)
            except UnicodeDecodeError:
                bad.append((offset, dead.NOT_UTF8))
        offset = stop
    return good, bad


def read(data: bytes, cuts: list[int], max_line_bytes: int, block_bytes: int):
    STORAGE.put("text", data)
    dead_letters = DeadLetters()
    good, count = b"", 0
    for start, end in itertools.pairwise([0, *cuts, len(data)]):
        part = TextRange(URI, start, end, len(data))
        for block in read_blocks(part, max_line_bytes, dead_letters, block_bytes=block_bytes):
            good += bytes(block.data)
            count += block.lines
    table = dead_letters.table()
    return good, count, list(zip(table["offset"].to_pylist(), table["reason"].to_pylist()))


@given(corpora, st.data(), st.sampled_from([0, 3, 10, 1000]), st.integers(1, 40))
@example(b"\xef\xbb\xbfab\n", None, 1000, 1)
@settings(max_examples=300, deadline=None)
def test_lines_are_those_of_a_naive_reader_whatever_the_cuts(data, draw, max_line_bytes, block_bytes):
    assume(not any(escape in data for escape in encodings._ESCAPES))  # text in ISO-2022 is refused
    places = st.lists(st.integers(1, max(1, len(data) - 1)), max_size=8, unique=True).map(sorted)
    cuts = [1, 2, 4] if draw is None else draw.draw(places)
    cuts = [cut for cut in cuts if cut < len(data)]
    good, bad = naive_lines(data, max_line_bytes)
    found, count, dead_found = read(data, cuts, max_line_bytes, block_bytes)
    assert found == b"".join(good)
    assert count == len(good)
    assert dead_found == bad


def test_block_names_the_offset_of_a_line_behind_bad_ones():
    data = b"one\n\xff\ntwo\n\xfe\xfe\n\xfd\nthree\n"
    STORAGE.put("text", data)
    part = TextRange(URI, 0, len(data), len(data), "s3://books/a.gz", 100)
    (block,) = read_blocks(part, 100, DeadLetters())
    assert bytes(block.data) == b"one\ntwo\nthree\n"
    for word in (b"one", b"two", b"three"):
        place = block.locate(bytes(block.data).index(word))
        assert place == f"byte {100 + data.index(word)} of s3://books/a.gz"


def test_overlong_line_is_not_held():
    size = 64 << 20
    STORAGE.put("text", b"a\n" + b"x" * size + b"\nb\n")
    dead_letters = DeadLetters()
    part = TextRange(URI, 0, size + 5, size + 5)
    blocks = [bytes(b.data) for b in read_blocks(part, 1000, dead_letters, block_bytes=1 << 16)]
    assert b"".join(blocks) == b"a\nb\n"
    row = dead_letters.table().to_pylist()[0]
    assert (row["offset"], row["reason"], len(row["sample"])) == (2, dead.TOO_LONG, dead.SAMPLE_BYTES)


def test_text_that_became_shorter_is_an_error():
    STORAGE.put("text", b"short\n")
    with pytest.raises(InputError, match="changed while it was read: it ends at byte 6"):
        list(read_blocks(TextRange(URI, 0, 10, 10), 100, DeadLetters()))
    with pytest.raises(InputError, match="does not exist"):
        read_exactly(STORAGE.uri("gone"), 0, 3)


def test_dead_letters_are_bounded_and_counted_whole():
    data = b"\xff\n" * (dead.MAX_ROWS + 5000)
    STORAGE.put("text", data)
    dead_letters = DeadLetters()
    list(read_blocks(TextRange(URI, 0, len(data), len(data)), 100, dead_letters))
    assert dead_letters.count == dead.MAX_ROWS + 5000
    commits = Commits(Records(STORAGE), "counts", KEY)
    (artifact,) = put_dead_letters(commits, "unit-000000000", dead_letters)
    assert artifact.path == f"dead_letters/{KEY[:8]}/unit-000000000.parquet"
    table = from_parquet(commits.records.read(artifact))
    assert table.num_rows == dead.MAX_ROWS
    assert table.schema.names == ["uri", "offset", "reason", "sample"]
    assert DeadLetters().table().num_rows == 0
    assert put_dead_letters(commits, "unit-000000001", DeadLetters()) == []


def test_storage_of_inputs_is_opened_once(monkeypatch):
    lines._storage.cache_clear()
    STORAGE.put("text", b"abc")
    read_exactly(URI, 0, 1)
    read_exactly(URI, 1, 1)
    assert lines._storage.cache_info().misses == 1
