"""Is a GPU right? The parts of `benchmarks.first_device --first`, and what all parts share."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.backends.backend import Backend, GeneratingBackend, StepLoss
from pipeline.backends.cpu import CpuBackend
from pipeline.backends.cuda.backend import CudaBackend
from pipeline.backends.cuda.device import find_gpu
from pipeline.backends.open_backend import check_bits
from pipeline.batches.rows import TokenPiece, generate_rows
from pipeline.batches.sampling import Sampling, Tables
from pipeline.batches.schedule import Schedule
from pipeline.batches.steps import StepRange, step_ranges
from pipeline.runtime.cpus import available_cpus
from pipeline.words import unigram

SAME, OTHER = "same bytes", "OTHER BYTES"
SETTINGS: dict[str, Any] = {"tau": 128.0, "zero_hits": True}
SUBSAMPLE = 1e-3
ROOT = Path(__file__).parents[2]
PACKAGES = (
    "numpy",
    "numba",
    "llvmlite",
    "pyarrow",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "nvidia-cuda-nvrtc-cu12",
    "nvidia-cuda-nvrtc",
)
COMPARED = (("skipgram", 100, 2048), ("cbow", 100, 2048), ("skipgram", 300, 16_384), ("cbow", 300, 16_384))
"""Model, dims and positions of a step of which the bytes are compared."""
SANITIZED = """
from tests.backends.cuda import cases
for model in cases.MODELS:
    case = cases.CASES["rows without context"]
    cases.train(cases.CudaBackend(*case.weights(), **case.settings(model), graphs=False), case)
"""
"""What the sanitizer watches: without the CPU's part, which it only slows."""


class Shape(NamedTuple):
    """What is trained."""

    model: str
    dims: int
    negatives: int = 5
    window: int = 5
    vocabulary: int = 70_000

    def __str__(self) -> str:
        return f"{self.model} {self.dims}/{self.negatives}/{self.window}, {self.vocabulary:,} words"

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.window, self.negatives, "exclude_target", 1)

    def backend(self, kind: Callable[..., Backend], **more: Any) -> Backend:
        return kind(*weights(self.vocabulary, self.dims), model=self.model, **SETTINGS, **more)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is done."""

    tokens: int = 6_000_000
    bytes_tokens: int = 400_000
    vocabulary: int = 70_000
    large_vocabulary: int = 555_000
    steps: Sequence[int] = (2048, 4096, 8192, 16_384, 32_768, 65_536)
    some_steps: Sequence[int] = (2048, 16_384)
    repeat: int = 200
    is_small: bool = False

    @classmethod
    def small(cls) -> Sizes:
        return cls(6000, 3000, 300, 400, (512,), (256,), 2, True)


@functools.cache
def corpus(tokens: int, vocabulary: int) -> tuple[TokenPiece, Tables]:
    """Words by Zipf's law in sentences of 20; and tables, subsampled at 1e-3."""
    counts = (1e8 / np.arange(1, vocabulary + 1)).astype(np.int64)
    edges = np.cumsum(counts / counts.sum())
    drawn = np.searchsorted(edges, np.random.default_rng(1).random(tokens)).clip(max=vocabulary - 1).astype(np.int32)
    piece = TokenPiece(drawn, np.append(np.arange(0, tokens, 20), tokens), 0)
    return piece, Tables.of(unigram.build(counts, 0.75, SUBSAMPLE))


def weights(vocabulary: int, dims: int) -> tuple[np.ndarray, np.ndarray]:
    w_in = (np.random.default_rng(2).random((vocabulary, dims), dtype=np.float32) - np.float32(0.5)) / np.float32(dims)
    return w_in, np.zeros_like(w_in)


def ranges(backend: Backend, shape: Shape, tokens: int, batch_size: int) -> Iterator[StepRange]:
    """The steps of an epoch, as the trainer gets them: rows are made where the backend trains."""
    piece, tables = corpus(tokens, shape.vocabulary)
    steps = -(-tokens // batch_size)
    if isinstance(backend, GeneratingBackend):
        return iter(backend.step_ranges([piece], tables, shape.sampling, 0, batch_size, 0, steps))
    rows = generate_rows(*piece, tables, shape.sampling, 0)
    return iter(step_ranges([rows], batch_size, 0, steps, shape.negatives))


class Epoch(NamedTuple):
    seconds: float
    waiting: float
    """seconds in which the next step range was asked for"""
    loss: list[float]


def train_epoch(backend: Backend, shape: Shape, tokens: int, batch_size: int) -> Epoch:
    """An epoch on the way that `beam2vec train` takes."""
    schedule = Schedule(tokens, batch_size, 1, 0.05, 6.4)
    began, waiting, loss = time.perf_counter(), 0.0, list[float]()
    finish: Callable[[], StepLoss] | None = None
    steps = ranges(backend, shape, tokens, batch_size)
    while True:
        asked = time.perf_counter()
        block = next(steps, None)
        waiting += time.perf_counter() - asked
        if block is None:
            loss += finish().total.tolist() if finish else []
            return Epoch(time.perf_counter() - began, waiting, loss)
        rates = schedule.learning_rates(block.first, block.steps)
        if isinstance(backend, GeneratingBackend):
            started = backend.start(block.rows, block.bounds, rates)
            loss += finish().total.tolist() if finish else []
            finish = started
        else:
            loss += backend.train(block.rows, block.bounds, rates).total.tolist()


def run_tool(*command: str, timeout: float, **environment: str) -> tuple[int, str]:
    """(status, output) of a program; it is ended after `timeout` seconds."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, cwd=ROOT, env={**os.environ, **environment}
        )
    except FileNotFoundError:
        return -1, f"{command[0]} is not there"
    except subprocess.TimeoutExpired as error:
        return 124, f"ended after {timeout:.0f} s\n{(error.stdout or b'')[-3000:]!r}"
    return done.returncode, done.stdout + done.stderr


# ---- the parts


def environment(sizes: Sizes, left: Callable[[], float], folder: Path) -> dict[str, Any]:
    columns = "name,driver_version,memory.total,clocks.sm,clocks.max.sm"
    _, smi = run_tool("nvidia-smi", f"--query-gpu={columns}", "--format=csv,noheader", timeout=20)
    versions = {name: _version(name) for name in PACKAGES}
    tools = {name: shutil.which(name) for name in ("compute-sanitizer", "ncu", "nvcc")}
    return {"nvidia-smi": smi.strip(), "python": sys.version.split()[0], "cpus": available_cpus(), **versions, **tools}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def smoke(sizes: Sizes, left: Callable[[], float], folder: Path) -> dict[str, Any]:
    """Is there a GPU, and does it pass the check of bits before a run, by graphs?"""
    results: dict[str, Any] = {}
    began = time.perf_counter()
    gpu = find_gpu()
    results["gpu"] = f"{gpu} ({time.perf_counter() - began:.1f} s to find it)"
    for model in ("skipgram", "cbow"):
        began = time.perf_counter()
        how = "graphs" if check_bits(gpu, 100, 5, {"model": model, **SETTINGS}) else "plain launches alone"
        results[model] = f"{SAME} by {how} ({time.perf_counter() - began:.1f} s, compiled or taken from the cache)"
    return results


def denormals(sizes: Sizes, left: Callable[[], float], folder: Path) -> dict[str, str]:
    """Steps of denormal numbers: a flag too many would make zeros of them."""
    from tests.backends.cuda import cases

    results = {}
    for name in ("denormal weights and rates", "denormal updates"):
        for model in cases.MODELS:
            try:
                cases.assert_equal(cases.CASES[name], model)
                results[f"{name}, {model}"] = SAME
            except AssertionError:
                results[f"{name}, {model}"] = OTHER
    return results


def same_bytes(sizes: Sizes, left: Callable[[], float], folder: Path) -> dict[str, str]:
    """An epoch on the default path, on both devices: weights and losses."""
    results = {}
    for model, dims, batch_size in COMPARED:
        shape = Shape(model, 16 if sizes.is_small else dims, vocabulary=sizes.vocabulary)
        made = []
        for backend in (shape.backend(CpuBackend, threads=available_cpus()), shape.backend(CudaBackend)):
            loss = train_epoch(backend, shape, sizes.bytes_tokens, batch_size).loss
            made.append(([matrix.tobytes() for matrix in backend.weights()], loss))
        results[f"{shape}, steps of {batch_size:,}"] = SAME if made[0] == made[1] else OTHER
    return results


def tests(sizes: Sizes, left: Callable[[], float], folder: Path) -> dict[str, Any]:
    """The tests that are marked `gpu`, without the settings of the whole suite, which wants more packages."""
    if importlib.util.find_spec("pytest") is None:
        return {"status": "pytest is not installed"}
    workers = ["-n", "6"] if importlib.util.find_spec("xdist") and not sizes.is_small else []
    chosen = "not sanitizer and (one_row or rows_are)" if sizes.is_small else "not sanitizer"
    ini = ["-c", os.devnull, f"--rootdir={ROOT}", "--noconftest", "-p", "no:cacheprovider", "-W", "ignore"]
    command = [sys.executable, "-m", "pytest", *ini, "tests/backends/cuda", "-m", "gpu", "-q", "-k", chosen, *workers]
    status, said = run_tool(*command, timeout=max(20.0, min(150.0, left() - 5)))
    (folder / "pytest.txt").write_text(said)
    return {"status": "passed" if status == 0 else f"FAILED with {status}", "end": said[-600:]}


def sanitizer(sizes: Sizes, left: Callable[[], float], folder: Path) -> dict[str, Any] | str:
    """compute-sanitizer over a small run of each model."""
    tool, results = shutil.which("compute-sanitizer"), {}
    if not tool:
        return "compute-sanitizer is not there"
    for name in ("memcheck", "racecheck", "initcheck"):
        command = [tool, f"--tool={name}", "--error-exitcode=1", sys.executable, "-c", SANITIZED]
        status, said = run_tool(*command, timeout=max(5.0, min(60.0, left() - 5)))
        results[name] = {"status": "nothing" if status == 0 else f"FAILED with {status}", "end": said[-1500:]}
    return results
