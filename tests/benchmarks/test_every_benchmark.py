"""Each benchmark is a command of its own, and writes below runs/, never into the working folder."""

from __future__ import annotations

import importlib
import json
import os

import pytest

from benchmarks import batches
from tests.helpers.commands import ROOT

BENCHMARKS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_says_how_it_is_run_and_where_it_writes(name, capsys):
    benchmark = importlib.import_module(f"benchmarks.{name}")
    with pytest.raises(SystemExit):
        benchmark.main(["--help"])
    shown = capsys.readouterr().out
    assert f"usage: benchmarks.{name} " in shown
    assert f"python -m benchmarks.{name} " in shown
    assert f"(default: runs/reports/{name}.json)" in " ".join(shown.split())


def test_a_report_stands_below_runs_and_the_screen_says_where(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert batches.main(["--words=3000", "--repetitions=1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "written: runs/reports/batches.json"
    assert os.listdir(tmp_path) == ["runs"]
    report = json.loads((tmp_path / "runs" / "reports" / "batches.json").read_text())
    assert report["settings"]["words"] == 3000
    assert "rows / CPU s" in report["results"][0]
