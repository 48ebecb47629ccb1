"""Kernels on the bytes of a text."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.corpus.spans import as_array
from pipeline.kernels import text as kernels


@given(st.binary(max_size=200), st.integers(0, 130))
@example(b"\xed\xa0\x80", 0)
@example(b"\xf4\x90\x80\x80", 61)
@example(b"\xc0\xaf", 63)
def test_first_invalid_agrees_with_python(data, pad):
    data = b"x" * pad + data
    try:
        data.decode()
        expected = len(data)
    except UnicodeDecodeError as error:
        expected = error.start
    assert kernels.first_invalid(as_array(data), 0, len(data)) == expected
