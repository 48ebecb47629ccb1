"""Each benchmark is a command of its own, and writes below runs/, never into the working folder."""

from __future__ import annotations

import importlib
import json
import os

import pytest

from benchmarks import batches, generations
from tests.helpers.commands import ROOT, write_corpus

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


@pytest.mark.slow
def test_generations_are_measured_beside_what_others_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = write_corpus(tmp_path / "text.txt", lines=900, words=60).read_text().lower()
    (tmp_path / "text.txt").write_text(text)
    words = list(dict.fromkeys(text.split()))[:40]
    (tmp_path / "pairs.tsv").write_text("".join(f"{a}\t{b}\t{i}\n" for i, (a, b) in enumerate(zip(words, words[1:]))))
    sizes = ["--words=9000", "--slices=3", "--dims=8", "--curve", "--retrain_every=3"]
    assert generations.main(["--input=text.txt", "--pairs", "pairs.tsv", *sizes]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "written: runs/reports/generations.json"
    results = json.loads((tmp_path / "runs" / "reports" / "generations.json").read_text())["results"]
    assert {result["kind"] for result in results} == set(generations.KINDS)
    trained = {(result["kind"], result["generation"]): result["trained words"] for result in results}
    assert trained["update", 1] < trained["cold", 1]
