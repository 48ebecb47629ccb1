"""What a signal leaves behind: an output that is free, and a process that ends, or goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from commands import ROOT

STUCK = """
import os, signal, threading, time
from jobs import running
running._LEAVING = 0.1
held = threading.Lock()
with running.stopping_on_signals(held.acquire), held:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""


def test_what_a_signal_interrupts_may_hold_what_giving_up_the_lock_needs():
    done = subprocess.run(
        [sys.executable, "-c", STUCK], timeout=50, capture_output=True, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 128 + signal.SIGTERM, done.stderr.decode()
