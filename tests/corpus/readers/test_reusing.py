"""--reuse: what was read once is not read again, and nobody can tell."""

from __future__ import annotations

import gzip
import inspect
import json
import pathlib

import pytest

from beam2vec import Run
from pipeline.corpus.readers import reusing
from pipeline.corpus.readers.csv_rows import CsvReader
from pipeline.corpus.readers.json_lines import JsonReader
from pipeline.corpus.readers.parquet import ParquetReader
from pipeline.corpus.readers.reader import Reader, WrappingReader
from pipeline.corpus.readers.reusing import GROUP_BYTES, groups_of
from pipeline.corpus.readers.text import TextReader
from pipeline.corpus.work_units import TextRange
from pipeline.runs.verify import verify_run
from pipeline.storage.open_storage import open_storage
from tests.helpers.commands import TINY, run, train, write_corpus
from tests.helpers.formats import csv_file, parquet


@pytest.fixture
def texts(tmp_path, monkeypatch) -> pathlib.Path:
    """Files that are large enough to be kept alone."""
    monkeypatch.setattr(reusing, "GROUP_BYTES", 3000)
    folder = tmp_path / "texts"
    folder.mkdir()
    lines = write_corpus(tmp_path / "words", lines=300, words=100).read_text().splitlines(keepends=True)
    for day in range(6):
        (folder / f"day-{day}.txt").write_text("".join(lines[50 * day : 50 * (day + 1)]))
        assert (folder / f"day-{day}.txt").stat().st_size > 3000
    return folder


@pytest.fixture
def ranges_read(monkeypatch) -> list[str]:
    """Names of the files that text was read of."""
    seen: list[str] = []
    original = TextReader.read

    def read(self, text_range, *arguments):
        seen.append(pathlib.PurePath(text_range.name()).name)
        return original(self, text_range, *arguments)

    monkeypatch.setattr(TextReader, "read", read)
    return seen


def trained(texts, output, *options):
    outcome = train(
        f"--input={texts}", f"--output={output}", *TINY, "--epochs=1", "--threads=1", "--no_report", *options
    )
    assert outcome.status == 0, outcome.stderr
    return outcome.digest


def test_of_a_grown_folder_the_new_file_alone_is_read(texts, tmp_path, ranges_read):
    reuse = f"--reuse={tmp_path}/kept"
    trained(texts, tmp_path / "first", reuse)
    assert sorted(ranges_read) == [f"day-{day}.txt" for day in range(6)]  # once, not for counting and for encoding
    new = texts / "day-2b.txt"
    new.write_bytes((texts / "day-1.txt").read_bytes()[::-1].replace(b"\xff", b"").decode(errors="ignore").encode())
    ranges_read.clear()
    digest = trained(texts, tmp_path / "second", reuse, "--block_bytes=40000")
    assert sorted(set(ranges_read)) == ["day-2b.txt"]
    ranges_read.clear()
    assert trained(texts, tmp_path / "fresh") == digest
    assert len(set(ranges_read)) == 7
    ranges_read.clear()
    assert trained(texts, tmp_path / "again", reuse, "--reread") == digest
    assert len(set(ranges_read)) == 7


def test_records_and_dead_letters_are_those_of_a_fresh_run(texts, tmp_path):
    (texts / "bad.txt").write_bytes(b"good line\nbad \xff line\n" * 40)
    (texts / "packed.txt.gz").write_bytes(gzip.compress(b"good words in a packed file\n" * 50))
    found = []
    for name, options in (("fresh", []), ("first", ["--reuse"]), ("second", ["--reuse"])):
        more = [f"--reuse={tmp_path}/kept"] if options else []
        trained(texts, tmp_path / name, *more, "--max_bad_lines=100", "--phrases=1", "--phrase_threshold=1")
        assert verify_run(open_storage(str(tmp_path / name)), inputs=True).problems == []
        counted = sorted((tmp_path / name).glob("records/counts/*/*.json"))
        letters = sorted((tmp_path / name).glob("dead_letters/*/*.parquet"))
        numbers = [json.loads(path.read_text())["numbers"] for path in counted]
        found.append((numbers, [path.read_bytes() for path in letters], Run(tmp_path / name).checkpoint().digest))
    assert found[0] == found[1] == found[2]
    assert found[0][1]


def test_whatever_a_format_says_is_passed_on():
    """Ends of records were not: pieces of compressed CSV were cut in the middle of them."""
    own = {name for reader in (TextReader, JsonReader, CsvReader, ParquetReader) for name in _methods(reader)}
    assert own <= {*_methods(WrappingReader), "read", "portions"}


def _methods(reader: type) -> list[str]:
    """Methods of a reader that are its own, and in the place of one that all readers have."""
    return [name for name, value in vars(reader).items() if inspect.isfunction(value) and hasattr(Reader, name)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_records_of_several_lines_are_read_whole(pack, tmp_path):
    rows = [(i, f"a rose {i % 7}\nis a rose {i % 5}") for i in range(400)]
    csv_file(tmp_path / "x.csv", rows)
    (tmp_path / "x.csv").write_bytes(pack((tmp_path / "x.csv").read_bytes()))
    options = ["--input_format=csv", "--field=text", "--block_bytes=500", "--max_bad_lines=0"]
    fresh = trained(tmp_path / "x.csv", tmp_path / "fresh", *options)
    for name in ("first", "second"):
        assert trained(tmp_path / "x.csv", tmp_path / name, *options, f"--reuse={tmp_path / 'kept'}") == fresh


def test_parquet_is_previewed(tmp_path):
    """It was answered by the advice to read it as Parquet."""
    file = parquet(tmp_path / "x.parquet", "text", ["a rose", "is a rose"])
    arguments = [f"--input={file}", f"--output={tmp_path / 'run'}", "--input_format=parquet", "--field=text"]
    outcome = train(*arguments, f"--reuse={tmp_path / 'kept'}", "--dry_run")
    assert outcome.status == 0, outcome.stderr
    assert "is | a | rose" in outcome.stdout


@pytest.mark.parametrize(
    "options",
    [
        ["--lowercase"],
        pytest.param(["--tokenizer=unicode_words"], marks=pytest.mark.slow),
        pytest.param(["--max_sentence=7"], marks=pytest.mark.slow),
    ],
)
def test_what_decides_the_tokens_decides_what_is_kept(texts, tmp_path, ranges_read, options):
    reuse = f"--reuse={tmp_path}/kept"
    trained(texts, tmp_path / "first", reuse)
    ranges_read.clear()
    digest = trained(texts, tmp_path / "other", reuse, *options)
    assert len(set(ranges_read)) == 6
    assert digest == trained(texts, tmp_path / "fresh", *options)
    ranges_read.clear()
    trained(texts, tmp_path / "wide", reuse, "--dims=13", "--window=2", "--min_count=3", "--phrases=1")
    assert ranges_read == []


def test_a_file_that_was_touched_is_read_and_a_damaged_entry_too(texts, tmp_path, ranges_read):
    reuse = f"--reuse={tmp_path}/kept"
    digest = trained(texts, tmp_path / "first", reuse)
    ranges_read.clear()
    (texts / "day-3.txt").write_bytes((texts / "day-3.txt").read_bytes())
    assert trained(texts, tmp_path / "second", reuse) == digest
    assert set(ranges_read) == {"day-3.txt"}
    ranges_read.clear()
    for entry in (tmp_path / "kept").rglob("*.sentences"):
        data = bytearray(entry.read_bytes())
        data[len(data) // 2] ^= 1
        entry.write_bytes(data)
    assert trained(texts, tmp_path / "third", reuse) == digest
    assert len(set(ranges_read)) == 6


def test_preprocess_reuses_too_and_a_resumed_run_may_begin_to(texts, tmp_path):
    arguments = f"--input={texts}", f"--output={tmp_path}/corpus", "--min_count=2"
    assert run("jobs.preprocess", *arguments).status == 0
    again = run("jobs.preprocess", *arguments, f"--reuse={tmp_path}/kept", "--overwrite")
    assert again.status == 0, again.stderr


def ranges(*sizes, start=0):
    return [TextRange(f"file-{i}", 0, size, size) for i, size in enumerate(sizes, start)]


def test_small_files_are_kept_together_and_stay_so():
    many = ranges(*[3000] * 400)
    groups = list(groups_of(many))
    assert [part for group in groups for part in group] == many
    assert 10 < len(groups) < 60
    assert max(sum(part.size for part in group) for group in groups) <= GROUP_BYTES
    between = [*many[:100], TextRange("new", 0, 3000, 3000), *many[100:]]
    names = {tuple(part.uri for part in group) for group in groups}
    changed = [group for group in groups_of(between) if tuple(part.uri for part in group) not in names]
    assert len(changed) <= 3
    assert [len(group) for group in groups_of(ranges(GROUP_BYTES, GROUP_BYTES, 5))][:2] == [1, 1]
