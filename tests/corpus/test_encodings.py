"""Files that are not lines of UTF-8 text are refused by their first bytes."""

from __future__ import annotations

import pytest

from pipeline.corpus.encodings import refuse_other_encodings
from pipeline.corpus.work_units import TextRange
from pipeline.errors import InputError

RANGE = TextRange("texts/old.txt", 10, 0, 10)


@pytest.mark.parametrize("head", [b"a rose\ris a rose\r", b"a\r\rb", b"a\rb\rc\rd\re\n", b"x" * 4000 + b"\ry\r"])
def test_lines_that_end_in_a_carriage_return_alone_are_refused(head):
    """The whole file was one line: contexts went from one line to the next."""
    with pytest.raises(InputError, match=r"^texts/old.txt ends its lines with a carriage .*: convert it by tr '\\r'"):
        refuse_other_encodings(RANGE, head)


@pytest.mark.parametrize(
    "head", [b"a rose\r\nis a rose\r\n", b"one line\r", b"a\r\rb\n", b"a\rb\rc\rd\n", b"a\r\r\r\r\n b\n", b"", b"plain"]
)
def test_other_carriage_returns_pass(head):
    refuse_other_encodings(RANGE, head)
