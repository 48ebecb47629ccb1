"""What each stage does, on NumPy and Arrow, with no Beam in it.

The Beam form of a stage has the same module name in `transforms`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.runs.run import Run

__all__ = ["Run"]


def __getattr__(name: str) -> Any:
    """`from pipeline import Run`, imported when it is asked for: workers need no part of it."""
    if name == "Run":
        from pipeline.runs.run import Run

        return Run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
