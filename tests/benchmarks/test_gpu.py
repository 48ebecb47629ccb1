"""The benchmark of a GPU, on an emulated one: it compares bytes, and its table of memory is the documentation's."""

import json

import pytest

from benchmarks import gpu
from tests.helpers.commands import ROOT
from tools.cuda.emulator.emulation import COMPILER
from tools.cuda.emulator.stand_in_cupy import Device, installed


@pytest.mark.skipif(not COMPILER, reason="the emulator needs g++")
def test_the_benchmark_runs_and_compares_bytes(capsys, tmp_path):
    model = {
        "model": "skipgram",
        "dims": 16,
        "negatives": 5,
        "window": 5,
        "rows": 90,
        "bounds": {
            "Emulated": [1e-9, "memory"],
            "H100": [1e9, "issue"],
        },
    }
    other = {**model, "dims": 32, "bounds": {"Emulated": [1, "of another shape"]}}
    rows = {**model, "model": "rows", "rows": 123, "bounds": {"Emulated": [1e-9, "issue"]}}
    (tmp_path / "model.json").write_text(json.dumps({"results": [other, model, rows]}))
    small = [
        "--dims=16",
        "--vocabulary=90",
        "--steps=2",
        "--rows=40,90",
        "--threads=1",
        "--tokens=20000",
        f"--json={tmp_path}/gpu.json",
        f"--model_report={tmp_path}/model.json",
    ]
    with installed(Device(policy="random")):
        assert gpu.main(small) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Emulated GPU (1024.0 GiB, driver for CUDA 12.8)")
    *steps, made = json.loads((tmp_path / "gpu.json").read_text())["results"]
    assert [row["same bytes"] for row in (*steps, made)] == ["True"] * 3
    compared = [row["of the model's bound"] for row in (*steps, made)]
    assert compared[0] == "-"  # a size that the model has not looked at
    assert [text.partition("% ")[2] for text in compared[1:]] == ["(memory)", "(issue)"]
    with installed(Device(edit=lambda code: code.replace("fold4(s, 2)", "fold4(s, 3)"))):
        assert gpu.main(small) == 2
    assert "does not compute a training step as the CPU does" in capsys.readouterr().err


def test_memory_of_the_documentation_is_what_is_allocated():
    document = (ROOT / "docs" / "gpu.md").read_text()
    for row in gpu.memory_table():
        if row["rows a step"] == "16,384":
            line = f"| {row['dims']} | {row['negatives']} | {row['window']} | "
            assert row["steps take"] in document.partition(line)[2].partition("\n")[0]
