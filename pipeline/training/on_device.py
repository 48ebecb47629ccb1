"""What a trainer trains on: the backend of --device, and the CPU where a step turns out to be too large for the GPU."""

from __future__ import annotations

import dataclasses

import numpy as np

from pipeline.backends.backend import GeneratingBackend
from pipeline.backends.open_backend import Opened, open_backend
from pipeline.batches.schedule import Schedule, step_of
from pipeline.errors import DoesNotFitError
from pipeline.options import Options
from pipeline.runtime.messages import warn


def new_backend(
    w_in: np.ndarray,
    w_out: np.ndarray,
    options: Options,
    schedule: Schedule,
    threads: int,
    is_quiet: bool = False,
    device: str = "",
) -> Opened:
    """The backend that trains these weights; it copies them.

    Args:
      device: in place of --device.
    """
    opened = open_backend(
        device or options.device,
        w_in,
        w_out,
        model=options.model,
        tau=float(schedule.tau),
        zero_hits=options.negative_policy != "any",
        negatives=options.negatives,
        threads=threads,
        is_quiet=is_quiet,
    )
    on_gpu, many = isinstance(opened.backend, GeneratingBackend), 2 * options.negatives > len(w_in)
    if on_gpu and many and options.negative_policy == "distinct" and not is_quiet:
        warn(
            f"--negatives={options.negatives} of {len(w_in):,} words are slow to draw on a GPU with"
            " --negative_policy=distinct: take fewer, or --device=cpu"
        )
    return opened


def instead_of_the_gpu(
    weights: tuple[np.ndarray, np.ndarray],
    error: DoesNotFitError,
    step: int,
    options: Options,
    schedule: Schedule,
    threads: int,
) -> Opened:
    """The CPU's backend, where a training step does not fit into the GPU; its weights are those after `step` steps.

    Raises:
      DoesNotFitError: --device=gpu.
    """
    if options.device != "auto":
        raise error
    warn(f"training goes on on the CPU after {step_of(step, schedule.steps)}: {error}")
    opened = new_backend(*weights, options, schedule, threads, device="cpu")
    return dataclasses.replace(opened, reason=str(error))
