"""Compiles the kernels, once for all processes of the tests.

Each would compile what it comes to first, and two of them the training step, which takes as long as all else.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import numpy as np

from pipeline.kernels.compile import has_cached_kernels

ROOT = pathlib.Path(__file__).parents[2]
PARTS = ("the_training_step", "all_else")


def compile_kernels() -> None:
    """Each part in a process of its own, at the same time."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.helpers.compiling"]
    running = [subprocess.Popen([*command, part], cwd=ROOT, env=environment) for part in PARTS]
    for process in running:
        process.wait()  # where one fails, a test will say why


def the_training_step() -> None:
    from pipeline.backends.cpu import CpuBackend
    from tests.helpers.training_rows import random_rows, random_weights, run

    weights = random_weights(vocabulary=10, dims=16, seed=0)
    backend = CpuBackend(*weights, model="skipgram", tau=1.0, zero_hits=True)
    run(backend, random_rows(vocabulary=10, rows=20, negatives=3, window=2, seed=0), [0, 20], [0.1])


def all_else() -> None:
    from pipeline.backends.oracles.definition import PlainBackend
    from pipeline.model.initial_vectors import initial_vectors
    from pipeline.training.replicas.trainer import merge_rows
    from tests.helpers.commands import preprocess, write_corpus
    from tests.helpers.training_rows import random_rows, random_weights, run

    with tempfile.TemporaryDirectory() as folder:
        corpus = write_corpus(pathlib.Path(folder, "text.txt"), lines=40, words=40)
        for more in (["--phrases=1"], ["--tokenizer=unicode_words", "--lowercase"]):
            output = f"--output={folder}/{len(more)}"
            preprocess(f"--input={corpus}", output, "--min_count=1", "--batches=stored", "--epochs=1", *more)
    initial_vectors(["word"], 4, 0)
    weights = random_weights(vocabulary=10, dims=16, seed=0)
    merge_rows(*weights, [(np.array([1], np.int32), *(side[1:2] + 1 for side in weights))], 2)
    for model in ("skipgram", "cbow"):
        backend = PlainBackend(*weights, model=model, tau=1.0, zero_hits=True)
        run(backend, random_rows(vocabulary=10, rows=20, negatives=3, window=2, seed=0), [0, 20], [0.1])


def main(arguments: Sequence[str]) -> None:
    """One part; without an argument all of them, where no machine code is kept yet."""
    if arguments:
        {"the_training_step": the_training_step, "all_else": all_else}[arguments[0]]()
    elif not has_cached_kernels():
        compile_kernels()


if __name__ == "__main__":
    main(sys.argv[1:])
