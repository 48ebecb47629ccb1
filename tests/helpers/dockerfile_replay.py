"""Carries out the steps of the Dockerfile in a fresh environment, where no container engine is, and tries the result.

    python -m tests.helpers.dockerfile_replay [FOLDER]

FROM becomes a new virtual environment of this Python, and folders of the image become folders below FOLDER. Then, with
nothing of this project in sight but what was installed: a worker's imports, a small training run, and a template made
by the launcher with Beam's DataflowRunner, for which no account is needed.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.commands import ROOT

DOCKERFILE = ROOT / "deploy" / "dataflow" / "Dockerfile"


@dataclasses.dataclass(frozen=True)
class Step:
    """An instruction of a Dockerfile: its name, and the rest of its line."""

    name: str
    text: str


def steps() -> Iterator[Step]:
    """The instructions, in order; lines that go on are joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, text = line.strip().partition(" ")
            yield Step(name.upper(), text.strip())


class Replay:
    """What the image would hold, below `folder`."""

    def __init__(self, folder: Path):
        self.root, self.place = folder / "root", folder / "root"
        self.bin = folder / "venv" / "bin"
        self.arguments: dict[str, str] = {}
        kept = ("PATH", "HOME", "PIP_", "SSL_", "REQUESTS_", "http_proxy", "https_proxy", "LANG")
        self.environment = {name: value for name, value in os.environ.items() if name.startswith(kept)}
        self.environment["PATH"] = f"{self.bin}{os.pathsep}{self.environment['PATH']}"

    def carry_out(self, step: Step) -> None:
        text = re.sub(r"\$\{(\w+)\}", lambda found: self.arguments.get(found[1], ""), step.text)
        if step.name == "ARG":
            name, gives, value = text.partition("=")
            if gives:  # without a value, that from before FROM holds
                self.arguments[name] = value
        elif step.name == "WORKDIR":
            self.place = self._inside(text)
            self.place.mkdir(parents=True, exist_ok=True)
        elif step.name == "COPY" and not text.startswith("--from"):
            self._copy(*shlex.split(text))
        elif step.name == "ENV":
            name, _, value = text.partition("=")
            self.environment[name] = str(self._inside(value)) if value.startswith("/") else value
        elif step.name == "RUN":
            self.run("sh", "-ec", text)
        elif step.name not in ("FROM", "COPY", "ENTRYPOINT"):
            raise ValueError(f"{step.name} is no instruction that can be replayed")

    def run(self, *command: str) -> str:
        """Runs a command in the image's environment; RuntimeError with what it said where it fails."""
        done = subprocess.run(
            command, cwd=self.place, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
        return done.stdout

    def _inside(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _copy(self, *names: str) -> None:
        *sources, target = names
        for source in sources:
            to = self.place / target / ("" if (ROOT / source).is_dir() else Path(source).name)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, to)


def replay(folder: Path) -> None:
    """All steps, and then the checks; raises where one fails."""
    image = Replay(folder)
    venv.create(image.bin.parent, with_pip=True)
    for step in steps():
        print(f"{step.name} {step.text}", flush=True)
        image.carry_out(step)
    away = folder / "elsewhere"
    away.mkdir()
    text = away / "text.txt"
    text.write_text("one word after another makes a text\n" * 200)
    image.place = away
    python, launch = str(image.bin / "python"), image.environment["FLEX_TEMPLATE_PYTHON_PY_FILE"]
    found = image.run(python, "-c", "import pipeline, transforms.train, jobs; print(pipeline.__file__)")
    if str(image.bin.parent) not in found:
        raise RuntimeError(f"workers would import the package from {found}")
    files = [f"--input={text}", "--min_count=1", "--dims=4", "--epochs=1"]
    if "digest: " not in image.run(python, launch, *files, f"--output={away / 'run'}"):
        raise RuntimeError("the image does not train")
    _check_template(image, [python, launch, *files], away)
    print("the image's steps make an environment that trains and launches")


_LAUNCH_WITHOUT_ACCOUNT = """
import runpy, sys
from apache_beam.options.pipeline_options import GoogleCloudOptions
GoogleCloudOptions._handle_temp_and_staging_locations = lambda self, validator: []  # asks for the buckets
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
_ON_GPU = """
import sys
from apache_beam.portability.api import beam_runner_api_pb2
graph = beam_runner_api_pb2.Pipeline.FromString(open(sys.argv[1], "rb").read()).components
gpu = {name for name, one in graph.environments.items() if "beam:resources:accelerator:v1" in one.resource_hints}
print(sorted({one.unique_name for one in graph.transforms.values() if one.environment_id in gpu}))
"""


def _check_template(image: Replay, command: list[str], away: Path) -> None:
    """The launcher leaves at once, with the one graph in its staging folder and a GPU for Train alone."""
    staging = away / "staging"
    staging.mkdir()
    python, *launch = command
    said = image.run(
        python,
        "-c",
        _LAUNCH_WITHOUT_ACCOUNT,
        *launch,
        f"--output={away / 'later'}",
        "--device=gpu",
        "--no_auth",
        "--runner=DataflowRunner",
        "--project=nobody",
        "--region=us-central1",
        "--job_name=beam2vec",
        f"--staging_location={staging}",
        f"--temp_location={staging}",
        "--sdk_container_image=IMAGE",
        f"--template_location={away / 'template.json'}",
    )
    if "the job goes on without this command" not in said or not (away / "later" / "lock.json").exists():
        raise RuntimeError(f"the launcher does not leave the job behind:\n{said}")
    on_gpu = image.run(python, "-c", _ON_GPU, str(staging / "pipeline.pb")).strip().splitlines()[-1]
    if "Train/TrainModel" not in on_gpu or "CountWords" in on_gpu or "GenerateBatches" in on_gpu:
        raise RuntimeError(f"steps with a GPU are {on_gpu}")
    if "IMAGE" not in (away / "template.json").read_text():
        raise RuntimeError("the template does not name the image")
    print(f"a template was made; steps with a GPU: {on_gpu}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        replay(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch))
