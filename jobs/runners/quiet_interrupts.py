"""Ctrl-C while a command loads its modules ends it without a traceback. Commands import this before all else."""

import os
import signal
import sys


def is_command() -> bool:
    """Whether this process is a command, and not a program or a test that has imported one."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    return (spec.name if spec else os.path.basename(getattr(main, "__file__", None) or "")).startswith(
        ("jobs.", "beam2vec")
    )


if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    """`run_process` hears it by itself again."""
