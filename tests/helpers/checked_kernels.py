"""A plugin of pytest that compiles kernels with checks of their indexes, which they run without.

    python -m pytest -n 0 -p tests.helpers.checked_kernels tests/kernels tests/corpus

A write beyond an array, which hostile text may cause, is then an IndexError. Kernels that are compiled so are kept
apart. What is written as LLVM code (`weight_rows`, `bits`, `lanes`) checks nothing either way.
"""

from __future__ import annotations

import os
import tempfile

from numba.core import config

from pipeline.kernels import compile as compiling

compiling.OPTIONS["boundscheck"] = True
config.CACHE_DIR = os.path.join(tempfile.gettempdir(), f"beam2vec-checked-{os.geteuid()}")
