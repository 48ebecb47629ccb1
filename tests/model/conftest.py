"""What several tests of models need."""

from __future__ import annotations

import pytest

from pipeline.model import checkpoints
from pipeline.model import model as model_digest


@pytest.fixture
def small_blocks(monkeypatch):
    """Many parts from few words."""
    for module in (checkpoints, model_digest):
        monkeypatch.setattr(module, "BLOCK_ROWS", 8)
