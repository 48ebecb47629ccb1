"""Defects planted in the kernels and in the host code: the checks notice every one of them."""

from __future__ import annotations

import pytest

from pipeline.backends.cuda.backend import CudaBackend
from tests.backends.cuda.planted import DEFECTS, HOST, KERNELS, SOURCES, Defect, is_noticed_on, planted_backend
from tools.cuda.emulator.emulation import COMPILER
from tools.cuda.emulator.stand_in_cupy import POLICIES, Device, installed

pytestmark = pytest.mark.skipif(not COMPILER, reason="the emulator needs g++")

FAST = [
    "update.cu: no __syncwarp, number 1",
    "plan.cu: no __syncwarp, number 2",
    "skipgram.cu: no __syncthreads, number 2",
    "lanes folded in another order",
    "fma rounds twice",
    "chunks one row too long",
    "damped rows in place",
    "a long row one entry shorter",
]


def is_noticed(defect: Defect) -> bool:
    if defect.file == "backend.py":
        devices = (installed(Device(policy=policy, watched=True)) for policy in POLICIES)
        return is_noticed_on(devices, defect, planted_backend(defect))
    marked = f'#line 1 "{defect.file}"\n'

    def edit(code: str) -> str:
        return code.replace(marked + SOURCES[defect.file], marked + defect.planted())

    # watched first: a defect may touch what is not there
    ways = [Device(schedule=3, edit=edit, watched=True), Device(edit=edit), Device(schedule=1, edit=edit)]
    return is_noticed_on(map(installed, ways), defect, CudaBackend)


def test_without_a_defect_nothing_is_noticed():
    assert not is_noticed(Defect("common.cu", "// ---- four numbers", "// ---- 4 numbers"))
    assert not is_noticed(Defect("backend.py", "# ---- training", "# training", case="steps"))


@pytest.mark.parametrize("name", FAST)
def test_defects_are_noticed(name):
    assert is_noticed(KERNELS[name])


@pytest.mark.parametrize("name", HOST)
def test_defects_of_the_host_are_noticed(name):
    assert is_noticed(DEFECTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_all_defects_are_noticed(name):
    assert is_noticed(KERNELS[name])
