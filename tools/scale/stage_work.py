"""Preprocessing with every stage noting what each worker process did: units, their size, CPU seconds.

The stages are those of the job, with a note taken around each element. Beam's workers import this module to find the
stages, so it imports no command: a worker cannot load the runners.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pipeline.words.merging import BucketCounts
from transforms import batches, counts, tokens, work_units

FOLDER = "BEAM2VEC_STAGE_WORK"
"""Environment variable: where the notes go, a file a process."""
STAGES = {
    "unpack": "MB",
    "count": "MB",
    "merge counts": "kB of counts",
    "encode": "MB",
    "store batches": "k tokens",
}
"""In the order in which they run, with the unit of their amounts."""


@contextlib.contextmanager
def noted(stage: str, amount: float, units: int = 1) -> Iterator[None]:
    """Notes the CPU time of this thread, in which Beam runs the whole element."""
    began = time.thread_time()
    yield
    note = {"stage": stage, "amount": amount, "units": units, "cpu": time.thread_time() - began}
    with open(f"{os.environ[FOLDER]}/{os.getpid()}.jsonl", "a") as file:
        file.write(json.dumps(note) + "\n")


def _noting(base: Any, stage: str, amount: Callable[[Any], float]) -> Any:
    """A DoFn's class with a note for each element; its bundles' ends are noted too, where it does work there."""

    @functools.wraps(base.process)
    def process(self: Any, element: Any, *rest: Any) -> Iterator[Any]:
        size = amount(element)
        with noted(stage, size, int(size > 0)):
            yield from base.process(self, element, *rest)

    def finish_bundle(self: Any) -> Iterator[Any]:
        with noted(stage, 0, 0):
            yield from base.finish_bundle(self) or ()

    return type(base.__name__, (base,), {"process": process, "finish_bundle": finish_bundle, "__module__": __name__})


def _packed(element: Any) -> float:
    return sum(file.size for file in element[1] if file.uri.endswith(".gz")) / 1e6


UnpackFile = _noting(work_units.UnpackFile, "unpack", _packed)
CountUnit = _noting(counts.CountUnit, "count", lambda unit: unit.size / 1e6)
EncodeUnit = _noting(tokens.EncodeUnit, "encode", lambda unit: unit.size / 1e6)
StoreBatches = _noting(batches.StoreBatches, "store batches", lambda element: element[1].positions / 1e3)
_merge = counts._merge


def merge(element: tuple[int, Iterable[bytes]], *rest: Any) -> BucketCounts:
    """Under a name of its own, by which workers find it."""
    parts = list(element[1])
    with noted("merge counts", sum(map(len, parts)) / 1e3):
        return _merge((element[0], parts), *rest)


def replace_stages() -> None:
    """From now on, graphs of this process have these stages in place of the job's own."""
    replaced: dict[Any, dict[str, Any]] = {
        work_units: {"UnpackFile": UnpackFile},
        counts: {"CountUnit": CountUnit, "_merge": merge},
        tokens: {"EncodeUnit": EncodeUnit},
        batches: {"StoreBatches": StoreBatches},
    }
    for module, names in replaced.items():
        for name, ours in names.items():
            setattr(module, name, ours)
