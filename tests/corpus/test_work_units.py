"""The corpus cut and packed into units of work."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus.work_units import MAX_RANGES, TextSource, WorkUnit, plan_work_units


@given(st.lists(st.integers(0, 400), max_size=40), st.integers(1, 120))
def test_every_byte_is_in_exactly_one_range(sizes, block_bytes):
    sources = [TextSource(f"file{i:03d}", size) for i, size in enumerate(sizes)]
    units = plan_work_units(sources, block_bytes)
    covered = [(part.uri, byte) for unit in units for part in unit.ranges for byte in range(part.start, part.end)]
    assert covered == [(source.uri, byte) for source in sources for byte in range(source.size)]
    assert [unit.index for unit in units] == list(range(len(units)))
    assert all(0 < unit.size <= block_bytes for unit in units)
    assert len(units) <= 2 * sum(sizes) / block_bytes + 2


def test_files_that_fill_a_unit_exactly_share_it():
    units = plan_work_units([("a", 4), ("b", 6), ("c", 10), ("d", 1)], 10)
    assert [[part.uri for part in unit.ranges] for unit in units] == [["a", "b"], ["c"], ["d"]]


def test_many_tiny_files_make_few_units():
    units = plan_work_units([(f"file{i:06d}", 10) for i in range(100_000)], 8 << 20)
    assert len(units) == -(-100_000 // MAX_RANGES)
    assert isinstance(units[0], WorkUnit)
    assert units[0].name == "unit-000000000"
