"""Plants defects in a copy of the project, one at a time, and sees whether the tests catch them.

    python -m tools.planted_defects                      all of planted_defects.yaml
    python -m tools.planted_defects "ten rounds" lock    those whose name or file holds one of the words
    python -m tools.planted_defects --suite lock         by the whole default suite instead of the tests named

A defect is one line changed, as a programmer might get it wrong. It is caught if a test fails; that test is printed.
The same test again and again, whatever the defect, is one that fails without a defect too.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import yaml

ROOT = pathlib.Path(__file__).parents[1]
COPIED = ("beam2vec", "pipeline", "transforms", "jobs", "tests", "tools", "benchmarks", "deploy", "docs", "examples")
TIMEOUT = 1200.0


@dataclasses.dataclass(frozen=True)
class Defect:
    """One line of a file, wrong."""

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...] = ()
    """Paths below tests/; by default the folder that mirrors the file's."""

    def planted(self) -> str:
        """The file's text with the defect; ValueError unless exactly one place matches, within one line."""
        text = (ROOT / self.file).read_text()
        if text.count(self.right) != 1:
            raise ValueError(f"{self.name}: {self.right!r} stands {text.count(self.right)} times in {self.file}")
        made = text.replace(self.right, self.wrong)
        before, after = text.split("\n"), made.split("\n")
        if len(before) != len(after) or sum(a != b for a, b in zip(before, after)) != 1:
            raise ValueError(f"{self.name}: one line has to differ")
        return made

    def tests_to_run(self) -> list[str]:
        if self.tests:
            return [f"tests/{name}" for name in self.tests]
        folder = pathlib.PurePath(self.file.removeprefix("pipeline/")).parent
        while not (ROOT / "tests" / folder).is_dir():
            folder = folder.parent
        return [f"tests/{folder}"]


def defects() -> list[Defect]:
    listed = yaml.safe_load((ROOT / "tools" / "planted_defects.yaml").read_text())
    return [Defect(name, **{**fields, "tests": tuple(fields.get("tests", ()))}) for name, fields in listed.items()]


def copy_project(to: pathlib.Path) -> None:
    """With the times of files, by which Numba knows whether machine code is of this source."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    for name in COPIED:
        shutil.copytree(ROOT / name, to / name, ignore=ignored)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy2(file, to)


def caught_by(defect: Defect, project: pathlib.Path, kernels: pathlib.Path, whole: bool = False) -> str:
    """The test that fails with the defect planted in a new copy of the project, "" where none does."""
    copy_project(project)
    (project / defect.file).write_text(defect.planted())
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(project), "NUMBA_CACHE_DIR": str(kernels)}
    try:
        done = subprocess.run(
            [*command, *([] if whole else defect.tests_to_run())],
            capture_output=True,
            text=True,
            cwd=project,
            env=environment,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "a test that never ends"
    if done.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if not failed:
        raise RuntimeError(f"{defect.name}: pytest ended with {done.returncode}\n{done.stdout}{done.stderr}")
    late = " (out of time: see again on a machine that is not busy)" if "from pytest-timeout" in done.stdout else ""
    return failed[1] + late


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tools.planted_defects", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="parts of names or files; default: all defects")
    parser.add_argument("--suite", action="store_true", help="run the whole default suite")
    parser.add_argument("--at_once", type=int, default=2, metavar="N", help="defects at a time (default: 2)")
    options = parser.parse_args(arguments)
    chosen = [
        defect
        for defect in defects()
        if not options.words or any(word in defect.name or word in defect.file for word in options.words)
    ]
    for defect in chosen:
        defect.planted()
    missed = []
    with tempfile.TemporaryDirectory(prefix="planted-") as folder, ThreadPoolExecutor(options.at_once) as pool:
        # Few places that are used again: Numba keeps machine code by the path of its source.
        places: queue.Queue[pathlib.Path] = queue.Queue()
        for number in range(options.at_once):
            places.put(pathlib.Path(folder, f"project{number}"))
        kernels = pathlib.Path(folder, "kernels")

        def run(defect: Defect) -> tuple[Defect, str, float]:
            place, began = places.get(), time.monotonic()
            try:
                return defect, caught_by(defect, place, kernels, options.suite), time.monotonic() - began
            finally:
                places.put(place)

        for defect, test, seconds in pool.map(run, chosen):
            print(
                f"{'caught' if test else 'MISSED'}  {defect.file}: {defect.name} ({seconds:.0f} s) {test}", flush=True
            )
            if not test:
                missed.append(defect)
    print(f"{len(chosen) - len(missed)} of {len(chosen)} defects were caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
