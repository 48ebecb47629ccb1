"""Settings of the whole test suite."""

from __future__ import annotations

import hypothesis

# No deadline: a first call may compile a kernel. Derandomised: a commit passes or fails the same everywhere.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")
