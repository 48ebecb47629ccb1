"""Results as a table on the screen and as JSON in a file, with the machine that they are of."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.runtime.cpus import available_cpus

PACKAGES = ("beam2vec", "apache-beam", "numpy", "numba", "llvmlite", "pyarrow", "gensim")


def machine() -> dict[str, Any]:
    """Where this runs, for the report."""
    return {
        "processor": _processor(),
        "cpus": available_cpus(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": dict(_versions()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", "").split()
    vectors = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else ""
    return " ".join([facts.get("model name", platform.processor()), vectors]).strip()


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue


def report_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of a command that writes a report: `python -m name`, and by default below runs/."""
    parser = argparse.ArgumentParser(
        prog=name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    report = f"runs/reports/{name.rpartition('.')[2]}.json"
    parser.add_argument("--json", default=report, help="where to write the report (default: %(default)s)")
    return parser


def format_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of the same columns in aligned columns, with a line of names above."""
    if not rows:
        return "(nothing)"
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    lines = [{name: name for name in widths}, {name: "-" * width for name, width in widths.items()}, *rows]
    return "\n".join("  ".join(line[name].ljust(width) for name, width in widths.items()).rstrip() for line in lines)


def write_report(path: str, settings: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
    """The results as JSON, with the machine and the settings that made them."""
    report = {"machine": machine(), "settings": dict(settings), "results": list(results)}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(report, indent=1) + "\n")
    print(f"written: {path}")


def spread(values: Sequence[float], digits: int = 3) -> str:
    """The mean, and how far the values lie apart where there are several."""
    text = f"{np.mean(values):.{digits}f}"
    return text if len(values) < 2 else f"{text} ±{(max(values) - min(values)) / 2:.{digits}f}"
