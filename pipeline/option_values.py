"""How values of options are converted and checked: the type, the bounds and the choices that a field declares."""

from __future__ import annotations

import dataclasses
from typing import Any

from pipeline.errors import InputError


def checked_value(field: dataclasses.Field, value: Any) -> Any:
    """The value converted to the option's type; InputError if it is not allowed."""
    if value is None and field.metadata["optional"]:
        return None
    if isinstance(value, str) and value in field.metadata["named"]:
        return field.metadata["named"][value]
    typed = None if value is None else _typed(_type_name(field), value)
    if typed is None or not _isallowed_values(field, typed):
        raise InputError(f"--{field.name}={'' if value is None else value}: allowed {allowed_values(field)}")
    return typed


def _type_name(field: dataclasses.Field) -> str:
    """ "int", "float", "str" or "bool"."""
    return str(field.type).partition(" | ")[0]


def _typed(kind: str, value: Any) -> Any:
    """The value converted to the type of this name, or None if it cannot be."""
    if kind == "bool":
        return {"true": True, "false": False}.get(str(value).lower())
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if kind == "str":
        return str(value)
    try:
        if kind == "float":
            return float(value)
        return int(value) if isinstance(value, (str, int)) or value.is_integer() else None
    except (ValueError, OverflowError):
        return None


def _isallowed_values(field: dataclasses.Field, value: Any) -> bool:
    meta = field.metadata
    if meta["choices"]:
        return value in meta["choices"]
    if meta["low"] is None:
        return True
    if meta["high"] is not None and value > meta["high"]:
        return False
    return value > meta["low"] if meta["over"] else value >= meta["low"]  # NaN fails both


def allowed_values(field: dataclasses.Field) -> str:
    """What is allowed, in words: the end of a sentence that begins with "allowed"."""
    meta, kind = field.metadata, _type_name(field)
    if meta["choices"] or kind == "bool":
        return "are " + ", ".join(meta["choices"] or ("true", "false"))
    if kind == "str":
        return "is any text"
    text = "is a whole number" if kind == "int" else "is a number"
    if meta["named"]:
        text += f" (or {', '.join(meta['named'])})"
    if meta["low"] is not None:
        text += (" above " if meta["over"] else " of at least ") + _number(meta["low"])
    if meta["high"] is not None:
        text += " and at most " + _number(meta["high"])
    return text


def _number(value: float) -> str:
    """A bound with all its digits, which a float format would round."""
    return str(int(value)) if value == int(value) else repr(value)
