"""Chooses the backend: the GPU's if there is a GPU that gives the right bits, else the CPU's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pipeline.backends.backend import Backend
from pipeline.backends.cpu import CpuBackend
from pipeline.backends.cuda.backend import CudaBackend
from pipeline.backends.cuda.device import Gpu, NoCupyError, NoGpuError, find_gpu
from pipeline.batches.rows import Rows, TokenPiece, generate_rows
from pipeline.batches.sampling import Sampling, Tables
from pipeline.batches.steps import step_ranges
from pipeline.errors import InputError, PipelineError
from pipeline.runtime.messages import say, warn
from pipeline.words import unigram

_NEEDED = (
    "needed are an NVIDIA GPU of compute capability 7.0 or later, its driver (525 or later for CUDA 12, 580 or later"
    " for CUDA 13) and CuPy: pip install 'beam2vec[gpu]' (CUDA 12) or 'beam2vec[gpu-cuda13]'. --device=cpu gives the"
    " same bytes"
)


def gpu_for(device: str) -> Gpu | str:
    """The GPU to train on, or why there is none: "" if nobody expects one.

    Raises:
      InputError: --device=gpu, but there is no usable GPU.
    """
    if device == "cpu":
        return ""
    try:
        return find_gpu()
    except NoGpuError as error:
        if device == "gpu":
            raise InputError(f"--device=gpu: {error}; {_NEEDED}") from error
        return "" if isinstance(error, NoCupyError) else str(error)


@dataclasses.dataclass(frozen=True)
class Opened:
    """A backend, and what it runs on."""

    backend: Backend
    device: str
    """"CPU", or the GPU's name"""
    reason: str = ""
    """why it is the CPU where somebody may count on a GPU; "" otherwise"""


def open_backend(
    device: str,
    w_in: np.ndarray,
    w_out: np.ndarray,
    *,
    model: str,
    tau: float,
    zero_hits: bool,
    negatives: int,
    threads: int,
    is_quiet: bool = False,
) -> Opened:
    """The backend of a run.

    Before a GPU is used, it has to compute small steps with the bits of the CPU: by CUDA graphs, or else by plain
    launches. If it cannot, or has too little memory, --device=auto trains on the CPU. It says what it takes and, where
    CuPy is installed, why it takes the CPU.

    Raises:
      InputError: --device=gpu, but the GPU cannot be used.
    """
    settings: dict[str, Any] = {"model": model, "tau": tau, "zero_hits": zero_hits}
    found = gpu_for(device)
    if isinstance(found, Gpu):
        try:
            graphs = check_bits(found, w_in.shape[1], negatives, settings)
            backend = CudaBackend(w_in, w_out, graphs=graphs, **settings)
            if not is_quiet:
                say(f"training on {found}")
            return Opened(backend, found.name)
        except PipelineError as error:
            if device == "gpu":
                raise
            found = str(error)
    if found and not is_quiet:
        warn(f"training on the CPU: {found}")
    elif device == "auto" and not is_quiet:
        say("training on the CPU")
    return Opened(CpuBackend(w_in, w_out, threads=threads, **settings), "CPU", found)


def check_bits(gpu: Gpu, dims: int, negatives: int, settings: dict[str, Any]) -> bool:
    """Whether the GPU gives the CPU's bits by CUDA graphs; False if only by plain launches.

    Raises:
      InputError: by neither.
    """
    try:
        _check_bits(gpu, dims, negatives, settings, graphs=True)
        return True
    except InputError:
        _check_bits(gpu, dims, negatives, settings, graphs=False)
        return False


def _check_bits(gpu: Gpu, dims: int, negatives: int, settings: dict[str, Any], graphs: bool) -> None:
    """Trains four small steps on both, then some steps of rows that are made from tokens; InputError if bits differ."""
    rng = np.random.default_rng(0)
    vocabulary, rows = 50 + 4 * negatives, 200  # so many words that distinct negatives are drawn in no time
    offset = np.append(0, np.cumsum(rng.integers(1, 8, rows))).astype(np.int32)

    def draw(*shape: int) -> np.ndarray:
        return np.floor(rng.random(shape) ** 3 * vocabulary).astype(np.int32)

    step_rows = Rows(draw(rows), offset, draw(int(offset[-1])), draw(rows, negatives))
    weights = [rng.random((vocabulary, dims), dtype=np.float32) - np.float32(0.5) for _ in range(2)]
    for matrix in weights:
        matrix[:, 1::2] *= np.float32(1e-38)  # denormal numbers, which a GPU may be told to take for zeros
    settings = settings | {"tau": 30.0}  # some rows are damped and some are not
    bounds, rates = np.array([0, 80, 100, 150, rows]), np.array([0.05, 0.04, 0.03, 0.02], np.float32)
    piece = TokenPiece(
        draw(400), np.arange(0, 401, 40), (1 << 32) - 200
    )  # across 2^32, so that both halves of positions are used
    first, sampling = piece.position // 100, Sampling(5, negatives, "distinct", 1)
    tables = Tables.of(unigram.build(np.arange(vocabulary, 0, -1), 0.75, 1e-2))
    results = []
    try:
        cpu, cuda = CpuBackend(*weights, **settings), CudaBackend(*weights, graphs=graphs, **settings)
        cpu_ranges = step_ranges([generate_rows(*piece, tables, sampling, 1)], 100, first, first + 5, negatives)
        for backend, ranges in (
            (cpu, cpu_ranges),
            (cuda, cuda.step_ranges([piece], tables, sampling, 1, 100, first, first + 5)),
        ):
            loss = [backend.train(step_rows, bounds, rates)]
            loss += [backend.train(steps.rows, steps.bounds, np.resize(rates, steps.steps)) for steps in ranges]
            total = [value for step_loss in loss for value in step_loss.total.tolist()]
            results.append(([w.tobytes() for w in backend.weights()], total))
    except Exception as error:  # of the driver, or of the compiler
        raise InputError(f"{gpu} failed on a first training step ({type(error).__name__}: {error})") from error
    if results[0] != results[1]:
        raise InputError(f"{gpu} does not compute a training step as the CPU does: do not train on it")
