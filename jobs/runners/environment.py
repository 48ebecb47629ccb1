"""Sets up the process of a command before NumPy, Arrow and Beam are loaded.

Commands and worker processes import it first. Programs that use the package do not import it: their process is not
changed.
"""

import logging
import os
import signal
import sys

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
"""Arrow reads it when it is loaded: its own allocators keep freed memory, some 40 MB in a run over 17M words."""
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
"""NumPy reads it when it is loaded: threads of OpenBLAS spin for 2^26 cycles between products; here only for 2^4."""


def _drop_import_warning(record: logging.LogRecord) -> bool:
    """Drops the warnings of Beam's import about clients of services that are not used here."""
    return "apitools not found" not in record.getMessage()


logging.getLogger().addFilter(_drop_import_warning)


def _is_command() -> bool:
    """Whether this process is a command, and not a program or a test that has imported one."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    return (spec.name if spec else os.path.basename(getattr(main, "__file__", None) or "")).startswith(
        ("jobs.", "beam2vec")
    )


if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    """Ctrl-C while modules are loaded ends the process without a traceback; `run_process` hears it by itself again."""
