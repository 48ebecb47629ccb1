"""Plants defects in a copy of the project, one at a time, and looks for a history that shows each."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import yaml

from tools.planted_defects import Defect, copy_project

SEEDS = 10_000
_FAILS = re.compile(r"^seed (\d+): (.*)", re.MULTILINE)


def defects() -> list[Defect]:
    """Those of planted.yaml, in the form of tools/planted_defects.yaml."""
    listed = yaml.safe_load(pathlib.Path(__file__).with_name("planted.yaml").read_text())
    return [Defect(name, **fields) for name, fields in listed.items()]


def look_for(defect: Defect, folder: pathlib.Path) -> str:
    """The seed that shows the defect, and how; "" where none of SEEDS does."""
    copy_project(folder)
    (folder / defect.file).write_text(defect.planted())
    command = [sys.executable, "-m", "tools.histories", f"--seeds=0:{SEEDS}", "--stop", "--processes=1"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    if found := _FAILS.search(done.stdout):
        return f"seed {found[1]}: {found[2]}"
    if done.returncode:
        raise RuntimeError(f"{defect.name}: {done.stdout}{done.stderr}")
    return ""


def look_for_all(words: Sequence[str], at_once: int) -> int:
    """Looks for every defect whose name or file holds one of the words; the exit status."""
    chosen = [one for one in defects() if not words or any(word in one.name or word in one.file for word in words)]
    for defect in chosen:
        defect.planted()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="histories-") as folder, ThreadPoolExecutor(at_once) as pool:

        def run(numbered: tuple[int, Defect]) -> tuple[Defect, str]:
            number, defect = numbered
            return defect, look_for(defect, pathlib.Path(folder, str(number)))

        for defect, seen in pool.map(run, enumerate(chosen)):
            print(f"{'found ' if seen else 'MISSED'}  {defect.file}: {defect.name}  {seen[:150]}", flush=True)
            missed += not seen
    print(f"{len(chosen) - missed} of {len(chosen)} defects were found within {SEEDS:,} seeds")
    return 1 if missed else 0
