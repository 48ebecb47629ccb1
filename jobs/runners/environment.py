"""Sets up the process of a command before NumPy, Arrow and Beam are loaded.

Commands and worker processes import it first. Programs that use the package do not import it: their process is not
changed.
"""

from jobs.runners.quiet_interrupts import is_command

# isort: split
import logging
import os
import resource
import sys

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
"""Arrow reads it when it is loaded: its own allocators keep freed memory, some 40 MB in a run over 17M words."""
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
"""NumPy reads it when it is loaded: threads of OpenBLAS spin for 2^26 cycles between products; here only for 2^4."""

LEAST_ADDRESSES = 1000 << 20
"""Bytes of addresses that a command which runs a job needs, whatever the text: measured, 700 MB hang and 900 MB do."""


def _drop_import_warning(record: logging.LogRecord) -> bool:
    """Drops the warnings of Beam's import about clients of services that are not used here."""
    return "apitools not found" not in record.getMessage()


logging.getLogger().addFilter(_drop_import_warning)


def refuse_without_room() -> None:
    """Ends a command in one line, with status 2, if `ulimit -v` leaves too little for Beam, Arrow and Numba.

    With less, they fail in the middle of an import, or wait for a thread that could not be started.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if is_command() and limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESSES:
        needed, allowed = LEAST_ADDRESSES >> 20, limit >> 20
        print(
            f"beam2vec: ulimit -v allows {allowed:,} MB of addresses, {needed:,} MB are needed: raise it",
            file=sys.stderr,
        )
        sys.stderr.flush()
        os._exit(2)
