"""Units of work on Beam: those of the plan, whatever a runner does to the files."""

from __future__ import annotations

import gzip
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus.files import InputFile, indexed, match_inputs
from pipeline.corpus.work_units import TextRange, TextSource, plan_work_units
from pipeline.errors import ArtifactError
from tests.helpers.world import check, make_context
from transforms.work_units import PlanWorkUnits, _plan

pytest_plugins = ("tests.helpers.world_fixture",)


def test_work_units_are_those_of_the_plan(world):
    def expect(units):
        assert sorted(units, key=lambda unit: unit.index) == world.units

    check(indexed(world.files), lambda files: (files | PlanWorkUnits(world.context, len(world.files)))[0], expect)


def test_work_units_of_compressed_files_hold_their_text_in_order(world, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    text = world.corpus.read_bytes().splitlines(keepends=True)
    (folder / "a.txt").write_bytes(b"".join(text[:50]))
    (folder / "b.gz").write_bytes(gzip.compress(b"".join(text[50:90])))
    (folder / "c.txt").write_bytes(b"".join(text[90:]))
    files = match_inputs([str(folder)])
    context = make_context(files, tmp_path / "other")

    def expect(units):
        parts = [part for unit in sorted(units, key=lambda unit: unit.index) for part in unit.ranges]
        assert b"".join(content(part) for part in parts) == world.corpus.read_bytes()
        assert {part.name() for part in parts} == {file.uri for file in files}

    check(indexed(files), lambda elements: (elements | PlanWorkUnits(context, len(files)))[0], expect)


@pytest.mark.parametrize("delivered", [[0, 1], [0, 2], [1, 2], [0, 1, 1, 2], []])
def test_files_that_a_runner_loses_or_doubles_are_noticed(delivered):
    sources = [(3 * n, 3, (TextSource(f"{n}.txt", 10),)) for n in range(3)]
    with pytest.raises(ArtifactError, match="start the run again"):
        list(_plan((0, [sources[n] for n in delivered]), 100, 9))
    assert list(_plan((0, sources[::-1]), 100, 9)) == plan_work_units([s for *_, some in sources for s in some], 100)


def content(part: TextRange) -> bytes:
    return pathlib.Path(part.uri).read_bytes()[part.start : part.end]


@given(st.lists(st.integers(0, 2 << 20), max_size=600))
def test_files_come_together_in_order_and_large_ones_alone(sizes):
    files = [InputFile(f"f{i:05d}", size, "1") for i, size in enumerate(sizes)]
    elements = list(indexed(files))
    assert [file for _, together in elements for file in together] == files
    assert all(files[first] == together[0] for first, together in elements)
    assert all(len(t) == 1 or (len(t) <= 256 and sum(f.size for f in t) <= 1 << 20) for _, t in elements)
