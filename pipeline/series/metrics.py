"""A series as numbers for a collector that reads text files (node_exporter's textfile collector, and others).

Each number is a gauge with the label `series`. The file is replaced whole, by a rename.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.series.state import REFUSED, WAITING, State

VERDICTS = {"passed": 0, "warned": 1, "refused": 2}


def text_of(series: str, state: State, now: float, seconds: float, loss: float | None) -> str:
    """The file.

    Args:
      now: seconds since 1970, of this poll; `seconds`: that it took.
      loss: at the end of the training of what is current.
    """
    lines: list[str] = []
    for name, help, values in _gauges(state, now, seconds, loss):
        lines += [f"# HELP beam2vec_{name} {help}", f"# TYPE beam2vec_{name} gauge"]
        for labels, value in values:
            told = "".join(f',{label}="{_escaped(text)}"' for label, text in labels)
            lines.append(f'beam2vec_{name}{{series="{_escaped(series)}"{told}}} {value!r}')
    return "\n".join(lines) + "\n"


_Values = list[tuple[tuple[tuple[str, str], ...], float]]


def _gauges(state: State, now: float, seconds: float, loss: float | None) -> Iterator[tuple[str, str, _Values]]:
    yield "last_poll_timestamp_seconds", "When follow ran last.", [((), round(now, 3))]
    yield "last_poll_seconds", "How long that took.", [((), round(seconds, 3))]
    waiting = sum(held.status in WAITING for held in state.partitions.values())
    yield "waiting_partitions", "Refused or withdrawn partitions that wait for a person.", [((), waiting)]
    refused = sum(one.status == REFUSED for one in state.generations.values())
    yield "refused_generations", "Generations that gates refused, of all times.", [((), refused)]
    if not state.current:
        return
    current = state.generations[state.current]
    yield "last_success_timestamp_seconds", "When the current generation was promoted.", [((), current.at)]
    yield "depth", "Generations since the last cold one.", [((), state.depth())]
    if loss is not None:
        yield "loss", "Mean loss at the end of training.", [((), loss)]
    figures: _Values = [((("gate", one.gate),), float(one.value)) for one in current.figures if one.value is not None]
    yield "figure", "What the gates saw of the current generation.", figures
    newest = list(state.generations.values())[-1]
    verdicts: _Values = [((("gate", one.gate),), float(VERDICTS[one.verdict])) for one in newest.figures]
    yield "verdict", "Of the newest generation: 0 passed, 1 warned, 2 refused.", verdicts


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
