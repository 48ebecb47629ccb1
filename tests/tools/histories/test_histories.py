from __future__ import annotations

import time

import pytest

from tools.histories import __main__ as command
from tools.histories.history import History, Scenario, shortened
from tools.histories.machine import Violation
from tools.histories.planted import SEEDS, defects, look_for

CPU_SECONDS = 20.0


def test_nothing_is_violated_in_as_many_histories_as_some_cpu_seconds_allow():
    seed, until = 0, time.process_time() + CPU_SECONDS
    while time.process_time() < until:
        assert History(Scenario.of(seed)).run().calls > 0, seed
        seed += 1


def test_a_seed_is_a_history():
    runs = []
    for _ in range(2):
        history = History(Scenario.of(3))
        history.machine.log = []
        history.run()
        runs.append(history.machine.log)
    assert runs[0] == runs[1] != []


def test_a_history_that_fails_is_shortened(monkeypatch):
    scenario = next(one for seed in range(100) if len((one := Scenario.of(seed)).commands) == 3 and one.rates.kill)
    failing = {"kill"}

    def fails(history: History) -> None:
        if all(getattr(history.scenario.rates, name) for name in failing):
            raise Violation("found")

    monkeypatch.setattr(History, "run", fails)
    short = shortened(scenario)
    rates = short.rates
    assert (len(short.commands), short.readers, short.attempts) == (1, 0, 1)
    assert rates.kill > 0
    assert rates.fault == rates.crash == rates.pause == rates.stall == rates.jump == 0


def test_the_command_says_what_it_has_seen(capsys, monkeypatch):
    assert command.main(["--seeds=0:4", "--processes=1"]) == 0
    assert capsys.readouterr().out.startswith("4 histories, ")
    assert command.main(["--seed=3"]) == 0
    assert capsys.readouterr().out == "seed 3: nothing is violated\n"


def test_a_planted_defect_can_be_planted():
    assert len(defects()) >= 40
    for defect in defects():
        assert defect.planted()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("defect", defects(), ids=lambda defect: defect.name)
def test_a_planted_defect_is_found(defect, tmp_path):
    assert look_for(defect, tmp_path / "project"), f"none of {SEEDS:,} histories shows it"
