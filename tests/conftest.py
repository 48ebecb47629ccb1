"""Settings of the whole test suite."""

from __future__ import annotations

import hypothesis
import pytest

from pipeline.kernels.compile import has_cached_kernels
from tests.helpers.compiling import compile_kernels

# No deadline: a first call may compile a kernel. Derandomised: a commit passes or fails the same everywhere.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Before several processes begin to test, kernels are compiled that all of them need."""
    begins_others = not hasattr(config, "workerinput") and config.getoption("numprocesses", None)
    if begins_others and not config.option.collectonly and not has_cached_kernels():
        compile_kernels()
