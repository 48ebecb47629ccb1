"""What `pip install` brings: the four packages with their data, whole, and nothing else."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.helpers.commands import ROOT

PACKAGES = ("beam2vec", "jobs", "pipeline", "transforms")


def python(*arguments: str, cwd: pathlib.Path, path: str = "") -> subprocess.CompletedProcess:
    """-P: a path that is asked for, and no working directory."""
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-P", *arguments], capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "tests").mkdir()
    (source / "tests/__init__.py").touch()  # which must stay out
    built = python("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source), cwd=folder)
    if built.returncode and "setuptools" in built.stderr:
        pytest.skip("the wheel cannot be built here: setuptools is not to be had")
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel) -> pathlib.Path:
    """A folder into which the wheel is unpacked, as pip does."""
    folder = wheel.parent / "site"
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def test_the_wheel_holds_the_packages_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".md"}
    }
    assert names == tracked
    assert {pathlib.Path(name).suffix for name in names} == {".py", ".cu", ".css", ".html", ".js", ".typed"}


def test_the_wheel_tells_its_licence_and_its_command(wheel):
    archive = zipfile.ZipFile(wheel)
    described = {name.partition(".dist-info/")[2]: name for name in archive.namelist() if ".dist-info/" in name}
    assert "licenses/LICENSE" in described
    assert "beam2vec = " in archive.read(described["entry_points.txt"]).decode()
    metadata = archive.read(described["METADATA"]).decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata


@pytest.mark.slow  # kernels in another place are compiled again
def test_what_is_installed_trains(site, tmp_path):
    (tmp_path / "text.txt").write_text("a rose is a rose is a rose\n" * 20)
    script = (
        "import beam2vec, pipeline;"
        "run = beam2vec.train(input='text.txt', output='run', dims=8, batch_size=32, threads=2, report=True);"
        "print(pipeline.__file__, *run.words())"
    )
    outcome = python("-c", script, cwd=tmp_path, path=str(site))
    assert outcome.stdout.split() == [f"{site}/pipeline/__init__.py", "a", "rose", "is"], outcome.stderr
    assert (tmp_path / "run/report.html").stat().st_size > 10_000, "the page's parts are there"


def test_what_is_installed_answers(site, tmp_path):
    told = python("-m", "beam2vec", "train", "--help", cwd=tmp_path, path=str(site))
    assert told.returncode == 0
    assert "--negatives" in told.stdout
    script = "import beam2vec, jobs, pipeline, transforms; print(jobs.__file__, beam2vec.Run, beam2vec.Options)"
    assert python("-c", script, cwd=tmp_path, path=str(site)).stdout.startswith(f"{site}/jobs/__init__.py <class")


@pytest.mark.parametrize("name", ["pipeline", "transforms", "jobs"])
def test_a_foreign_module_of_the_same_name_is_told_in_one_line(site, tmp_path, name):
    (tmp_path / f"{name}.py").write_text("print('another')\n")
    imported = python("-c", "import beam2vec", cwd=tmp_path, path=f"{tmp_path}{os.pathsep}{site}")
    assert imported.returncode == 1
    assert imported.stdout == "", "it is not run"
    last = imported.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: beam2vec needs its own package '{name}'")
    assert f"{tmp_path}/{name}.py is another one" in last
