"""The stages that note their work are loaded by Beam's workers, in which no command can be loaded."""

from __future__ import annotations

import subprocess
import sys

from tests.helpers.commands import ROOT


def test_a_worker_loads_the_stages_without_any_command():
    script = "import sys; import tools.scale.stage_work; print([name for name in sys.modules if name == 'jobs'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"
