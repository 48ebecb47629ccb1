"""The same cases as under emulation, on a real device: python -m pytest -m gpu."""

import os
import shutil
import subprocess
import sys

import pytest

from pipeline.backends.cuda.device import NoGpuError, find_gpu
from tests.backends.cuda.cases import CASES, MODELS, assert_equal
from tests.backends.cuda.test_generation import everything
from tests.helpers.trainings import options_of
from tests.helpers.trainings import train as train_model

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


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("policy", ["exclude_target", "distinct", "any"])
def test_a_run_has_one_digest_on_both_devices(model, policy):
    values = {"model": model, "negative_policy": policy, "epochs": 1, "negatives": 3}
    wanted = train_model(options_of(device="cpu", **values))
    assert train_model(options_of(device="gpu", **values)).digest == wanted.digest


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
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == 0, done.stdout[-4000:]
