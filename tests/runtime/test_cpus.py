"""How many CPUs a process may use."""

from __future__ import annotations

import os

from pipeline.runtime.cpus import available_cpus


def test_a_process_that_is_bound_to_one_cpu_uses_one(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    assert available_cpus() == 1
