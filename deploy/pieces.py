"""Fetches the programs that are no Python packages, by Maven and Go, into a folder that is kept.

    python -m deploy.pieces flink boot      # a Flink cluster

They go to $BEAM2VEC_PIECES, by default ~/.cache/beam2vec/pieces, each in a folder named after its
version, so that a piece is fetched once. Nobody else may write there, since they are run. Their paths are printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from pipeline.runtime.private_folders import NotPrivateError, home_folder, private_folder

_POM = Path(__file__).parent / "flink" / "pom.xml"
_TIMEOUT = 900.0
"""Seconds for one piece; a first build of Prism takes two minutes on two CPUs."""
_JOB_SERVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"


class UnavailableError(Exception):
    """A piece is not here and cannot be fetched; says why in one line."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """A program: the version that is wanted, and how it is fetched into a folder."""

    name: str
    version: str
    file: str
    """What is asked for, within the folder."""
    fetch: Callable[[Piece, Path], None]

    @property
    def path(self) -> Path:
        """Where it is, or will be."""
        return _folder() / f"{self.name}-{self.version}" / self.file

    def get(self) -> Path:
        """The path, fetched first where that is needed; UnavailableError says why it cannot be."""
        place = _folder() / f"{self.name}-{self.version}"
        if not self.path.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place.parent) as folder:
                fresh = Path(folder) / "fresh"
                fresh.mkdir()
                self.fetch(self, fresh)
                if not place.exists():  # nobody else was faster
                    fresh.rename(place)
        return self.path


def _folder() -> Path:
    chosen, home = os.environ.get("BEAM2VEC_PIECES"), home_folder()
    try:
        if chosen or home:
            return Path(private_folder(chosen or f"{home}/.cache/beam2vec/pieces"))
        why = "you have no home"
    except NotPrivateError as error:
        why = str(error)
    raise UnavailableError(f"{why}: set BEAM2VEC_PIECES to a folder of your own")


def by_go(module: str, program: str) -> Callable[[Piece, Path], None]:
    """Builds a program of a Go module, at the piece's version."""

    def fetch(piece: Piece, folder: Path) -> None:
        _call(["go", "install", f"{module}@v{piece.version}"], GOBIN=str(folder), GOFLAGS="-buildvcs=false")
        (folder / program).rename(folder / piece.file)

    return fetch


def _maven(piece: Piece, folder: Path) -> None:
    """The libraries that deploy/flink/pom.xml names, with all that they need, and a jar that starts the job server.

    The jar holds no code, but names the libraries beside it and the class to start: it stands for the jar that
    Beam would otherwise download.
    """
    _call(
        [
            "mvn",
            "--batch-mode",
            "--quiet",
            f"--file={_POM}",
            "dependency:copy-dependencies",
            f"-DoutputDirectory={folder / 'lib'}",
            "-DincludeScope=runtime",
        ]
    )
    libraries = " ".join(f"lib/{library.name}" for library in sorted((folder / "lib").iterdir()))
    lines = ["Manifest-Version: 1.0", f"Main-Class: {_JOB_SERVER}", f"Class-Path: {libraries}"]
    manifest = "".join(_wrapped(line) for line in lines)
    with zipfile.ZipFile(folder / piece.file, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", manifest)


def _wrapped(line: str) -> str:
    """A line of a manifest: at most 72 bytes, what follows on lines that begin with a space."""
    text_lines = [line[:70]] + [" " + line[start : start + 69] for start in range(70, len(line), 69)]
    return "".join(f"{text_line}\r\n" for text_line in text_lines)


def _call(command: Sequence[str], **environment: str) -> None:
    if shutil.which(command[0]) is None:
        raise UnavailableError(f"{command[0]} is not installed")
    try:
        subprocess.run(
            command,
            check=True,
            timeout=_TIMEOUT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{' '.join(command[:3])} took longer than {_TIMEOUT:.0f} s") from None
    except subprocess.CalledProcessError as error:
        said = [line for line in error.output.splitlines() if line.strip() and "downloading" not in line]
        raise UnavailableError(f"{' '.join(command[:3])}: {said[0] if said else 'failed'}") from None


def _pom_property(name: str) -> str:
    namespace = "{http://maven.apache.org/POM/4.0.0}"
    found = ElementTree.parse(_POM).findtext(f"{namespace}properties/{namespace}{name}")
    assert found, f"{_POM} has no property {name}"
    return found


BEAM = importlib.metadata.version("apache-beam")
"""Version of Beam's programs in Go: that of the Python package."""
BEAM_JAVA = _pom_property("beam.version")
"""Version of Beam's Flink runner: the newest that Maven Central was found to serve whole."""
FLINK = _pom_property("flink.version")
"""Version of Flink that it is made for, as --flink_version takes it."""

PIECES = {
    piece.name: piece
    for piece in (
        Piece("flink", f"{FLINK}-beam-{BEAM_JAVA}", "job-server.jar", _maven),
        Piece("boot", BEAM, "boot", by_go("github.com/apache/beam/sdks/v2/python/container", "container")),
    )
}


def main(arguments: Sequence[str] | None = None) -> int:
    return fetch("deploy.pieces", __doc__, PIECES, arguments)


def fetch(command: str, description: str | None, pieces: Mapping[str, Piece], arguments: Sequence[str] | None) -> int:
    """Fetches the pieces that the arguments name and prints where they are; 1 where one cannot be had."""
    parser = argparse.ArgumentParser(
        prog=command, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=pieces, metavar="|".join(pieces))
    status = 0
    for name in parser.parse_args(arguments).names:
        try:
            print(f"{name}: {pieces[name].get()}")
        except UnavailableError as error:
            print(f"{name} cannot be had: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
