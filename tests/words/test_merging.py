"""Counts of many units, merged."""

from __future__ import annotations

import pyarrow as pa

from pipeline.words import merging
from pipeline.words.merging import merge_counts, split_by_bucket, table_from_bytes
from tests.helpers.counting import as_dict


def test_elements_are_small_and_hold_only_their_rows(monkeypatch):
    monkeypatch.setattr(merging, "ELEMENT_BYTES", 1 << 12)
    table = pa.table([pa.array([f"word{i}" for i in range(5000)]), pa.array(range(5000))], schema=merging.SCHEMA)
    parts = list(split_by_bucket(table, 4))
    assert max(len(data) for _, data in parts) < 8 << 10
    assert as_dict(merge_counts(data for _, data in parts)) == as_dict(table)
    assert [bucket for bucket, _ in parts] == sorted(bucket for bucket, _ in parts)
    assert table_from_bytes(parts[0][1]).schema.equals(table.schema)
