"""Compiled kernels are kept on disk, and are never stale."""

import os
import pathlib
import shutil
import subprocess
import sys

import pipeline

ROOT = pathlib.Path(pipeline.__file__).parent
SCRIPT = """
import numpy as np
from pipeline.kernels import philox, generate
from pipeline.kernels.generate import _multiply_high
print(int(_multiply_high(np.uint64(2**63), np.uint64(6))), sum(_multiply_high.stats.cache_hits.values()))
"""


said: list[str] = []


def run(folder, cache):
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    said.append(done.stderr)
    return done.stdout.split()


def test_second_process_compiles_nothing_and_an_edited_helper_is_noticed(tmp_path):
    shutil.copytree(ROOT, tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    cache = tmp_path / "cache"
    assert run(tmp_path, cache) == ["3", "0"]
    assert run(tmp_path, cache) == ["3", "1"]
    helper = tmp_path / "pipeline" / "kernels" / "philox.py"  # generate.py imports it and stays as it is
    helper.write_text(helper.read_text() + "\n# another line\n")
    assert run(tmp_path, cache) == ["3", "0"]
    source = tmp_path / "pipeline" / "kernels" / "generate.py"
    source.write_text(source.read_text().replace("return a_high * b_high + (", "return 100 + a_high * b_high + ("))
    assert run(tmp_path, cache) == ["103", "0"]


def test_a_torn_file_and_a_full_disk_only_cost_time(tmp_path):
    assert run(ROOT.parent, tmp_path) == ["3", "0"]
    for ending, left in (("nbc", 0), ("nbc", 100), ("nbi", 10)):
        (torn,) = tmp_path.rglob(f"generate._multiply_high-*.{ending}")
        os.truncate(torn, left)
        assert run(ROOT.parent, tmp_path) == ["3", "0"]
        assert "is damaged" in said[-1]
        assert run(ROOT.parent, tmp_path) == ["3", "1"]
        assert not said[-1]
    shutil.rmtree(torn.parent)
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))\n{SCRIPT}"
    done = subprocess.run(
        [sys.executable, "-c", limited], env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}, cwd=ROOT.parent,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["3", "0"]
    assert "cannot be kept" in done.stderr
