"""Kernels are called by the parameters that stand in their source, and with nothing that does not fit them."""

import re

import numpy as np
import pytest

from pipeline.backends.cuda import backend, buffers, generation
from pipeline.backends.cuda.launcher import FOLDER, Launcher, signatures
from pipeline.kernels import negatives, philox
from tools.cuda.emulator.emulation import COMPILER
from tools.cuda.emulator.stand_in_cupy import Device, installed


def test_signatures_are_read_from_the_source():
    code = "KERNEL one(const int *packed,\n           float *w, long long n) {\nBUSY_KERNEL two(unsigned x) {\n"
    found = {name: [tuple(p) for p in parameters] for name, parameters in signatures(code).items()}
    assert found == {
        "one": [("packed", np.int32, True), ("w", np.float32, True), ("n", np.int64, False)],
        "two": [("x", np.uint32, False)],
    }
    with pytest.raises(ValueError, match="double \\*x"):
        signatures("KERNEL three(double *x) {")


WRITTEN_TWICE = {
    "plan.cu": {"DIGITS": buffers.DIGITS, "SORTED_BY_A_THREAD": buffers.SORTED_BY_A_THREAD},
    "update.cu": {"ENTRIES": backend._ENTRIES_OF_A_WARP},
    "generate.cu": {
        "SHARE": generation.SHARE,
        "REDRAWS": negatives.REDRAWS,
        "KEEP_AND_RADIUS": philox.KEEP_AND_RADIUS,
        "NEGATIVES_DRAWN": philox.NEGATIVES,
        "REDRAW": philox.REDRAW,
        "EXACT_DRAW": philox.EXACT_DRAW,
        "ANY": negatives.ANY,
        "EXCLUDE_TARGET": negatives.EXCLUDE_TARGET,
        "DISTINCT": negatives.DISTINCT,
    },
}
"""Constants that stand in Python and in CUDA: file -> name there -> value in Python."""


@pytest.mark.parametrize("file", WRITTEN_TWICE)
def test_constants_are_those_of_python(file):
    code = (FOLDER / file).read_text()
    listed = "".join(re.findall(r"^enum \{(.*?)\}", code, re.MULTILINE | re.DOTALL))
    defined = re.findall(r"^#define (\w+) (\d+)\b", code, re.MULTILINE) + re.findall(r"(\w+) = (\d+)", listed)
    values = {name: int(value) for name, value in defined}
    assert {name: values.get(name) for name in WRITTEN_TWICE[file]} == WRITTEN_TWICE[file]


@pytest.fixture
def launcher():
    constants = {"DIMS": 16, "NEGATIVES": 2, "CBOW": 0, "TILE": 16, "CHUNK": 64, "LOSS_TILES": 64}
    with installed(Device()):
        import cupy

        yield cupy, Launcher(cupy, ["base.cu", "common.cu", "plan.cu"], constants)


@pytest.mark.skipif(not COMPILER, reason="the emulator needs g++")
def test_arguments_that_do_not_fit_are_refused(launcher):
    cupy, launch = launcher
    ints, floats = cupy.empty(1000, "int32"), cupy.empty(1000, "float32")
    good = (ints, ints, ints, 0)
    launch("count_digits", 1, 32, *good)
    for wrong, said in [
        ((ints, ints, ints), "takes 4 arguments, not 3"),
        ((ints, floats, ints, 0), "key is an array of int32, not float32"),
        ((ints, np.zeros(9, np.int32), ints, 0), "key is an array of the device, not one of the host"),
        ((ints, None, ints, 0), "key is an array of int32, not NoneType"),
        ((ints, ints[::2], ints, 0), "key is not contiguous"),
        ((ints, ints, ints, 1.5), "shift is int32, not float"),
        ((ints, ints, ints, ints), "shift is int32, not int32"),
        ((ints, ints, ints, 2**31), "shift is int32, which cannot hold 2147483648"),
    ]:
        with pytest.raises(TypeError, match=said):
            launch("count_digits", 1, 32, *wrong)
    for grid, block in ((1, 33), (1, 0), (1, 512), (0, 32)):
        with pytest.raises(TypeError, match="cannot be launched"):
            launch("count_digits", grid, block, *good)
    with pytest.raises(TypeError, match="tau is float32, which cannot hold 1e\\+300"):
        launch("find_levels", 1, 32, *[ints] * 7, 1e300, 5)
