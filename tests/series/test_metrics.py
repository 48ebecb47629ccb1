"""Numbers of a series for a collector."""

from __future__ import annotations

import re

from pipeline.series.metrics import text_of
from pipeline.series.state import State
from tests.series.logs import Series

LINE = re.compile(r'beam2vec_[a-z_]+\{series="(?:[^"\\]|\\.)*"(?:,[a-z]+="(?:[^"\\]|\\.)*")*\} -?[0-9.e+-]+')


def test_each_line_is_a_gauge_of_the_series():
    series = Series()
    series.day("2026-11-01", words=100.0, seen=0.25)
    series.files["2026-11-02"] = {"x"}
    series.decide()
    series.refuse()
    lines = text_of('a "b"\\\nc', series.state, 1000.0, 2.5, 0.5).splitlines()
    values = [line for line in lines if line[0] != "#"]
    assert all(LINE.fullmatch(line) for line in values), values
    label = r'series="a \"b\"\\\nc"'
    assert f"beam2vec_waiting_partitions{{{label}}} 1" in values
    assert f'beam2vec_figure{{{label},gate="seen"}} 0.25' in values
    assert f"beam2vec_loss{{{label}}} 0.5" in values
    named = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(named) == len(set(named))


def test_a_series_without_a_generation_has_no_success():
    text = text_of("s", State(), 1.0, 1.0, None)
    assert "last_poll_timestamp_seconds" in text
    assert "last_success" not in text
