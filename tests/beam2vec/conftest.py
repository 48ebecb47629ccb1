"""Tests of the public face."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def face() -> None:
    """Messages speak of Python's arguments, as they do in a program that has imported beam2vec."""
