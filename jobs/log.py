"""Show the history of a series as a table: what was decided, promoted, refused, and by which figures.

beam2vec log --series=models/topics
beam2vec log --series=models/topics --json=history.json
"""

from __future__ import annotations

from jobs.runners import environment  # noqa: F401  before NumPy and Arrow are loaded

# isort: split
import time
from collections.abc import Iterator, Sequence

import msgspec

from jobs.cli import events
from jobs.cli.entry import run_process
from jobs.cli.reading_options import plain_parser
from pipeline.analysis.export_files import one_file
from pipeline.runtime.shown_text import counted, shown
from pipeline.series.entries import AnyEntry, Decided, Dropped, Figure, Policy, Promoted, Refused, Released, RolledBack
from pipeline.series.log import Log
from pipeline.series.page import page
from pipeline.series.state import State

_MARKS = {"passed": "", "warned": "?", "refused": "!"}
"""What stands behind a figure, by its verdict."""


def main(arguments: Sequence[str]) -> int:
    parser = plain_parser("beam2vec log", __doc__ or "")
    group = parser.add_argument_group("what is read")
    group.add_argument("--series", required=True, metavar="DIR", help="a folder or a prefix in a bucket")
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="write all entries as JSON too; - prints JSON and nothing else")
    output.add_argument("--to", metavar="FILE.html", help="write a page: the figures of each gate over all generations")
    given = parser.parse_args(list(arguments))
    json_file = one_file("--json", given.json) if given.json else None
    page_file = one_file("--to", given.to) if given.to else None
    log = Log.open(given.series)
    described = {"entries": msgspec.to_builtins(log.entries), "current": log.state.current or None}
    if json_file:
        json_file.pack_json(described)
    if page_file:
        page_file.pack(page(given.series, log.state))
    if not any(file and file.is_stdout for file in (json_file, page_file)):
        events.tell("result", described, _lines(log.entries, log.state))
    return 0


def _lines(entries: Sequence[AnyEntry], state: State) -> Iterator[str]:
    yield f"{'entry':>6}  {'when (UTC)':16}  {'what':11}  {'generation':16}  "
    for entry in entries:
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(entry.at))
        what, name, more = _told(entry)
        yield f"{entry.number:6,}  {when:16}  {what:11}  {shown(name):16}  {shown(more)}".rstrip()
    verdicts = {figure.verdict for entry in entries for figure in getattr(entry, "figures", ())}
    if legend := [f"{mark} {verdict}" for verdict, mark in _MARKS.items() if mark and verdict in verdicts]:
        yield f"figures of gates: {', '.join(legend)}"
    if state.current:
        current = state.generations[state.current]
        yield f"current: {current.name} ({current.folder}), {state.depth()} since the last cold one"
    else:
        yield "current: nothing yet"


def _told(entry: AnyEntry) -> tuple[str, str, str]:
    """(what, of which generation, more) of an entry."""
    if isinstance(entry, Policy):
        return "policy", "", f"{entry.root} by {entry.by}, {entry.mode}; set by {entry.who}"
    if isinstance(entry, Decided):
        after = f" after {entry.parent.name}" if entry.parent else ""
        return (
            "decided",
            entry.name,
            f"{entry.mode}{after}, {counted(entry.files, 'file')}{', forced' if entry.forced else ''}",
        )
    if isinstance(entry, Promoted):
        return "promoted", entry.name, _figures(entry.figures)
    if isinstance(entry, Refused):
        return "refused", entry.name, f"{entry.why}; {_figures(entry.figures)}"
    if isinstance(entry, RolledBack):
        return "rolled back", entry.name, f"{len(entry.withdrawn)} withdrawn; by {entry.who}"
    if isinstance(entry, Released | Dropped):
        kind = "dropped" if isinstance(entry, Dropped) else "forced" if entry.forced else "released"
        return kind, entry.partition, f"by {entry.who}"
    return "void", entry.folder.rpartition("/")[2], entry.why


def _figures(figures: Sequence[Figure]) -> str:
    return " ".join(
        f"{one.gate}={'-' if one.value is None else f'{one.value:.6g}'}{_MARKS.get(one.verdict, '')}" for one in figures
    )


if __name__ == "__main__":
    run_process("beam2vec log", main)
