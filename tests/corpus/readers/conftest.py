"""What several tests of readers need."""

from __future__ import annotations

import pytest

from tests.helpers.commands import write_corpus


@pytest.fixture
def lines(tmp_path):
    return write_corpus(tmp_path / "corpus.txt", lines=300).read_text().splitlines()
