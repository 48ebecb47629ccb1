"""ARCHITECTURE.md leads to every stage: its table names what is there."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

from pipeline.batches.shard_lists import STAGE as SHARDS
from pipeline.model.checkpoints import END_STAGE, PARTS_STAGE, TRAINED
from pipeline.model.loss_curve import STAGE as METRICS
from pipeline.runs.stage_keys import stages
from pipeline.training.replicas.trainer import STAGE as SLICES

ROOT = pathlib.Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in row.strip("|").split("|")]
    for row in re.findall(r"^\|.*`transforms/\w+\.py`.*\|$", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
]
RECORDS = {*stages(1), *stages(1, is_update=True), TRAINED, SHARDS, END_STAGE, PARTS_STAGE, METRICS, SLICES}


def classes(path: pathlib.Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_stage_is_where_the_table_says(row):
    stage, modules, transform, test, _ = row
    assert set(stage.split(", ")) <= classes(ROOT / quoted(transform)[0])
    tested = (ROOT / quoted(test)[0]).read_text()
    for module in quoted(modules):
        assert (ROOT / "pipeline" / module).is_file()
    names = [f"pipeline.{module.removesuffix('.py').replace('/', '.')}".rpartition(".") for module in quoted(modules)]
    mirrors = {f"test_{name}.py" for _, _, name in names}
    assert pathlib.Path(quoted(test)[0]).name in mirrors or any(
        re.search(rf"from {package}(\.{name} import| import {name}\b)", tested) for package, _, name in names
    )


def test_every_transform_and_every_kind_of_record_has_a_stage():
    named = {quoted(row[2])[0] for row in ROWS}
    staged = {
        f"transforms/{path.name}"
        for path in (ROOT / "transforms").glob("*.py")
        if re.search(r"^class \w+\(beam\.PTransform\)", path.read_text(), re.MULTILINE)
    }
    assert named == staged
    told = {name for row in ROWS for name in row[4].split(", ")} - {"and so on", "of the other run", "of no run"}
    assert told == RECORDS
