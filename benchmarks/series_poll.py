"""What a poll over a series with many taken files costs: seconds, and the memory that it adds.

python -m benchmarks.series_poll --files=1000000
"""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from pipeline.series.decisions import decide
from pipeline.series.entries import Decided, Policy, Promoted
from pipeline.series.log import Log
from pipeline.series.partitions import File, Fingerprint, Places, poll, write_manifest
from tools.measuring.reports import format_table, report_parser, write_report

DIGEST = "0" * 64
_OF_A_PARTITION = 1_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = report_parser("benchmarks.series_poll", __doc__)
    parser.add_argument("--files", type=int, default=1_000_000, help="that were taken, in partitions of a thousand")
    parser.add_argument("--folder", help="where they are made (default: a temporary folder)")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        texts, series = pathlib.Path(folder, "texts"), str(pathlib.Path(folder, "series"))
        print(f"making {chosen.files:,} files", file=sys.stderr)
        make(texts, series, chosen.files // _OF_A_PARTITION)
        rows = [{"files": chosen.files, **_in_a_process(series)}]
    print(format_table([{name: str(value) for name, value in row.items()} for row in rows]))
    write_report(chosen.json, vars(chosen), rows)
    return 0


def _in_a_process(series: str) -> dict[str, Any]:
    """What a poll costs in a process of its own: making the files needs memory too."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_poll, [series])


def _poll(series: str) -> dict[str, Any]:
    before, began = _peak(), time.monotonic()
    log = Log.open(series)
    assert log.state.policy
    listing = poll(Places(log.state.policy), log.state, log.storage)
    assert decide(listing, log.state) is None
    return {"seconds": round(time.monotonic() - began, 1), "mb": _peak() // 10**6, "mb_before": before // 10**6}


def make(texts: pathlib.Path, series: str, partitions: int) -> None:
    """Partitions of empty files, and the log of a series that has taken them."""
    log = Log(series)
    log.append(Policy(root=str(texts), by="dt=*", retrain_every=0))
    for number in range(partitions):
        name = f"{number:06}"
        folder = texts / f"dt={name}"
        folder.mkdir(parents=True)
        files = []
        for i in range(_OF_A_PARTITION):
            path = folder / f"part-{i:06}.txt"
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            files.append(File(name, f"dt={name}/{path.name}", 0, str(path.stat().st_mtime_ns)))
        (folder / "_SUCCESS").touch()
        manifest, digest = write_manifest(log.storage, name, files)
        current = log.state.current
        decided = Decided(
            name=name,
            partition=name,
            folder=f"generations/{name}",
            mode="update" if current else "cold",
            follows=current,
            parent=log.state.generations[current].as_parent if current else None,
            manifest=manifest,
            manifest_digest=digest,
            files=len(files),
            bytes=0,
            fingerprint=Fingerprint.of((file.path, file.size, file.version) for file in files).text,
        )
        log.append(decided)
        log.append(Promoted(name=name, folder=decided.folder, model=DIGEST))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


if __name__ == "__main__":
    sys.exit(main())
