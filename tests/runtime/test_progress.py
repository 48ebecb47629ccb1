"""Bars of progress on a terminal."""

from __future__ import annotations

from jobs.cli.reading_options import shown_progress
from pipeline.runtime import progress


def test_a_bar_is_followed_by_another_when_the_work_begins_again(monkeypatch):
    done = {}

    class Bar:
        def __init__(self, name, total):
            self.name = name
            done.setdefault(name, [0, total])

        def advance(self, amount):
            done[self.name][0] += amount

    monkeypatch.setattr(progress, "stage", lambda name, total, unit: Bar(name, total))
    report = shown_progress("Analogies", "words")
    for total in (30, 30, 7):
        for now in range(5, total + 5, 5):
            report(min(now, total), total)
    assert done == {"Analogies": [30, 30], "Analogies 2": [30, 30], "Analogies 3": [7, 7]}
