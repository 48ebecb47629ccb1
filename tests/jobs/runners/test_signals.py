"""What a signal leaves behind: an output that is free, and a process that ends, or goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

from jobs.runners import signals
from pipeline.runtime import interruption, json_lines
from tests.helpers.commands import ROOT

STUCK = """
import os, signal, threading, time
from jobs.runners import signals
signals._LEAVING = 0.1
held = threading.Lock()
with signals.stopping_on_signals(held.acquire), held:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""


def test_what_a_signal_interrupts_may_hold_what_giving_up_the_lock_needs():
    done = subprocess.run(
        [sys.executable, "-c", STUCK],
        timeout=50,
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 128 + signal.SIGTERM, done.stderr.decode()


def test_what_a_signal_says_is_json_where_the_command_tells_json():
    """Each line on stderr was to be an object, and Ctrl-C wrote an empty line and a plain one."""
    again = STUCK.replace("    time.sleep", "    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep")
    listening = "from pipeline.runtime import interruption\nopen = interruption.listening()\nopen.__enter__()\n"
    done = subprocess.run(
        [sys.executable, "-c", listening + again],
        timeout=50,
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), json_lines.VARIABLE: "json"},
    )
    first, last = map(json.loads, done.stderr.decode().splitlines())
    assert (first["event"], last["event"], last["status"]) == ("note", "error", done.returncode)
    assert "stopping as soon as a checkpoint is written" in first["message"]
    assert last["message"] == "stopped; run the same command again to go on"


def test_a_process_that_goes_on_after_a_run_that_was_stopped_is_not_ended_later(monkeypatch, capfd):
    """Whoever calls a command from Python has a life after it."""
    ended: list[int] = []
    monkeypatch.setattr(signals, "_PATIENCE", 0.2)
    monkeypatch.setattr(os, "_exit", ended.append)
    try:
        with signals.stopping_on_signals(lambda: None), interruption.listening():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signals.received.clear()
        interruption.clear()
    for timer in [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]:
        timer.join()
    assert "stopping as soon as a checkpoint is written; another signal stops at once" in capfd.readouterr().err
    assert ended == []
