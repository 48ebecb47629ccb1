"""Settings of the whole test suite."""

from __future__ import annotations

import gc
import os
import pathlib
from collections.abc import Iterator

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # its threads sleep, instead of looking for work for a while

import hypothesis
import pytest

from pipeline.kernels.compile import has_cached_kernels
from pipeline.runtime import wording
from tests.helpers.compiling import compile_kernels

# No deadline: a first call may compile a kernel. Derandomised: a commit passes or fails the same everywhere.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Before several processes begin to test, kernels are compiled that all of them need."""
    begins_others = not hasattr(config, "workerinput") and config.getoption("numprocesses", None)
    if begins_others and not config.option.collectonly and not has_cached_kernels():
        compile_kernels()


LONGEST = ("system", "words", "jobs", "kernels", "runs", "analysis")
"""Folders of tests that come first, so that no worker is left with a long module when the others have ended."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folders = [item.path.relative_to(pathlib.Path(__file__).parent).parts[0] for item in items]
    place = {folder: number for number, folder in enumerate(LONGEST)}
    order = sorted(range(len(items)), key=lambda i: place.get(folders[i], len(place)))
    items[:] = [items[i] for i in order]


def pytest_collection_finish() -> None:
    """What was imported stays: who looks for garbage among it each time spends a tenth of the tests on that."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@pytest.fixture(autouse=True)
def face() -> Iterator[None]:
    """Messages speak of the command line, whether or not some test of this process has imported beam2vec."""
    with wording.of_a_command():
        yield
