"""Where notes and warnings go. How a program gets them is in tests/beam2vec/test_training.py."""

from __future__ import annotations

import warnings

from pipeline.runtime.messages import say, warn


def test_a_command_prints_notes_and_warnings_alike(caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        say("--dims\nis 8")
        warn("--dims is\x1b 9")
    assert caplog.messages == ["--dims is 8", r"--dims is\x1b 9"]
