"""Forecasts are made of what is measured on a small text, and the checks run at the size that they are asked for."""

import json

import pytest

from pipeline.batches.shard_lists import LIST_SHARDS
from tools.scale import forecast, stage_costs


@pytest.fixture
def small_tables(monkeypatch):
    monkeypatch.setattr(stage_costs, "TABLE_WORDS", 5000)


def test_a_forecast_is_made_from_a_small_text(tmp_path, capsys, small_tables):
    report = tmp_path / "scale.json"
    arguments = ["--words=20000", "--train_tokens=5000", "--tokens=1e9,1e12", "--workers=4,400", f"--json={report}"]
    assert forecast.main(arguments) == 0
    shown = capsys.readouterr().out
    assert shown.count("(model, not measured)") == 6  # a table for each of four plans, and two lists of limits
    measured, *rows = json.loads(report.read_text())["results"]
    assert measured["measured"]["units"]["count"]["puts"] == pytest.approx(3, abs=1)
    plans = {(row["tokens"], row["workers"]): row for row in rows if "tokens" in row}
    assert len(plans) == 4
    few, many = plans[1e12, 4]["stages"], plans[1e12, 400]["stages"]
    assert [stage["stage"] for stage in few] == [
        "count",
        "merge counts",
        "vocabulary",
        "unigram",
        "encode",
        "store batches",
        "train",
    ]
    for one, other in zip(few, many):
        spread = one["workers"] > 1
        assert (one["wall_seconds"] > 10 * other["wall_seconds"]) == spread
        assert other["element"] < 10e6
    assert plans[1e12, 4]["units"] == pytest.approx(1000 * plans[1e9, 4]["units"])
    found = {row["limit"]: row["from_tokens"] for row in rows if "limit" in row and row["workers"] == 400}
    assert found["positions of a corpus"] == pytest.approx(2**48 / measured["measured"]["kept_tokens"], rel=0.11)


def test_the_parts_that_could_give_way_are_run_at_the_size_asked_for(tmp_path, capsys, small_tables):
    report = tmp_path / "scale.json"
    sizes = ["--merge_words=9000", "--list_records=300", "--side_input_words=700", "--element_tokens=2e10"]
    checks = "--check=merge,listing,side_input,elements"
    assert forecast.main([checks, *sizes, f"--json={report}"]) == 0
    merge, listing, side, elements = json.loads(report.read_text())["results"]
    assert (merge["distinct words"], listing["records"], side["words"]) == (9000, 300, 700)
    assert elements["units"] > 3 * LIST_SHARDS
    assert elements["bytes at the trainer"] < elements["bytes of all batch shards, each by itself"] / 10
    assert elements["bytes at several trainers"] < elements["bytes of all batch shards, each by itself"] / 10
    assert forecast.main(["--check=merge,speed", f"--json={report}"]) == 2
    assert "--check=speed: allowed are merge, listing, side_input, elements" in capsys.readouterr().err
