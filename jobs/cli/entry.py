"""What all commands share: exit statuses, errors on one line, signals, logging."""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from jobs.cli import events
from jobs.runners import log_filter
from jobs.runners.signals import received
from pipeline.errors import InterruptedRunError, PipelineError, find
from pipeline.kernels.compile import report_cache
from pipeline.runtime import memory, messages, progress, wording
from pipeline.runtime.json_lines import log_as_json
from pipeline.runtime.shown_text import Screen
from pipeline.storage.open_storage import add_storage, refuse_secrets_of_option
from pipeline.storage.storage import Storage

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_OPTION = re.compile(r"--?[A-Za-z][A-Za-z0-9_-]*")


def run_command(name: str, main: Callable[[Sequence[str]], int | None], arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns 0 done, 2 usage or input, 3 output in use, 130 or 143 interrupted, 1 anything else."""
    as_json = events.asked_for(sys.argv[1:] if arguments is None else arguments)
    with _printable_output(for_good=arguments is None), wording.of_a_command(), events.told_as_json(as_json):
        return _run(name, main, arguments)


def run_process(name: str, main: Callable[[Sequence[str]], int | None]) -> NoReturn:
    """Runs a command on the arguments of this process, and ends the process with its status.

    The interpreter's own end is left out. While it lasts, threads of gRPC or Arrow that return to Python abort the
    process now and then, after the command has done all its work (status 134, "terminate called").
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see jobs/runners/quiet_interrupts.py
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = run_command(name, main)
    except SystemExit as left:  # of argparse
        status = int(left.code or 0)
    atexit._run_exitfuncs()  # which end servers that Beam has started
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = status or 128 + signal.SIGPIPE
    except OSError as error:
        status = status or _unwritable(name, error)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(status)


def _run(name: str, main: Callable[[Sequence[str]], int | None], arguments: Sequence[str] | None) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("pipeline").setLevel(logging.INFO)
    for handler in logging.getLogger().handlers:
        handler.addFilter(log_filter.is_news)
        if events.is_json():
            log_as_json(handler)
    memory.return_early()
    progress.take_terminal(bars=not events.is_json())
    add_storage(_beam_storage)
    received.clear()
    messages.take_warnings()  # of an earlier command in this process
    try:
        command_line = sys.argv[1:] if arguments is None else arguments
        _refuse_secrets(command_line)
        if not {"-h", "--help"} & set(command_line):
            report_cache()
        with log_filter.left_out(for_good=arguments is None):
            return main(command_line) or 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python prints an error when it flushes at the end
        return 128 + signal.SIGPIPE
    except Exception as error:
        progress.close_all()
        if isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename is None:
            return _unwritable(name, error)  # of a file, storage would have told its name
        known_error = find(error)
        if known_error is None:
            if not events.is_json():
                raise
            events.tell_defect(name, error)
            return 1
        stopped = isinstance(known_error, InterruptedRunError) and received
        status = 128 + received[0] if stopped else known_error.exit_status
        events.tell_error(name, known_error, status)
        return status
    finally:
        progress.close_all()


def _unwritable(name: str, error: OSError) -> int:
    """Says that standard output cannot be written; returns the status."""
    as_json = events.is_json() or events.asked_for(sys.argv[1:])  # the command itself may be over
    with contextlib.suppress(OSError), events.told_as_json(as_json):  # stderr may be the same file
        events.tell_error(name, PipelineError(f"standard output cannot be written: {error.strerror}"), 1)
    return 1


def _refuse_secrets(arguments: Sequence[str]) -> None:
    """InputError if an argument holds a password, a key or a signature, also in Beam's options: runners store these."""
    option = ""
    for argument in arguments:
        name, _, value = argument.partition("=")
        if _OPTION.fullmatch(name):
            option = name
        else:
            name, value = "", argument
        refuse_secrets_of_option(name, value, option or "the command line")


@contextlib.contextmanager
def _printable_output(for_good: bool) -> Iterator[None]:
    """While open, stdout and stderr escape unprintable characters, whatever is printed.

    Args:
      for_good: keep it so afterwards, for a traceback that ends the process.
    """
    os.environ.setdefault("PYTHON_COLORS", "0")  # else Python's colour codes in tracebacks would be escaped and shown
    _make_streams_printable()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(Screen, before)
    try:
        yield
    finally:
        if not for_good:
            sys.stdout, sys.stderr = before


def _make_streams_printable() -> None:
    """Makes printing never fail: neither for a character, nor because the caller has closed a stream."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _beam_storage(root: str) -> Storage | None:
    from transforms.beam_storage import open_beam_storage  # Beam takes a second to import

    return open_beam_storage(root)
