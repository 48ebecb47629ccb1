"""The history of a series as a page: each gate's figures over its generations, with what was held back and why.

One HTML file without scripts; the curves are SVG. Whatever comes from a log is escaped.
"""

from __future__ import annotations

import html
import time
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from pipeline.runtime.shown_text import shown
from pipeline.series.entries import Figure
from pipeline.series.gates import EXPLAINED, GATES
from pipeline.series.state import REFUSED, Generation, State

_WIDTH, _HEIGHT, _EDGE = 640, 90, 8
_COLORS = {"passed": "#2a6fb0", "warned": "#d08a00", "refused": "#c0302b"}
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "svg{background:#f6f7f9;border-radius:4px;width:100%}table{border-collapse:collapse;width:100%}"
    "td,th{padding:.2rem .6rem .2rem 0;text-align:left;vertical-align:top}h2{margin:1.4rem 0 .3rem;font-size:1rem}"
    "td:first-child{white-space:nowrap}.ends{display:flex;justify-content:space-between}.soft,.ends{color:#666}"
    "tr.refused{color:#c0302b}"
    "@media screen and (prefers-color-scheme:dark){body{background:#15181c;color:#e6e8ea}svg{background:#20252b}"
    ".soft,.ends{color:#a2a9b4}tr.refused{color:#ff8a80}}"
)

_Known: TypeAlias = tuple[Generation, Figure, float]
"""A figure that was measured, with its generation and its value."""


def page(series: str, state: State) -> bytes:
    """The page, as UTF-8."""
    ended = [one for one in state.generations.values() if one.ended]
    body = "\n".join(_body(series, state, ended))
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return f'<!doctype html><html lang="en">{head}<style>{_STYLE}</style>\n{body}\n</html>\n'.encode(
        "utf-8", "backslashreplace"
    )


def _body(series: str, state: State, ended: Sequence[Generation]) -> Iterator[str]:
    current = state.generations[state.current].name if state.current else "nothing yet"
    yield f"<title>{_text(series)}</title><h1>{_text(series)}</h1>"
    yield f"<p>Current is <b>{_text(current)}</b>; {len(ended):,} generations have ended.</p>"
    yield '<p class="soft">Dashed: what a gate allows. A large point warned (yellow) or refused (red).</p>'
    for gate in _gates(ended):
        name, _, file = gate.partition(":")
        points = [(one, figure) for one in ended for figure in one.figures if figure.gate == gate]
        yield f"<h2>{_text(gate)}</h2><div>{_text(EXPLAINED[name])}{_text(f' ({file})' if file else '')}</div>"
        known = [(one, figure, figure.value) for one, figure in points if figure.value is not None]
        yield _figures(known) + _curve(known) if known else "<p>not measured</p>"
    yield "<h2>Generations</h2><table><tr><th>name<th>mode<th>when (UTC)<th>what became of it</tr>"
    for one in reversed(ended):
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.at))
        why = f": {one.why}" if one.why else ""
        kind = "refused" if one.status == REFUSED else ""
        row = f"<td>{_text(one.name)}<td>{_text(one.decided.mode)}<td>{when}"
        yield f'<tr class="{kind}">{row}<td>{_text(one.status + why)}</tr>'
    yield "</table>"


def _gates(ended: Sequence[Generation]) -> list[str]:
    seen = dict.fromkeys(figure.gate for one in ended for figure in one.figures)
    order = [gate for gate in GATES if gate in seen]
    return order + [gate for gate in seen if gate not in order and gate.partition(":")[0] in EXPLAINED]


def _figures(known: Sequence[_Known]) -> str:
    """In words what the curve has no room for: its last value, its range, and what the gate allowed at the end."""
    values, last = [value for _, _, value in known], known[-1][1]
    told = f"last {_number(values[-1])}, lowest {_number(min(values))}, highest {_number(max(values))}"
    for bound, word in ((last.low, "at least"), (last.high, "at most")):
        told += f"; allowed {word} {_number(bound)}" if bound is not None else ""
    return f'<div class="soft">{told}</div>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _curve(known: Sequence[_Known]) -> str:
    """Figures in the order of generations: the line, the bounds, and a mark where one warned or refused."""
    bounds = [bound for _, figure, _ in known for bound in (figure.low, figure.high) if bound is not None]
    values = [value for _, _, value in known]
    low, high = min(values + bounds), max(values + bounds)
    room = (high - low) or abs(high) or 1.0

    def x(place: int) -> float:
        return _EDGE + place * (_WIDTH - 2 * _EDGE) / max(1, len(known) - 1)

    def y(value: float) -> float:
        return _HEIGHT - _EDGE - (value - low) * (_HEIGHT - 2 * _EDGE) / room

    def line(of: Sequence[tuple[int, float]], style: str) -> str:
        return f'<polyline fill="none" {style} points="{" ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in of)}"/>'

    dashed = 'stroke="#bbb" stroke-dasharray="3 3"'
    sides = [
        [(i, bound) for i, (_, figure, _) in enumerate(known) if (bound := getattr(figure, side)) is not None]
        for side in ("low", "high")
    ]
    parts = [line(side, dashed) for side in sides if side]
    parts.append(line(list(enumerate(values)), f'stroke="{_COLORS["passed"]}" stroke-width="1.5"'))
    for i, (one, figure, value) in enumerate(known):
        told = f"{one.name}: {value:.6g}{f', {figure.why}' if figure.why else ''}"
        radius = 2.5 if figure.verdict == "passed" else 5
        color = _COLORS.get(figure.verdict, "#222")
        mark = f'cx="{x(i):.1f}" cy="{y(value):.1f}" r="{radius}" fill="{color}"'
        parts.append(f"<circle {mark}><title>{_text(told)}</title></circle>")
    gate, first, last = (_text(name) for name in (known[0][1].gate, known[0][0].name, known[-1][0].name))
    curve = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{gate} by generation">{"".join(parts)}</svg>'
    return f'{curve}<div class="ends"><span>{first}</span><span>{last if len(known) > 1 else ""}</span></div>'


def _text(value: str) -> str:
    return html.escape(shown(value))
