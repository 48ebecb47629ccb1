"""No kernel reads or writes beyond an array, whatever the text."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.commands import ROOT

READING = (
    "tests/kernels",
    "tests/corpus/test_fuzz_inputs.py",
    "tests/corpus/test_csv_records.py",
    "tests/corpus/tokenizers",
    "tests/words",
    "tests/batches",
    "tests/backends/test_cpu.py",
)
OF_OTHERS = ("test_bounds.py", "test_kernel_cache.py")
"""Tests of the cache, which has to be where users have it."""


def checked_run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    plugin = ["-p", "tests.helpers.checked_kernels"]
    return subprocess.run([*command, *plugin, *arguments], cwd=ROOT, capture_output=True, text=True)


def test_the_plugin_makes_a_read_beyond_an_array_an_error(tmp_path):
    (tmp_path / "test_beyond.py").write_text(
        "import numpy as np\n"
        "from pipeline.kernels.compile import kernel\n"
        "@kernel(allocates=False)\n"
        "def third(array):\n"
        "    return array[np.uint64(2)]\n"
        "def test_beyond():\n"
        "    third(np.zeros(2))\n"
    )
    outcome = checked_run(str(tmp_path))
    assert "IndexError: index is out of bounds" in outcome.stdout
    assert outcome.returncode == 1


@pytest.mark.slow
def test_kernels_stay_within_their_arrays():
    outcome = checked_run("-m", "not slow", *READING, *(f"--ignore=tests/kernels/{name}" for name in OF_OTHERS))
    assert outcome.returncode == 0, outcome.stdout[-5000:]
