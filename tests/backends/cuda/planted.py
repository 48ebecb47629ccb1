"""Defects for the kernels and the host code of the training step, and the cases that notice them."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import types
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import yaml

from pipeline.backends.cuda.launcher import FOLDER
from tests.backends.cuda.cases import Case, assert_equal
from tools.cuda.emulator.emulation import EmulationError

FILES = ("common.cu", "plan.cu", "update.cu", "skipgram.cu", "cbow.cu", "backend.py")
SOURCES = {name: (FOLDER / name).read_text() for name in FILES}
CASES = {
    # empty rows, rows in place, damped and bounded ones; two stripes of dims, two parts of outputs
    "mixed": (Case(vocabulary=60, dims=150, rows=230, negatives=9, window=3, fewest=0, tau=30.0, rate=10.0), 128),
    # the sort takes more blocks than a warp scans at a time
    "many blocks": (Case(vocabulary=700, dims=16, rows=2000, negatives=9), 32),
    # output rows that are alone in the step, and damped
    "sparse": (Case(vocabulary=3000, dims=16, tau=3.0), 128),
    # rows that tau pairs touch, and a learning rate that is not (rate * tau) / tau
    "pairs at the bound": (Case(negatives=9, dims=16, tau=40.0, rate=3), 128),
    # weight rows of several chunks, with a few entries more or fewer than a warp has threads
    "about a warp": (Case(vocabulary=110, rows=1600, negatives=1, window=1, dims=16), 128),
    # for the host code: steps that follow each other, buffers that grow
    "steps": (Case(vocabulary=700, dims=16, rows=300, fewest=2, grows=True), 128),
}
"""Name -> case, and threads of a block."""


@dataclasses.dataclass(frozen=True)
class Defect:
    file: str
    right: str
    wrong: str
    model: str = "skipgram"
    occurrence: int | None = None
    """which, where `right` stands several times"""
    case: str = "mixed"

    def planted(self) -> str:
        text = SOURCES[self.file]
        if self.occurrence is None:
            assert text.count(self.right) == 1, f"{self.right!r} stands {text.count(self.right)} times in {self.file}"
            return text.replace(self.right, self.wrong)
        parts = text.split(self.right)
        before, after = parts[: self.occurrence + 1], parts[self.occurrence + 1 :]
        assert after
        return self.right.join(before) + self.wrong + self.right.join(after)


def missing_barriers() -> dict[str, Defect]:
    """Each barrier of each file, one by one."""
    found = {}
    for file in FILES[:-1]:
        for barrier in ("__syncthreads();", "__syncwarp();"):
            for i in range(SOURCES[file].count(barrier)):
                model = "cbow" if file == "cbow.cu" else "skipgram"
                found[f"{file}: no {barrier[:-3]}, number {i + 1}"] = Defect(file, barrier, "", model, i)
    return found


LISTED = yaml.safe_load(pathlib.Path(__file__).with_name("defects.yaml").read_text())
DEFECTS = {name: Defect(**fields) for name, fields in LISTED.items()}
HOST = [name for name, defect in DEFECTS.items() if defect.file == "backend.py"]
KERNELS = {**missing_barriers(), **{name: defect for name, defect in DEFECTS.items() if name not in HOST}}


def planted_backend(defect: Defect) -> Any:
    """The host code with the defect: its `CudaBackend`."""
    made = types.ModuleType("planted")
    sys.modules["planted"] = made  # where dataclasses look for types
    exec(compile(defect.planted(), "planted", "exec"), made.__dict__)
    return made.CudaBackend


def is_noticed_on(devices: Iterable[AbstractContextManager], defect: Defect, made_by: Any) -> bool:
    """Whether the defect's case fails on one of the devices."""
    return any(_differs(device, defect, made_by) for device in devices)


def _differs(device: AbstractContextManager, defect: Defect, made_by: Any) -> bool:
    case, block = CASES[defect.case]
    try:
        with device:
            assert_equal(case, defect.model, block, made_by)
    except (AssertionError, EmulationError):
        return True
    return False
