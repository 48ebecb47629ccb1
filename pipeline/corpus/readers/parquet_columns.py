"""Columns of Parquet files by the name that --field gives: also fields of structs, and of structs in lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus.readers.values import EXPECTED, INTEGERS, STRINGS, TEXT
from pipeline.errors import InputError
from pipeline.runtime.shown_text import shown_list


class Column(NamedTuple):
    """A column, or a field within one."""

    names: list[str]
    """the column, and the fields from struct to struct, which may be in lists"""
    kind: pa.DataType
    """with the lists that lead to it"""
    leaf: int
    """its number among the columns that Parquet stores"""


def column_of(schema: pa.Schema, field: str) -> Column | None:
    """The column that a field names; None if there is no such column, or more than one of its name."""
    names = [field] if field in schema.names else field.split(".")
    place = schema.get_field_index(names[0])
    if place < 0:
        return None
    kind, leaf = schema.field(place).type, sum(_leaves(schema.field(i).type) for i in range(place))
    lists = 0
    for name in names[1:]:
        while is_list(kind):
            lists += 1
            kind = kind.value_type
        index = kind.get_field_index(name) if pa.types.is_struct(kind) else -1
        if index < 0:
            return None
        leaf += sum(_leaves(kind.field(i).type) for i in range(index))
        kind = kind.field(index).type
    for _ in range(lists):
        kind = pa.large_list(kind)
    return Column(names, kind, leaf)


def _leaves(kind: pa.DataType) -> int:
    """How many columns Parquet stores for a type."""
    if pa.types.is_struct(kind):
        return sum(_leaves(kind.field(i).type) for i in range(kind.num_fields))
    if pa.types.is_map(kind):
        return _leaves(kind.key_type) + _leaves(kind.item_type)
    return _leaves(kind.value_type) if is_list(kind) else 1


def is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def items_in_column(uri: str, schema: pa.Schema, field: str) -> str:
    """TEXT, STRINGS or INTEGERS by the column's type."""
    column = column_of(schema, field)
    if column is None:
        names = shown_list(schema.names) or "none"
        raise InputError(f"--field={field}: {uri} has no such column; there are {names}")
    kind = column.kind
    if _is_string(kind):
        return TEXT
    if is_list(kind):
        item = kind.value_type.value_type if is_list(kind.value_type) else kind.value_type
        if _is_string(item):
            return STRINGS
        if pa.types.is_integer(item):
            return INTEGERS
    raise InputError(f"--field={field} is {kind} in {uri}; allowed are {', '.join(EXPECTED.values())}")


def _is_string(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or kind in _PLAIN
    )


_PLAIN = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
"""Types that Arrow can neither filter nor measure -> the same that it can."""


def within(array: pa.Array, names: Sequence[str]) -> pa.Array:
    """What the names lead to, from struct to struct; of a list of structs, the list of what they hold.

    Lists of any kind are large_list, and string_view is large_string.
    """
    if is_list(array.type):
        offsets = np.zeros(len(array) + 1, np.int64)
        np.cumsum(pc.fill_null(pc.list_value_length(array), 0), out=offsets[1:])
        mask = array.is_null() if array.null_count else None
        return pa.LargeListArray.from_arrays(pa.array(offsets), within(array.flatten(), names), mask=mask)
    if names:
        return within(pc.struct_field(array, names[0]), names[1:])
    return array.cast(_PLAIN.get(array.type, array.type))
