"""Texts in memory, and their words counted by plain Python."""

from __future__ import annotations

import pyarrow as pa

from pipeline.corpus.work_units import plan_work_units
from pipeline.storage.open_storage import open_storage

STORAGE = open_storage("memory://counts")
URI = STORAGE.uri("text")
LINE = 1 << 20


def units_of(data: bytes, block_bytes: int):
    STORAGE.put("text", data)
    return plan_work_units([(URI, len(data))], block_bytes)


def as_dict(table: pa.Table) -> dict[str, int]:
    return dict(zip(table["word"].to_pylist(), table["count"].to_pylist()))
