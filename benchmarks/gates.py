"""Gates over good days and planted bad ones: which figure sees which fault, and how often a good day is held back.

python -m benchmarks.gates --input=text.txt

The days are pieces of the text, as they follow each other; each sixth and seventh has half the volume. A model is
trained on the first ones, twenty more are its history, and the others are judged by the gates that look at the text.
With no false alarm among a hundred good days, the true rate is up to 3% (with 95% confidence).

`--trained=N` judges what training makes of days, by the gates that look at the model: the history is brought up to date
by a day each, N good days follow, each an update of the last of them, and then faults that no gate of the text sees.
"""

from __future__ import annotations

import codecs
import collections
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import beam2vec
from pipeline.errors import InputError
from pipeline.series import figures, gates
from pipeline.series.entries import Decided, Figure, Policy, Promoted
from pipeline.series.state import State, fold
from tools.measuring.reports import format_table, write_report
from tools.measuring.sample_text import corpus_text, text_parser

DIGEST = "0" * 64
TRAINED, HISTORY = 20, 20
"""Days that the model is trained on, and days whose figures are what is usual."""
Lines = list[str]
_NAME = "2026-11-{:02}"


def truncated(day: Lines, others: Sequence[Lines], draw: random.Random) -> Lines:
    return day[: len(day) // 5]


def doubled(day: Lines, others: Sequence[Lines], draw: random.Random) -> Lines:
    """A day that was trained on, in another order."""
    return _shuffled_lines(draw.choice(others), draw)


def _shuffled_lines(day: Lines, draw: random.Random) -> Lines:
    return draw.sample(day, len(day))


def lowered(day: Lines, others: Sequence[Lines], draw: random.Random) -> Lines:
    """Lower-cased; where the text has no capitals, the other way round."""
    return [line.lower() if line.lower() != line else line.upper() for line in day]


def other_language(day: Lines, others: Sequence[Lines], draw: random.Random) -> Lines:
    """Every word is another one: its letters are turned by thirteen."""
    return [codecs.encode(line, "rot13") for line in day]


def ten_times(day: Lines, others: Sequence[Lines], draw: random.Random) -> Lines:
    """Ten days at once: words of the text's own, in other sentences."""
    words = " ".join(day).split()
    return [" ".join(draw.choices(words, k=20)) for _ in range(len(words) // 2)]


def shuffled_words(day: Lines, others: Sequence[Lines], draw: random.Random) -> Lines:
    words = " ".join(day).split()
    draw.shuffle(words)
    return [" ".join(words[i : i + 20]) for i in range(0, len(words), 20)]


def spam(day: Lines, others: Sequence[Lines], draw: random.Random) -> Lines:
    """One page, again and again."""
    page = draw.sample(day, 5)
    return (page * (len(day) // 5 + 1))[: len(day)]


def empty(day: Lines, others: Sequence[Lines], draw: random.Random) -> Lines:
    return []


KINDS: dict[str, Callable[[Lines, Sequence[Lines], random.Random], Lines | bytes]] = {
    "truncated to a fifth": truncated,
    "doubled under other names": doubled,
    "wrong encoding": lambda day, others, draw: "\n".join(day).encode("utf-16"),
    "lower-cased": lowered,
    "another language": other_language,
    "rate x 10": ten_times,
    "shuffled words": shuffled_words,
    "one page of spam": spam,
    "empty": empty,
    "binary": lambda day, others, draw: draw.randbytes(300_000),
}


def other_rate(day: Lines, draw: random.Random) -> tuple[Lines, dict[str, Any]]:
    return day, {"learning_rate": 0.75}


def many_epochs(day: Lines, draw: random.Random) -> tuple[Lines, dict[str, Any]]:
    return day, {"epochs": 30}


def names_changed(day: Lines, draw: random.Random) -> tuple[Lines, dict[str, Any]]:
    """The words of the text's own, each in place of another."""
    words = sorted({word for line in day for word in line.split()})
    other = dict(zip(words, draw.sample(words, len(words))))
    return [" ".join(other[word] for word in line.split()) for line in day], {}


TRAINED_KINDS: dict[str, Callable[[Lines, random.Random], tuple[Lines, dict[str, Any]]]] = {
    "learning rate x 10": other_rate,
    "epochs x 30": many_epochs,
    "each word in place of another": names_changed,
    "words shuffled": lambda day, draw: (shuffled_words(day, [], draw), {}),
}
"""Faults -> the day and the options of its update."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = text_parser("benchmarks.gates", __doc__, 10_000_000)
    parser.add_argument("--day", type=int, default=50_000, help="words of a day (default: 50,000)")
    parser.add_argument("--good", type=int, default=100, help="good days (default: 100)")
    parser.add_argument("--bad", type=int, default=6, help="bad days of each kind (default: 6)")
    parser.add_argument("--trained", type=int, default=0, help="good days that are trained on (default: none)")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args(arguments)
    with corpus_text(chosen) as text, tempfile.TemporaryDirectory() as folder:
        days = list(_days(text, chosen.day, TRAINED + HISTORY + chosen.good))
        judge = _judged_after if chosen.trained else _judged
        rows = judge(days, Path(folder), chosen.trained or chosen.good, chosen.bad, chosen.threads)
    print(format_table(rows))
    write_report(chosen.json, vars(chosen), rows)
    return 0


def _days(text: str, words: int, most: int) -> Iterator[Lines]:
    day: Lines = []
    size, number = 0, 0
    with open(text, encoding="utf-8") as file:
        for line in file:
            day.append(line.rstrip("\n"))
            size += len(line.split())
            if size >= (words // 2 if number % 7 > 4 else words):
                yield day
                day, size, number = [], 0, number + 1
                if number == most:
                    return


def _judged(days: Sequence[Lines], folder: Path, good: int, bad: int, threads: int) -> list[dict[str, Any]]:
    trained = days[:TRAINED]
    (folder / "trained").write_text("\n".join("\n".join(day) for day in trained), encoding="utf-8")
    parent = beam2vec.train(folder / "trained", folder / "parent", threads=threads)
    series = _History()
    for day in days[TRAINED : TRAINED + HISTORY]:
        series.add(_measured(day, parent, folder))
    counted: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)

    def judge(kind: str, lines: Lines | bytes) -> None:
        seen = series.refusing(_measured(lines, parent, folder))
        counted[kind].update(seen or ["-"])
        print(kind, ", ".join(seen) or "-", file=sys.stderr)

    others = days[TRAINED + HISTORY : TRAINED + HISTORY + good]
    for day in others:
        judge("good", day)
    draw = random.Random(1)
    full = [day for number, day in enumerate(others) if (number + TRAINED + HISTORY) % 7 <= 4]
    for kind, spoil in KINDS.items():
        for day in full[:bad]:
            judge(kind, spoil(day, trained, draw))
    return _table(counted, good, bad)


def _judged_after(days: Sequence[Lines], folder: Path, good: int, bad: int, threads: int) -> list[dict[str, Any]]:
    """As `_judged`, by the gates that look at the model."""
    (folder / "trained").write_text("\n".join("\n".join(day) for day in days[:TRAINED]), encoding="utf-8")
    before = beam2vec.train(folder / "trained", folder / "0", threads=threads)
    series = _History()
    for number, day in enumerate(days[TRAINED : TRAINED + HISTORY], 1):
        run, measured = _trained(day, before, folder, str(number), {"threads": threads})
        series.add(measured)
        before = run
    counted: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    others = days[TRAINED + HISTORY : TRAINED + HISTORY + good]
    draw = random.Random(1)
    kinds: dict[str, Callable[[Lines, random.Random], tuple[Lines, dict[str, Any]]]] = {
        "good": lambda day, draw: (day, {}),
        **TRAINED_KINDS,
    }
    for kind, spoil in kinds.items():
        for day in others if kind == "good" else others[:bad]:
            lines, options = spoil(day, draw)
            measured = _trained(lines, before, folder, "judged", {"threads": threads, **options})[1]
            seen = series.refusing(measured)
            counted[kind].update(seen or ["-"])
            print(kind, measured, ", ".join(seen) or "-", file=sys.stderr)
    return _table(counted, good, bad)


def _trained(
    day: Lines, before: beam2vec.Run, folder: Path, name: str, options: dict[str, Any]
) -> tuple[beam2vec.Run, dict[str, float | None] | str]:
    """The update of a run by a day, and its figures."""
    (folder / f"day-{name}").write_text("\n".join(day), encoding="utf-8")
    checked = beam2vec.preprocess(
        folder / f"day-{name}", folder / "checked", min_count=1, replay_words=0, overwrite=True
    )
    run = beam2vec.update(before, folder / f"day-{name}", folder / f"run-{name}", overwrite=True, **options)
    sample = figures.sample_of(figures.Text(checked), 0.0)
    losses = figures.losses(sample, before, [before, run])
    loss = losses[1] - losses[0] if losses else None
    return run, {gates.LOSS: loss, gates.KEPT: figures.neighbors_kept(before, run)}


def _table(counted: dict[str, collections.Counter[str]], good: int, bad: int) -> list[dict[str, Any]]:
    return [
        {
            "days": kind,
            "number": str(good if kind == "good" else bad),
            "held back": str((good if kind == "good" else bad) - found["-"]),
            "by": ", ".join(f"{gate} {number}" for gate, number in found.most_common() if gate != "-"),
        }
        for kind, found in counted.items()
    ]


def _measured(lines: Lines | bytes, parent: beam2vec.Run, folder: Path) -> dict[str, float | None] | str:
    """gate -> figure; or the gate that reading itself refuses by."""
    data = lines if isinstance(lines, bytes) else "\n".join(lines).encode()
    if not data:
        return gates.WORDS
    (folder / "day").write_bytes(data)
    try:
        run = beam2vec.preprocess(folder / "day", folder / "checked", min_count=1, replay_words=0, overwrite=True)
    except InputError:
        return gates.BAD_LINES
    text = figures.Text(run)
    losses = figures.losses(figures.sample_of(text, 0.0), parent, [parent])
    return {
        gates.WORDS: float(text.size()),
        gates.UNKNOWN: figures.unknown_share(text, parent),
        gates.SURPRISE: losses[0] if losses else None,
        gates.SEEN: figures.seen_share(text, parent),
    }


class _History:
    """A series that has promoted some days, with their figures."""

    def __init__(self) -> None:
        self.state: State = fold([Policy(root="/", by="dt=*")])
        self._entries: list[Any] = [Policy(root="/", by="dt=*")]

    def add(self, measured: dict[str, float | None] | str) -> None:
        assert not isinstance(measured, str)
        print({gate: value and round(value, 4) for gate, value in measured.items()}, file=sys.stderr)
        number = len(self._entries)
        name = _NAME.format(number // 2 + 1)
        decided = Decided(
            number=number,
            name=name,
            partition=name,
            folder=f"generations/{name}",
            mode="update" if self.state.current else "cold",
            follows=self.state.current,
            manifest="-",
            manifest_digest=DIGEST,
            files=0,
            bytes=0,
            fingerprint="0",
        )
        found = tuple(Figure(gate, value) for gate, value in measured.items())
        promoted = Promoted(number=number + 1, name=name, folder=decided.folder, model=DIGEST, figures=found)
        self._entries += [decided, promoted]
        self.state = fold(self._entries)

    def refusing(self, measured: dict[str, float | None] | str) -> list[str]:
        if isinstance(measured, str):
            return [measured]
        judged = (gates.judged(gate, value, self.state, "update", "day") for gate, value in measured.items())
        return [figure.gate for figure in judged if figure.verdict == gates.REFUSES]


if __name__ == "__main__":
    sys.exit(main())
