"""What the process of a command is set up with before NumPy, Arrow and Beam are loaded.

Commands import it first. Who uses the package from a program does without it: that process is not ours.
"""

import logging
import os

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
"""Read when Arrow is loaded: its own allocators keep what was freed, some 40 MB of a run of 17M words."""
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
"""Read when NumPy is loaded: threads of OpenBLAS wait for a next product by turning, for 2^26 cycles or here 2^4."""


def _drop_import_warning(record: logging.LogRecord) -> bool:
    """Beam warns on import about clients of services that nobody here asked for."""
    return "apitools not found" not in record.getMessage()


logging.getLogger().addFilter(_drop_import_warning)
