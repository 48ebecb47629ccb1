"""The same cases as under emulation, on a real device: pytest tests/backends/cuda -m gpu. No Beam is needed."""

import os
import shutil
import subprocess
import sys

import pytest

from pipeline.backends.cuda.device import NoGpuError, find_gpu
from tests.backends.cuda.cases import CASES, MODELS, assert_equal
from tests.backends.cuda.generation_cases import everything

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True, scope="module")
def gpu():
    try:
        return find_gpu()
    except NoGpuError as error:
        pytest.skip(f"no GPU: {error}")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", CASES)
def test_steps_have_the_bits_of_the_cpu(model, name):
    for block in (256, 64, 32):
        assert_equal(CASES[name], model, block)


def test_rows_are_those_of_the_cpu():
    everything()


@pytest.mark.parametrize("tool", ["racecheck", "memcheck", "initcheck"])
def test_compute_sanitizer_finds_nothing(tool):
    sanitizer = shutil.which("compute-sanitizer")
    if not sanitizer:
        pytest.skip("compute-sanitizer, of the CUDA toolkit, is not installed")
    script = "; ".join(
        [
            "from tests.backends.cuda import cases",
            "[cases.assert_equal(cases.CASES['rows without context'], model) for model in cases.MODELS]",
        ]
    )
    command = [sanitizer, f"--tool={tool}", "--error-exitcode=1", sys.executable, "-c", script]
    paths = os.pathsep.join(filter(None, [".", os.environ.get("PYTHONPATH")]))
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == 0, done.stdout[-4000:]
