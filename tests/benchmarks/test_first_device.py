"""The program for the first minutes on a GPU runs without Beam, by real CuPy on a device that is not there."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

from benchmarks import first_device
from tests.helpers.real_cupy import driver  # noqa: F401

ROOT = pathlib.Path(__file__).parents[2]
BARE = """
import sys
ALLOWED = {"numpy", "numba", "llvmlite", "pyarrow", "yaml", "cupy", "cupyx", "cupy_backends", "cuda", "nvidia"}
TESTS = {"pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "py"}
OURS = {"pipeline", "tools", "benchmarks", "tests"}


class Bare:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names | ALLOWED | TESTS | OURS and not top.startswith("_"):
            raise ModuleNotFoundError(f"No module named {name!r}: this machine is bare", name=name)


sys.meta_path.insert(0, Bare())
sys.path.insert(0, ".")
"""


def bare(script, *arguments):
    """A process that can import what a bare machine has."""
    command = [sys.executable, "-c", BARE + script, *arguments]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


def test_it_needs_no_more_than_a_bare_machine_has():
    done = bare(
        "from benchmarks import first_device; sys.exit(first_device.main(sys.argv[1:]))", "--only=tests,nothing"
    )
    assert "there is no part nothing" in done.stderr
    assert done.returncode == 2


def test_the_tests_for_a_gpu_need_no_more_than_pytest_beside():
    options = ["-c", "/dev/null", f"--rootdir={ROOT}", "--noconftest", "--collect-only", "-q"]
    script = "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = bare(script, *options, "-p", "no:cacheprovider", "-m", "gpu", "tests/backends/cuda")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_steps_have_the_bits_of_the_cpu[one row-cbow]" in done.stdout
    assert "error" not in done.stdout


@pytest.mark.cupy
def test_all_parts_run_on_the_fake_device(driver, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(first_device.device_parts, "COMPARED", first_device.device_parts.COMPARED[:2])
    parts = [name for name in first_device.PARTS if name not in ("tests", "sanitizer", "ncu")]
    assert first_device.main([f"--only={','.join(parts)}", "--small", f"--json={tmp_path}/first_device.json"]) == 0
    found = json.loads((tmp_path / "first_device.json").read_text())
    assert list(found) == ["began", *parts]
    assert set(found["bytes"]["result"].values()) == {"same bytes"}
    assert [row["weights"] for row in found["cpu"]["result"]] == ["same bytes"] * 3
    assert {row["shape"].partition(" ")[0] for row in found["speed"]["result"]} == {"skipgram", "cbow"}
    (kernels, *_) = found["kernels"]["result"].values()
    assert {"sum_skipgram_tiles", "update_weights"} <= set(kernels)
    assert len(list(tmp_path.iterdir())) <= 8


def test_a_part_that_fails_is_noted_and_the_next_one_runs(tmp_path, monkeypatch):
    def fail(*given):
        raise ZeroDivisionError("no")

    fine = first_device.Part(lambda *given: "fine", 1)
    parts = {"one": first_device.Part(fail, 1), "two": fine, "long": first_device.Part(fail, 999)}
    monkeypatch.setattr(first_device, "PARTS", parts)
    assert first_device.main(["--only=one,two,long", f"--json={tmp_path}/first_device.json"]) == 1
    found = json.loads((tmp_path / "first_device.json").read_text())
    assert found["one"]["result"] == "FAILED: ZeroDivisionError: no"
    assert found["two"]["result"] == "fine"
    assert found["long"]["result"].startswith("left out: ")
