"""Which GPU is found, what is said where there is none, and what fits into it. Nothing here needs Beam."""

import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from pipeline.backends.cuda import device
from pipeline.backends.cuda.backend import CudaBackend
from pipeline.backends.cuda.buffers import Room, Shape
from pipeline.backends.cuda.device import NoCupyError, NoGpuError, find_gpu
from pipeline.batches.rows import Rows
from pipeline.errors import DoesNotFitError
from tests.backends.cuda import cases
from tests.helpers.broken_cupy import LACKING, broken_cupy
from tools.cuda.emulator.emulation import COMPILER
from tools.cuda.emulator.stand_in_cupy import Device, installed

ROOT = pathlib.Path(__file__).parents[3]
needs_compiler = pytest.mark.skipif(not COMPILER, reason="the emulator needs g++")


@pytest.mark.parametrize(("what", "said"), LACKING)
def test_what_is_missing_is_said(monkeypatch, what, said):
    monkeypatch.setitem(sys.modules, "cupy", broken_cupy(what))
    with pytest.raises(NoGpuError, match=said):
        find_gpu()


def test_cupy_that_is_not_installed_is_told_apart_from_one_that_does_not_load(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(NoCupyError, match=r"CuPy cannot be imported \(ModuleNotFoundError: No module named 'cupy'\)"):
        find_gpu()
    (tmp_path / "cupy.py").write_text("import cupy_backends")
    with pytest.raises(NoGpuError, match="No module named 'cupy_backends'") as raised:
        find_gpu()
    assert not isinstance(raised.value, NoCupyError)


def test_two_packages_of_cupy_are_one_line(monkeypatch):
    def distribution(name):
        if not name.endswith(("12x", "13x")):
            raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    device._installed.cache_clear()
    try:
        with installed(Device()), pytest.raises(NoGpuError) as raised:
            find_gpu()
    finally:
        device._installed.cache_clear()
    assert str(raised.value) == (
        "cupy-cuda12x and cupy-cuda13x are installed, into the same folder: pip uninstall cupy-cuda12x cupy-cuda13x,"
        " and then install one"
    )


def test_the_oldest_device_that_will_do_is_taken(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", broken_cupy("oldest device"))
    assert find_gpu().name == "Emulated GPU"


@pytest.mark.parametrize("state", ["fine", "everybody's", "read-only"])
def test_cupy_keeps_machine_code_where_nobody_else_can_put_any(tmp_path, state):
    """And is imported in any case: it creates its folder, and fails where it cannot."""
    names = ["CUPY_CACHE_DIR", "CUPY_CACHE_IN_MEMORY"]
    (tmp_path / "cupy.py").write_text(f"import os; print(*map(os.environ.get, {names}))")
    home = tmp_path / "home"
    home.mkdir()
    if state == "read-only":  # for root too: nothing can be created below a file
        home.rmdir()
        home.write_text("")
    home.chmod(0o777 if state == "everybody's" else 0o755)
    script = "from pipeline.backends.cuda.device import find_gpu; find_gpu()"  # it ends there: this CuPy has no more
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CUPY_")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": f"{tmp_path}:{ROOT}", "HOME": str(home)},
    )
    assert done.stdout.split() == ([f"{home}/.cupy/kernel_cache", "None"] if state == "fine" else ["/", "1"])
    assert (home / ".cupy").exists() == (state == "fine")


@needs_compiler
def test_vectors_that_do_not_fit_are_told_with_numbers():
    case = cases.Case(vocabulary=1000, dims=100, rows=200)
    needed = 2 * 4 * 1000 * 112
    steps = r"steps of 100 rows with \d+ contexts"
    for memory, what in ((needed - 1, "the vectors of 1,000 words"), (needed + 1000, steps)):
        with installed(Device(memory=memory)), pytest.raises(DoesNotFitError) as refused:
            cases.on_the_device(case, "skipgram")
        said = rf"the GPU has .*B of 0\.9 MB free, {what}.* of 100 dims need .*B: lower --batch_size"
        assert re.match(said, str(refused.value))


@needs_compiler
def test_memory_that_others_take_meanwhile_is_told_too(monkeypatch):
    case = cases.Case(vocabulary=1000, dims=100, rows=200)
    for memory in (800_000, 1_500_000):  # not enough for the vectors, and for the steps
        device = Device(memory=memory)
        monkeypatch.setattr(device, "free_memory", lambda: (1 << 40, 1 << 40))
        with installed(device), pytest.raises(DoesNotFitError, match="B left, though they were free: lower --"):
            cases.on_the_device(case, "skipgram")


@needs_compiler
def test_steps_are_refused_that_would_overflow():
    rows = 70_000  # the first has all contexts; the arrays of contexts and negatives are never looked at
    offset = np.full(rows + 1, 2**29, np.int32)
    offset[0] = 0
    negatives = np.broadcast_to(np.int32(0), (rows, 1000))
    wide = Rows(np.zeros(rows, np.int32), offset, np.empty(0, np.int32), negatives)
    with installed(Device()):
        backend = CudaBackend(*cases.Case(dims=4, vocabulary=2).weights(), model="cbow", tau=1.0, zero_hits=True)
        with pytest.raises(DoesNotFitError, match="entries, a GPU takes 536,870,912 at most: lower --batch_size"):
            backend.train(wide, np.array([0, rows]), np.array([0.1], np.float32))


@needs_compiler
@pytest.mark.parametrize("model", cases.MODELS)
def test_what_is_allocated_is_what_was_computed(model):
    case = cases.Case(rows=300, dims=100, negatives=9)
    with installed(Device()) as device:
        cases.on_the_device(case, model)
    room = Room(150, int(case.batch().offset[150])).with_headroom(Room())  # the first step is the largest
    sizes = [guard.size for guard in device.live]
    scores = sizes[2] + sizes[-1]  # room for one, and then for the sampled tiles
    assert sum(sizes) == 2 * 4 * case.vocabulary * 112 + Shape(112, 9, model == "cbow").bytes(room) + scores
