"""The first minutes on a real GPU: does it work, are the bytes right, how fast is it, and where does the time go.

    python -m benchmarks.first_device --first     # at most 4 minutes: environment, smoke, denormals, bytes, tests
    python -m benchmarks.first_device --second    # at most 6: speed on the default path, kernels, graphs, host, CPU
    python -m benchmarks.first_device --only=speed,kernels

It needs numpy, numba, llvmlite, pyarrow, pyyaml and CuPy, and no Beam; the tests need pytest. Each part stands alone:
one that fails is noted, and the next one runs. What is known is written after each part, so nothing is lost where the
time ends. Ends with status 1 if a part has failed, or bytes differ.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tools.cuda import device_parts, device_speed
from tools.cuda.device_parts import Sizes
from tools.measuring.reports import report_parser

FIRST_SECONDS, SECOND_SECONDS = 240, 360


class Part(NamedTuple):
    """What is done, and the fewest seconds that make it worth a start."""

    run: Callable[[Sizes, Callable[[], float], Path], Any]
    """gets the sizes, a function that says how many seconds are left, and a folder; returns JSON"""
    seconds: float


FIRST = {
    "environment": Part(device_parts.environment, 1),
    "smoke": Part(device_parts.smoke, 10),
    "denormals": Part(device_parts.denormals, 10),
    "bytes": Part(device_parts.same_bytes, 30),
    "tests": Part(device_parts.tests, 30),
}
SECOND = {
    "speed": Part(device_speed.speed, 20),
    "kernels": Part(device_speed.kernels, 20),
    "graphs": Part(device_speed.graphs, 10),
    "host": Part(device_speed.host, 10),
    "cpu": Part(device_speed.cpu, 20),
    "sanitizer": Part(device_parts.sanitizer, 180),
    "ncu": Part(device_speed.ncu, 180),
}
PARTS = FIRST | SECOND


class Report:
    """What is known so far, on disk after each part."""

    def __init__(self, path: Path, seconds: float):
        self.path, self.folder, self.seconds, self.began = path, path.parent, seconds, time.monotonic()
        self.results: dict[str, Any] = {}
        self.has_failed = False
        self.folder.mkdir(parents=True, exist_ok=True)

    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.began)

    def add(self, name: str, part: Part, sizes: Sizes) -> None:
        began = time.monotonic()
        print(f"== {name}, {self.left():.0f} s left", flush=True)
        if self.left() < part.seconds:
            result: Any = f"left out: {self.left():.0f} s are left, it wants {part.seconds:.0f}"
        else:
            try:
                result = part.run(sizes, self.left, self.folder)
            except Exception as error:
                traceback.print_exc()
                result = f"FAILED: {type(error).__name__}: {error}"
        self.has_failed |= any(word in str(result) for word in ("FAILED", device_parts.OTHER))
        self.results[name] = {"result": result, "seconds": round(time.monotonic() - began, 1)}
        print(json.dumps(self.results[name], indent=1, default=str), flush=True)
        text = json.dumps({"began": time.strftime("%Y-%m-%d %H:%M"), **self.results}, indent=1, default=str)
        self.path.write_text(text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = report_parser("benchmarks.first_device", __doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--first", action="store_true", help="is it right?")
    which.add_argument("--second", action="store_true", help="is it fast?")
    which.add_argument("--only", default="", help=f"parts, with commas: {', '.join(PARTS)}")
    if "OUT" in os.environ:
        parser.set_defaults(json=os.path.join(os.environ["OUT"], "first_device.json"))
    parser.add_argument("--seconds", type=float, help="at most; 240 for --first, 360 otherwise")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the program where there is no GPU")
    chosen = parser.parse_args(arguments)
    names = chosen.only.split(",") if chosen.only else list(FIRST if chosen.first else SECOND)
    if unknown := sorted(set(names) - set(PARTS)):
        parser.error(f"there is no part {', '.join(unknown)}")
    report = Report(Path(chosen.json), chosen.seconds or (FIRST_SECONDS if chosen.first else SECOND_SECONDS))
    for name in names:
        report.add(name, PARTS[name], Sizes.small() if chosen.small else Sizes())
    return int(report.has_failed)


if __name__ == "__main__":
    sys.exit(main())
