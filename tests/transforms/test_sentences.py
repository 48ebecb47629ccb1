"""WriteSentences: a partition of the same bytes, whatever order its sentences come in, closed last of all."""

from __future__ import annotations

import json
import pathlib
import random
import time
from collections import Counter

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.utils.timestamp import Timestamp

from jobs.graph import new_graph, pipeline_options
from pipeline.corpus.sentence_files import MARKER, partition_name
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


def test_bundles_that_are_run_again_write_the_same_bytes(tmp_path):
    whole = written(tmp_path / "a", LINES)
    assert written(tmp_path / "b", LINES, "--direct_runner_bundle_repeat=2") == whole


ON_PRISM = pytest.param(
    ["--runner=PrismRunner", f"--prism_location={PRISM}"],
    marks=pytest.mark.skipif(PRISM is None, reason="no Prism here: python -m tests.helpers.programs prism"),
    id="Prism",
)


@pytest.mark.parametrize("runner", [pytest.param([], id="FnApiRunner"), ON_PRISM])
@pytest.mark.parametrize("nth", range(1, 6))
def test_what_fails_leaves_no_marker_and_the_next_attempt_the_same_bytes(tmp_path, monkeypatch, nth, runner):
    """Prism tries no bundle again: the job fails."""
    whole = written(tmp_path / "a", LINES)
    puts = []

    def failing(self, path, data, put=LocalStorage.put):
        puts.append(path)
        if len(puts) == nth:
            raise ArtifactError("no room")
        put(self, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "put", failing)
        with pytest.raises((ArtifactError, RuntimeError), match="no room"):
            written(tmp_path / "b", LINES, *runner)
    assert not (tmp_path / "b" / MARKER).exists()
    assert puts.index(MARKER) == 4 if nth == 5 else MARKER not in puts
    assert written(tmp_path / "b", LINES, *runner) == whole


@pytest.mark.skipif(PRISM is None, reason="no Prism here: python -m tests.helpers.programs prism")
def test_prism_writes_the_same_bytes(tmp_path):
    whole = written(tmp_path / "a", LINES)
    assert written(tmp_path / "b", LINES, "--runner=PrismRunner", f"--prism_location={PRISM}") == whole


@pytest.mark.parametrize("wrong", [7, ["a"], None])
def test_what_is_no_sentence_is_one_line(tmp_path, wrong):
    with pytest.raises(InputError, match="is not a string that UTF-8 can hold"):
        written(tmp_path / "a", [wrong])


@pytest.mark.parametrize("wrong", [{"a", "b"}, {"a": 1}, ["a", b"b"], ["a", 7]])
def test_words_are_strings_in_an_order(tmp_path, wrong):
    """A set was written in an order that another process does not have."""
    with pytest.raises(InputError, match="is not a list of strings that UTF-8 can hold"):
        written(tmp_path / "a", [wrong], words=True)


def test_a_key_is_a_text(tmp_path):
    with pytest.raises(InputError, match=r"^WriteSentences: key='id': give a function"):
        WriteSentences(str(tmp_path), key="id")
    with pytest.raises(InputError, match="key gave '7', not a string"):
        written(tmp_path / "a", ["a"], key=lambda sentence: 7)


def test_windows_and_a_wrong_number_of_shards_are_refused(tmp_path):
    for wrong in (0, 2.5, "2", True, 10**6, None):
        with pytest.raises(InputError, match=f"shards={wrong!r}: give a whole number from 1 to 99,999"):
            WriteSentences(str(tmp_path), shards=wrong)
    assert WriteSentences(tmp_path).output == str(tmp_path)
    for nowhere in (None, ""):
        with pytest.raises(InputError, match=f"output={nowhere!r}: give a folder or a uri"):
            WriteSentences(nowhere)
    windowed = beam.WindowInto(beam.window.FixedWindows(60))
    with pytest.raises(InputError, match="for a stream, give every=SECONDS"), beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create(["a"]) | windowed | WriteSentences(str(tmp_path))
    of_time = ({"every": 0}, {"every": 1.5}, {"every": "x"}, {"lateness": 5})
    for wrong in (*of_time, {"every": 5, "lateness": -1}, {"every": 5, "lateness": "x"}):
        with pytest.raises(InputError, match=r"every=|lateness="):
            WriteSentences(str(tmp_path), **wrong)
    with pytest.raises(InputError, match="has no timestamp, so it is in no window"):
        written(tmp_path / "a", ["a"], every=60)


HOUR = 3600
BEGIN = 1_795_000_000 // HOUR * HOUR
TIMED = [(Timestamp(BEGIN + 50 * i), line) for i, line in enumerate(LINES)]


def streamed(folder: pathlib.Path, elements, *options: str, seconds: float = 0.001, **named) -> dict[str, bytes]:
    """What is written of a stream that has an element all so many seconds; by path in the folder."""
    begin = float(elements[0][0])
    with new_graph(pipeline_options(["--direct_num_workers=1", "--streaming", *options], 1)) as pipeline:
        stream = PeriodicImpulse(begin, begin + seconds * len(elements), seconds, data=elements)
        _ = pipeline | stream | WriteSentences(str(folder), shards=2, **named)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_each_window_of_a_stream_is_a_partition(tmp_path):
    files = streamed(tmp_path / "a", TIMED, every=HOUR)
    told = {name: json.loads(data)["rows"] for name, data in files.items() if name.endswith(MARKER)}
    wanted = Counter(partition_name(float(when) // HOUR * HOUR, HOUR) for when, _ in TIMED)
    assert told == {f"{name}/{MARKER}": rows for name, rows in wanted.items()}
    assert len(wanted) == 3
    assert len(files) == 3 * len(told)
    assert sorted(rows(tmp_path / "a/window=2026-11-18T110000")) == sorted(line for _, line in TIMED[:72])


@pytest.mark.skipif(PRISM is None, reason="no Prism here: python -m tests.helpers.programs prism")
def test_prism_writes_the_same_windows(tmp_path):
    prism = ("--runner=PrismRunner", f"--prism_location={PRISM}")
    assert streamed(tmp_path / "b", TIMED, *prism, every=HOUR) == streamed(tmp_path / "a", TIMED, every=HOUR)


@pytest.mark.skipif(PRISM is None, reason="no Prism here: python -m tests.helpers.programs prism")
@pytest.mark.parametrize("lateness", [0, 60])
def test_a_window_is_closed_while_the_stream_goes_on_and_late_elements_count_within_lateness(tmp_path, lateness):
    begin = int(time.time()) + 2
    elements = [(Timestamp(begin + 0.1 * i), f"line {i}") for i in range(40)]
    elements.append((Timestamp(begin + 0.5), "late"))  # comes three seconds after its window has ended
    prism = ("--runner=PrismRunner", f"--prism_location={PRISM}")
    streamed(tmp_path, elements, *prism, seconds=0.1, every=1, lateness=lateness)
    told = [json.loads(marker.read_text())["rows"] for marker in sorted(tmp_path.rglob(MARKER))]
    assert told == [10 + bool(lateness), 10, 10, 10]


def test_a_series_takes_the_windows_of_a_stream(tmp_path):
    streamed(tmp_path / "texts", TIMED, every=HOUR)
    arguments = [f"--input_root={tmp_path}/texts", "--by=window=*", "--input_format=parquet", "--field=text", *OPTIONS]
    outcome = run("jobs.follow", f"--series={tmp_path}/series", "--once", "--gates=none", *arguments)
    assert outcome.status == 0, outcome.stderr
    assert [line.split()[1] for line in outcome.stdout.splitlines()][:2] == ["2026-11-18T110000", "2026-11-18T120000"]


def test_a_series_takes_what_was_written(tmp_path):
    for day in (1, 2):
        written(tmp_path / f"texts/dt=2026-11-0{day}", lines_of(day))
    arguments = [f"--input_root={tmp_path}/texts", "--by=dt=*", "--input_format=parquet", "--field=text", *OPTIONS]
    outcome = run("jobs.follow", f"--series={tmp_path}/series", "--once", *arguments)
    assert outcome.status == 0, outcome.stderr
    assert [line.split()[1] for line in outcome.stdout.splitlines()] == ["2026-11-01", "2026-11-02", "2026-11-02"]
