"""What the project says it needs is what it imports, and is written alike wherever it is written."""

from __future__ import annotations

import ast
import pathlib
import re
import sys
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"pipeline", "transforms", "jobs"}
IMPORTED_AS = {
    "apache-beam": "apache_beam",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "cupy-cuda12x": "cupy",
    "cupy-cuda13x": "cupy",
    "unidic-lite": "unidic_lite",
    "tensorboardx": "tensorboardX",
}


def _imported(folder: str) -> set[str]:
    """Top names of all imports in the folder's files, those inside functions too."""
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add((node.module or "").partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"_typeshed"}  # which is there for type checkers alone


def _declared(requirements: list[str]) -> set[str]:
    packages = {re.split(r"[<>=!~\[; ]", line)[0].lower() for line in requirements}
    return {IMPORTED_AS.get(package, package) for package in packages}


def test_every_import_is_declared_and_every_dependency_imported():
    extras = PROJECT["optional-dependencies"]
    imported = set.union(*map(_imported, OURS)) - OURS
    core = _declared(PROJECT["dependencies"])
    assert core <= imported, "declared and not imported"
    with_cupy = {"cupyx"}  # comes in the same package
    optional = set.union(*(_declared(packages) for name, packages in extras.items() if name != "test"))
    assert imported <= core | optional | with_cupy


def test_requirements_repeats_the_dependencies():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == PROJECT["dependencies"]


def test_locked_versions_are_within_the_ranges_and_have_hashes():
    """`make lock` writes them: no address of a registry is among them."""
    text = (ROOT / "deploy/locked.txt").read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text.strip())
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    assert not re.search(r"://|--index|--find-links| @ ", text)
    locked: dict[str, set[str]] = {}
    for entry in entries:
        name, version = re.match(r"([a-z0-9.-]+)(?:\[.*?\])?==(\S+)", entry).groups()
        locked.setdefault(name, set()).add(version)
    extras = PROJECT["optional-dependencies"]
    inner = re.fullmatch(r"beam2vec\[(.*)\]", extras["test"][0])[1].split(",")
    wanted = [*PROJECT["dependencies"], *extras["test"][1:], *(line for name in inner for line in extras[name])]
    for line in wanted:
        asked = Requirement(line)
        assert all(asked.specifier.contains(version) for version in locked[canonicalize_name(asked.name)]), line
