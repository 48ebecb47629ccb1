"""Real CuPy on the fake driver, for tests that are marked `cupy`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def driver() -> Iterator[Any]:
    """The `FakeDriver`, with an empty device; what CUDA does not allow fails the test."""
    from tools.cuda.fake_driver.driver import fake_device, fake_driver
    from tools.cuda.fake_driver.patches import NotHereError

    try:
        fake_driver()
    except NotHereError as error:
        pytest.skip(str(error))
    with fake_device() as driver:
        yield driver
