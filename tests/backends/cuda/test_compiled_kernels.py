"""What NVIDIA's compiler makes of the kernels, run on the CPU: it gives the CPU backend's bits too."""

import pytest

from tests.backends.cuda.cases import CASES, MODELS, Case, assert_equal
from tests.backends.cuda.generation_cases import everything
from tools.cuda import nvrtc
from tools.cuda.emulator.emulation import COMPILER
from tools.cuda.emulator.stand_in_cupy import Device, installed

pytestmark = [
    pytest.mark.skipif(not COMPILER, reason="the emulator needs g++"),
    pytest.mark.skipif(
        nvrtc.library() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12 (90 MB)"
    ),
]


FAST = [
    ("dims that are no multiple of 16", 75, "skipgram"),
    ("some rows would move too far", 90, "cbow"),
    ("seventeen outputs", 120, "skipgram"),
]


@pytest.mark.parametrize(("name", "architecture", "model"), FAST)
def test_what_the_compiler_makes_has_the_bits_of_the_cpu(name, architecture, model):
    with installed(Device(schedule=3, policy="random", architecture=architecture)):
        assert_equal(CASES[name], model, 64)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [75, 80, 90, 120])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("model", MODELS)
def test_all_that_the_compiler_makes_has_the_bits_of_the_cpu(name, architecture, model):
    schedule, block = ((1, 64), (2, 256))[list(CASES).index(name) % 2]
    with installed(Device(schedule=schedule, policy="random", architecture=architecture)):
        assert_equal(CASES[name], model, block)


@pytest.mark.parametrize("architecture", [pytest.param(90, marks=pytest.mark.slow), 120])
def test_rows_made_by_what_the_compiler_makes_are_those_of_the_cpu(architecture):
    with installed(Device(schedule=2, policy="random", architecture=architecture)):
        everything()


@pytest.mark.parametrize("model", ["skipgram", pytest.param("cbow", marks=pytest.mark.slow)])
def test_the_compiler_adds_no_race_and_no_access_outside_of_arrays(model):
    """Nor an address that is no multiple of what is touched there, which a device refuses."""
    case = Case(vocabulary=150, dims=20, rows=300, negatives=8, fewest=0, tau=30.0)
    with installed(Device(schedule=3, policy="random", watched=True, architecture=90)):
        assert_equal(case, model, 64)
