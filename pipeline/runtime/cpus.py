"""How many CPUs there are for this process.

Apart from `process.py`, which loads Arrow: `import beam2vec` loads the options, and they need this alone.
"""

from __future__ import annotations

import math
import os


def available_cpus() -> int:
    """CPUs that this process may use, by its affinity and by the quota of its cgroup."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        if quota != "max":
            cpus = min(cpus, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return cpus
