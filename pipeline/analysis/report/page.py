"""The page: collected values put into HTML with its own style and script, in one file."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.analysis.report.comparison import compare
from pipeline.analysis.report.data import collect
from pipeline.analysis.scores import Judged
from pipeline.errors import InputError
from pipeline.model.checkpoints import CheckpointRef
from pipeline.model.vectors import OnProgress, Vectors
from pipeline.runs.run import Run
from pipeline.runtime.shown_text import shown

_PARTS = {"/*STYLE*/": ("page.css",), "/*SCRIPT*/": ("elements.js", "charts.js", "map.js", "page.js")}


def report(
    runs: Sequence[tuple[Run, CheckpointRef]],
    judged: Judged | None = None,
    progress_of: Callable[[str], OnProgress] = lambda name: lambda done, total: None,
) -> bytes:
    """The HTML of a report on one run, or on two.

    Args:
      progress_of: name of a piece of work -> the function that gets its progress.
    """
    which = [""] if len(runs) == 1 else [" of first", " of second"]
    known = [
        run.read_vectors(step=ref.step, report=progress_of("Read vectors" + of)) for (run, ref), of in zip(runs, which)
    ]
    data: dict[str, Any] = {
        "runs": [
            _collected(run, ref, vectors, judged, of, progress_of)
            for (run, ref), vectors, of in zip(runs, known, which)
        ],
        "comparison": None,
    }
    if len(runs) == 2:
        (a, first), (b, second) = runs
        data["comparison"] = compare((a, b), (first.digest, second.digest), (known[0], known[1]))
    return render(data)


def _collected(
    run: Run,
    ref: CheckpointRef,
    known: Vectors,
    judged: Judged | None,
    which: str,
    progress_of: Callable[[str], OnProgress],
) -> dict[str, Any]:
    """`collect`; where there are two runs, an error and the progress name the one they are of."""
    try:
        return collect(run, ref, known, judged, lambda name: progress_of(name + which))
    except InputError as error:
        raise InputError(f"{run.uri}: {error}" if which else str(error)) from error


def render(data: dict[str, Any]) -> bytes:
    """The page around its data, of which any text is `shown`; nothing can end the script element that holds it."""
    files = importlib.resources.files("pipeline.analysis.report")
    page = (files / "page.html").read_text("utf-8")
    for place, names in _PARTS.items():
        page = page.replace(place, "".join((files / name).read_text("utf-8") for name in names))
    text = json.dumps(_shown(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return page.replace("/*DATA*/", text.replace("<", "\\u003c")).encode("utf-8", "backslashreplace")


def _shown(value: Any) -> Any:
    """A JSON value in which each text, also names of members, has passed through `shown`."""
    if isinstance(value, dict):
        return {shown(name): _shown(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(item) for item in value]
    return shown(value) if isinstance(value, str) else value
