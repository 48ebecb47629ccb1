"""What SIGINT and SIGTERM do while a job runs."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

from pipeline.runtime import interruption, json_lines

_PATIENCE = 60.0
"""Seconds a stage that stops by itself has for its last checkpoint."""
_LEAVING = 10.0
"""Seconds that giving up the lock may take when a signal ends the process."""
received: list[int] = []


@contextlib.contextmanager
def stopping_on_signals(clean_up: Callable[[], None]) -> Iterator[None]:
    """While open, SIGINT and SIGTERM stop the run.

    Training commits a checkpoint first; every other stage is left at once. That loses at most the pieces in work,
    because each artefact is committed in one piece. A second signal does not wait. Only the main thread may set
    handlers: in another, signals do what they did before.
    """

    def clean_up_quietly() -> None:
        with contextlib.suppress(Exception):
            clean_up()

    def leave(number: int) -> None:
        # In a thread, with a limit of time: the signal may have interrupted who holds what the cleaning waits for, and
        # storage may be far away.
        try:
            cleaning = threading.Thread(target=clean_up_quietly, daemon=True)
            cleaning.start()
            cleaning.join(_LEAVING)
        finally:
            os._exit(128 + number)

    def handle(number: int, frame: object) -> None:
        again = bool(received)
        received.append(number)
        if again or not interruption.request():
            _tell("error", "stopped; run the same command again to go on", status=128 + number)
            leave(number)
        _tell("note", _stopping(number))
        timer = threading.Timer(_PATIENCE, leave, [number])
        timer.daemon = True
        timer.start()
        timers.append(timer)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    timers: list[threading.Timer] = []
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for timer in timers:  # or it would end a process that goes on after the command
            timer.cancel()


@contextlib.contextmanager
def unwinding_on_signals() -> Iterator[Callable[[], None]]:
    """While open, SIGINT and SIGTERM leave by an exception: for jobs on a cluster, which are cancelled on the way.

    Training in this process commits a checkpoint first. Gives a function that sets the
    handlers once more, for after a library has set its own.
    """

    def handle(number: int, frame: object) -> None:
        again = bool(received)
        received.append(number)
        if again or not interruption.request():
            raise SystemExit(128 + number)
        _tell("note", _stopping(number))

    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def take() -> None:
        for number in before:
            signal.signal(number, handle)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    take()
    try:
        yield take
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopping(number: int) -> str:
    again = "Ctrl-C again" if number == signal.SIGINT else "another signal"
    return f"stopping as soon as a checkpoint is written; {again} stops at once, without it"


def _tell(event: str, message: str, **more: int) -> None:
    """A line on stderr, straight: the signal may have come in the middle of a print, or of a bar of progress."""
    as_json = json_lines.is_asked_for()
    line = json_lines.json_line(event, {"message": message, **more}) if as_json else f"\n{message}"
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode())
