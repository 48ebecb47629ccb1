"""What all commands share: exit statuses, and errors on one line."""

from __future__ import annotations

import signal

import pytest

from jobs.cli.entry import run_command
from jobs.runners.signals import received
from pipeline.errors import ArtifactError, InputError, InterruptedRunError, OutputInUseError


@pytest.mark.parametrize(
    ("error", "status"), [(InputError, 2), (OutputInUseError, 3), (ArtifactError, 1), (InterruptedRunError, 130)]
)
def test_an_error_is_one_line_and_its_status(capsys, error, status):
    def fails(arguments):
        raise error("what is wrong, and what to do")

    assert run_command("jobs.train", fails, []) == status
    assert capsys.readouterr().err == "jobs.train: what is wrong, and what to do\n"


def test_a_signal_decides_the_status_and_one_of_the_command_before_does_not():
    def is_stopped(arguments):
        received.append(signal.SIGTERM)
        stops(arguments)

    def stops(arguments):
        raise InterruptedRunError("stopped")

    assert run_command("jobs.train", is_stopped, []) == 143
    assert run_command("jobs.train", stops, []) == 130
