"""How an option is declared, and how its values are converted and checked: type, bounds and choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import InputError


def option(
    default: Any,
    kind: str,
    help: str,
    *,
    stage: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    optional: bool = False,
    over: bool = False,
    named: Mapping[str, Any] | None = None,
    off: bool = False,
    child: str = "free",
) -> Any:
    """Declares one option.

    Args:
      kind: model, layout or execution.
      stage: the first stage whose content the option decides.
      low, high: bounds, allowed themselves; with `over`, `low` itself is not allowed.
      choices: the allowed values.
      optional: whether None is allowed, which stands for "not set".
      named: values that have a name, allowed whatever the bounds are.
      off: an option that was added later. With its default it is left out of the stage keys, so that those of older
        runs stay valid.
      child: of a run with --update. same: as in its parent; free: as in its parent, unless it is given; own: its
        default, unless it is given.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "kind": kind,
            "help": help,
            "stage": stage,
            "low": low,
            "high": high,
            "choices": tuple(choices),
            "optional": optional,
            "over": over,
            "named": dict(named or {}),
            "off": off,
            "child": child,
        },
    )


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


def bad_line_limit(text: str, lines: int) -> float:
    """How many bad lines --max_bad_lines tolerates among `lines`.

    Examples:
      >>> bad_line_limit("100", lines=5000), bad_line_limit("1%", lines=5000)
      (100.0, 50.0)

    Raises:
      InputError: the text is neither a number nor a percentage from 0% to 100%.
    """
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else None
        limit = float(int(text)) if share is None else share * lines
        if limit < 0 or (share is not None and not 0 <= share <= 1):
            raise ValueError
    except ValueError:
        message = f"--max_bad_lines={text}: allowed is a number of lines, or a percentage of them such as 1%"
        raise InputError(message) from None
    return limit
