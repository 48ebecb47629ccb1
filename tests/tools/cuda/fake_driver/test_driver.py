"""The fake driver notices what CUDA does not allow."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import numpy as np
import pytest

from pipeline.backends.cuda.cubins import load_module
from pipeline.backends.cuda.launcher import FOLDER
from tests.helpers.real_cupy import driver  # noqa: F401

pytestmark = pytest.mark.cupy
CODE = f"""
#define THREADS 32
{(FOLDER / "base.cu").read_text()}
KERNEL scale(float *x, float factor, int count) {{
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) x[i] = __fmul_rn(x[i], factor);
}}
"""


@pytest.fixture
def scale(driver):  # noqa: F811
    import cupy

    functions = {}

    def launch(array, *arguments, flags=("-ftz=false",)):
        function = functions.setdefault(flags, load_module(cupy, CODE, flags).get_function("scale"))
        function((4,), (32,), (array, *arguments))

    return launch


def on_device(numbers):
    import cupy

    array = cupy.empty(len(numbers), "float32")
    array.set(np.array(numbers, np.float32))
    return array


@contextlib.contextmanager
def noticed(driver, what):  # noqa: F811
    """What is done inside is noticed."""
    yield
    driver.device.synchronize()
    assert any(what in error for error in driver.errors), driver.errors
    driver.errors.clear()


def test_kernels_compute(scale):
    array = on_device([1, 2, 3])
    scale(array, np.float32(2), np.int32(2))
    assert array.get().tolist() == [2, 4, 3]


@pytest.mark.parametrize(("flag", "left"), [("-ftz=false", 5e-39), ("-ftz=true", 0.0), ("-use_fast_math", 0.0)])
def test_flags_decide_about_denormal_numbers(scale, flag, left):
    array = on_device([1e-38])
    scale(array, np.float32(0.5), np.int32(1), flags=(flag,))
    assert array.get()[0] == np.float32(left)


@pytest.mark.parametrize("arguments", [(2.0, np.int32(2)), (np.float64(2), np.int32(2)), (np.float32(2), 2.0)])
def test_numbers_of_another_type_compute_something_else(scale, arguments):
    array = on_device([1, 2, 3])
    scale(array, *arguments)
    assert array.get().tolist() != [2, 4, 3]


def test_an_array_that_is_freed_while_it_is_in_use_is_noticed(driver, scale):  # noqa: F811
    array = on_device([1, 2, 3])
    with noticed(driver, "scale: x is not memory of the device, or not any more"):
        scale(array, np.float32(2), np.int32(3))
        del array


def test_an_array_of_the_host_is_noticed(driver, scale):  # noqa: F811
    with noticed(driver, "scale: x is not memory of the device"):
        scale(np.uint64(np.zeros(3, np.float32).ctypes.data), np.float32(2), np.int32(3))


def test_a_copy_from_pageable_memory_in_a_capture_is_noticed(driver):  # noqa: F811
    import cupy

    array, host = on_device([1, 2, 3]), np.zeros(3, np.float32)
    stream = cupy.cuda.Stream(non_blocking=True)
    with noticed(driver, "pageable memory in a capture"), stream:
        stream.begin_capture()
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError):
            cupy.cuda.runtime.memcpyAsync(array.data.ptr, host.ctypes.data, host.nbytes, 1, stream.ptr)
        stream.end_capture()


def test_a_function_that_it_does_not_know_is_noticed(driver):  # noqa: F811
    import cupy

    with noticed(driver, "cudaMallocManaged is not known to the fake driver"), pytest.raises(RuntimeError):
        cupy.cuda.runtime.mallocManaged(100)


def test_errors_can_be_asked_for(driver):  # noqa: F811
    import cupy

    driver.failing["cudaMemGetInfo"] = 100
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="cudaErrorNoDevice"):
        cupy.cuda.runtime.memGetInfo()


def test_a_process_ends_with_its_own_status_while_arrays_are_there(tmp_path):
    script = (
        "from tools.cuda.fake_driver.driver import fake_driver; fake_driver(); import cupy;"
        "kept = cupy.empty(9, 'int32'), cupy.cuda.Stream(), cupy.cuda.Event(); raise SystemExit(7)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (7, "")
