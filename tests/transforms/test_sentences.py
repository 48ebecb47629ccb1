"""WriteSentences: a partition of the same bytes, whatever order its sentences come in, closed last of all."""

from __future__ import annotations

import json
import pathlib
import random

import apache_beam as beam
import pyarrow.parquet as pq
import pytest

from jobs.graph import new_graph, pipeline_options
from pipeline.corpus.sentence_files import MARKER
from pipeline.errors import ArtifactError, InputError
from pipeline.storage.local import LocalStorage
from tests.helpers import programs
from tests.helpers.commands import run
from tests.helpers.days import OPTIONS, lines_of
from transforms.sentences import WriteSentences

PRISM = programs.found("prism")
LINES = [*lines_of(1), *lines_of(2, 20), lines_of(1)[0]]


def written(folder: pathlib.Path, sentences, *options: str, **named) -> dict[str, bytes]:
    with new_graph(pipeline_options(["--direct_num_workers=1", *options], 1)) as pipeline:
        _ = pipeline | beam.Create(sentences) | WriteSentences(str(folder), shards=4, **named)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def rows(folder: pathlib.Path) -> list:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).column(0).to_pylist()]


def test_the_order_of_elements_does_not_matter(tmp_path):
    first = written(tmp_path / "a", LINES)
    assert written(tmp_path / "b", random.Random(1).sample(LINES, len(LINES))) == first
    assert sorted(rows(tmp_path / "a")) == sorted(LINES)  # the one that is there twice is kept twice
    assert len(first) == 5


def test_the_marker_says_how_much_there_is(tmp_path):
    files = written(tmp_path / "a", LINES)
    told = json.loads(files.pop(MARKER))
    assert told == {"files": 4, "bytes": sum(map(len, files.values())), "rows": len(LINES)}


def test_lists_of_words_stay_lists(tmp_path):
    sentences = [["a b", "c"], ["a", "b c"], ["a"], ["", "x"]]
    written(tmp_path / "a", sentences, words=True)
    assert sorted(rows(tmp_path / "a")) == sorted(sentences)


def test_elements_with_one_key_are_written_once(tmp_path):
    again = [*LINES, *LINES[:50]]
    first = written(tmp_path / "a", LINES, key=lambda line: line)
    assert written(tmp_path / "b", again, key=lambda line: line) == first
    assert len(rows(tmp_path / "a")) == len(set(LINES))
    same = written(tmp_path / "c", ["b", "a", "c"], key=lambda line: "one")
    assert written(tmp_path / "d", ["c", "b", "a"], key=lambda line: "one") == same
    assert rows(tmp_path / "c") == ["a"]


def test_no_sentence_is_a_closed_partition_too(tmp_path):
    files = written(tmp_path / "a", [])
    assert json.loads(files[MARKER])["rows"] == 0
    assert len(files) == 5


@pytest.mark.parametrize("nth", range(1, 6))
def test_what_fails_leaves_no_marker_and_the_next_attempt_the_same_bytes(tmp_path, monkeypatch, nth):
    whole = written(tmp_path / "a", LINES)
    puts = []

    def failing(self, path, data, put=LocalStorage.put):
        puts.append(path)
        if len(puts) == nth:
            raise ArtifactError("no room")
        put(self, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "put", failing)
        with pytest.raises(ArtifactError, match="no room"):
            written(tmp_path / "b", LINES)
    assert not (tmp_path / "b" / MARKER).exists()
    assert puts.index(MARKER) == 4 if nth == 5 else MARKER not in puts
    assert written(tmp_path / "b", LINES) == whole


@pytest.mark.skipif(PRISM is None, reason="no Prism here: python -m tests.helpers.programs prism")
def test_prism_writes_the_same_bytes(tmp_path):
    whole = written(tmp_path / "a", LINES)
    assert written(tmp_path / "b", LINES, "--runner=PrismRunner", f"--prism_location={PRISM}") == whole


@pytest.mark.parametrize("wrong", [7, ["a"], None])
def test_what_is_no_sentence_is_one_line(tmp_path, wrong):
    with pytest.raises(InputError, match="is not a string that UTF-8 can hold"):
        written(tmp_path / "a", [wrong])


def test_windows_and_a_wrong_number_of_shards_are_refused(tmp_path):
    with pytest.raises(InputError, match="shards=0"):
        WriteSentences(str(tmp_path), shards=0)
    windowed = beam.WindowInto(beam.window.FixedWindows(60))
    with pytest.raises(InputError, match="global window"), beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create(["a"]) | windowed | WriteSentences(str(tmp_path))


def test_a_series_takes_what_was_written(tmp_path):
    for day in (1, 2):
        written(tmp_path / f"texts/dt=2026-11-0{day}", lines_of(day))
    arguments = [f"--input_root={tmp_path}/texts", "--by=dt=*", "--input_format=parquet", "--field=text", *OPTIONS]
    outcome = run("jobs.follow", f"--series={tmp_path}/series", "--once", *arguments)
    assert outcome.status == 0, outcome.stderr
    assert [line.split()[1] for line in outcome.stdout.splitlines()] == ["2026-11-01", "2026-11-02", "2026-11-02"]
