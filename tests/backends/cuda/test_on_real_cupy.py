"""The product through real CuPy and real NVRTC, on a device that is not there: python -m pytest -m cupy."""

from __future__ import annotations

import gc
import re

import numpy as np
import pytest

from pipeline.backends import open_backend
from pipeline.backends.cuda import backend, cubins, launcher
from pipeline.backends.cuda.backend import CudaBackend
from pipeline.backends.cuda.device import find_gpu
from pipeline.backends.cuda.made_steps import MadeSteps
from pipeline.batches.sampling import Sampling
from tests.backends.cuda.cases import CASES, MODELS, Case, assert_equal
from tests.backends.cuda.generation_cases import everything, pieces_of, positions_at_once, tables_of
from tests.backends.cuda.planted import DEFECTS, HOST, Defect, is_noticed_on, planted_backend
from tests.helpers.real_cupy import driver  # noqa: F401
from tools.cuda import nvrtc
from tools.cuda.emulator.stand_in_cupy import POLICIES
from tools.cuda.fake_driver.driver import fake_device

pytestmark = pytest.mark.cupy
SETTINGS = {"tau": 128.0, "zero_hits": True}


@pytest.fixture(autouse=True)
def fresh(driver, tmp_path, monkeypatch):  # noqa: F811
    """No machine code is there, in memory or on disk."""
    launcher._compiled.cache_clear()
    monkeypatch.setattr(cubins, "cache_folder", lambda: str(tmp_path))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", CASES)
def test_steps_have_the_bits_of_the_cpu(name, model):
    assert_equal(CASES[name], model, block=(256, 64, 32)[len(name) % 3])


def test_rows_are_those_of_the_cpu():
    everything()


@pytest.mark.parametrize("model", MODELS)
def test_nvrtc_gets_our_options_and_no_others(driver, model):  # noqa: F811
    assert open_backend.check_bits(find_gpu(), 100, 5, {"model": model, **SETTINGS})
    step, rows = sorted(driver.compilations, key=lambda compilation: "DIMS" not in " ".join(compilation.options))
    fixed = (
        "--gpu-architecture=sm_90",
        "--std=c++17",
        "-ftz=false",
        "-fmad=false",
        "-prec-div=true",
        "-prec-sqrt=true",
    )
    defined = {f"-D{name}={value}" for name, value in nvrtc.constants(model, 100, 5).items()}
    assert step.options[:6] == rows.options[:6] == fixed
    assert set(step.options[6:]) == defined
    assert set(rows.options[6:]) <= defined
    for compilation in (step, rows):
        assert not re.search(r"\.ftz|\.approx", compilation.ptx)


def test_32_steps_are_four_calls_of_the_driver(driver, monkeypatch):  # noqa: F811
    """Of those that do something: CuPy also asks which device is the current one."""
    asking, counted = {"cudaGetDevice", "cudaStreamIsCapturing", "cudaSetDevice"}, []
    start = MadeSteps.start

    def count(self, rows, listed, *given):
        before = dict(driver.calls)
        kept = start(self, rows, listed, *given)
        made = {name: number - before.get(name, 0) for name, number in driver.calls.items() if name not in asking}
        counted.append((sum(made.values()), len(listed), str(made)))
        return kept

    monkeypatch.setattr(MadeSteps, "start", count)
    pieces, tables = pieces_of([[40] * 200], 300, 0), tables_of(300, 1e-2)
    with positions_at_once(20 * 64):
        backend = CudaBackend(*Case(vocabulary=300, dims=16).weights(), **Case().settings("skipgram"))
        for block in backend.step_ranges(pieces, tables, Sampling(2, 2, "any", 1), 0, 20, 0, 384):
            backend.train(block.rows, block.bounds, np.full(block.steps, 0.1, np.float32))
    calls, steps, made = min(counted[2:])  # the first ones record graphs
    assert steps == 64
    assert calls <= 8, made


def test_the_pools_of_cupy_give_memory_that_fits():
    with fake_device(pools=True, policy="random"):
        assert_equal(CASES["growing steps"], "skipgram")


# ---- planted: what must be noticed here, and is by nothing else


@pytest.mark.parametrize("flag", ["-ftz=true", "-use_fast_math"])
def test_a_flag_that_flushes_denormal_numbers_is_noticed(monkeypatch, flag):
    """As CuPy's RawModule adds one; the compiler's log is not asked."""
    compile_ = cubins._compile
    with_flag = lambda nvrtc, code, options: compile_(nvrtc, code, (*(o for o in options if "ftz" not in o), flag))  # noqa: E731
    monkeypatch.setattr(cubins, "_compile", with_flag)
    with pytest.raises(Exception, match="does not compute a training step as the CPU does"):
        open_backend.check_bits(find_gpu(), 20, 2, {"model": "skipgram", **SETTINGS})


def test_an_option_that_is_given_twice_is_refused(monkeypatch):
    monkeypatch.setattr(launcher, "OPTIONS", (*launcher.OPTIONS, "-ftz=true"))
    with pytest.raises(Exception, match=r'NVRTC is given an option twice: .*"--ftz\(-ftz\)=false" followed by'):
        open_backend.check_bits(find_gpu(), 20, 2, {"model": "skipgram", **SETTINGS})


def test_arguments_of_another_type_are_noticed(monkeypatch, driver):  # noqa: F811
    """CuPy passes a Python number as eight bytes, a double or a 64-bit integer."""
    checked = launcher._checked
    untyped = lambda kernel, parameter, value: value if isinstance(value, float) else checked(kernel, parameter, value)  # noqa: E731
    monkeypatch.setattr(launcher, "_checked", untyped)
    monkeypatch.setattr(backend.CudaBackend, "_plan", _with_a_double(backend.CudaBackend._plan))
    with pytest.raises(AssertionError):
        assert_equal(CASES["damped rows"], "skipgram")


def _with_a_double(plan):
    def planned(self, slot):
        self._rules = self._rules._replace(tau=float(self._rules.tau))
        plan(self, slot)

    return planned


@pytest.mark.parametrize("name", HOST)
def test_defects_of_the_host_code_are_noticed(name):
    devices = (fake_device(policy=policy) for policy in POLICIES)
    assert is_noticed_on(devices, DEFECTS[name], planted_backend(DEFECTS[name]))


def test_a_copy_of_pageable_memory_in_a_capture_is_noticed(driver):  # noqa: F811
    """By CuPy; what goes past it is the fake driver's to notice (tests/tools/cuda/fake_driver)."""
    start = "launch, block, sums = self._launch, self._shape.block, self._sums"
    wrong = "self._scores.set(np.zeros(self._scores.size, np.float32), stream=self._train_stream)"
    defect = Defect("backend.py", start, f"{wrong}\n        {start}", case="steps")
    with pytest.raises(RuntimeError, match="the current stream is capturing"):
        is_noticed_on([fake_device()], defect, planted_backend(defect))
    gc.collect()
    driver.errors.clear()  # the steps before, which nobody waited for, ran when their arrays had gone


def test_without_a_defect_nothing_is_noticed():
    for case in ("steps", "mixed"):
        defect = Defect("backend.py", "# ---- training", "# training", case=case)
        assert not is_noticed_on([fake_device(policy="random")], defect, planted_backend(defect))
