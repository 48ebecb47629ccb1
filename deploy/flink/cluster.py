"""A Flink cluster without containers: JobManager, TaskManagers and Beam's job server from Maven's libraries.

    python -m deploy.pieces flink boot
    python -m deploy.flink.cluster start --taskmanagers=2
    beam2vec train --input=... --output=... $(python -m deploy.flink.cluster options)
    python -m deploy.flink.cluster stop

Inputs and outputs have to be where all workers see them: a shared folder, or a bucket. On several machines, start
`jobmanager` on one, and `taskmanager --jobmanager=HOST` on each of the others; these stay in the foreground. Workers
get the environment of the TaskManager that starts them: set AWS_* and the like there, never by options.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.pieces import FLINK, PIECES, UnavailableError
from pipeline.runtime.private_folders import home_folder

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
_OPENED = (
    "java.lang",
    "java.lang.reflect",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "java.net",
    "java.io",
    "java.nio",
    "java.text",
    "java.time",
)
"""Packages of java.base that Flink's serialisers look into."""
_MAIN = {
    "jobmanager": "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
    "taskmanager": "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
}


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A cluster as its folder describes it: configuration, logs, process ids, what workers leave behind."""

    folder: Path
    jobmanager: str = "localhost"
    rest_port: int = 8081
    rpc_port: int = 6123
    blob_port: int = 6124
    taskmanagers: int = 2
    heap: int = 256
    """MB of a TaskManager's heap for tasks."""
    restarts: int = 8
    """Restarts, without a minute of undisturbed work between them, before a job fails."""

    @property
    def address(self) -> str:
        return f"{self.jobmanager}:{self.rest_port}"

    def options(self, worker: Path = _HERE / "worker.sh") -> list[str]:
        """The options of beam2vec train that run it here; `worker` is what TaskManagers start as a Python worker."""
        return [
            "--runner=FlinkRunner",
            f"--flink_master={self.address}",
            f"--flink_version={FLINK}",
            f"--flink_job_server_jar={PIECES['flink'].get()}",
            f"--parallelism={self.taskmanagers}",
            f"--artifacts_dir={self.folder / 'artifacts'}",
            "--environment_type=PROCESS",
            f"--environment_option=process_command={worker}",
            "--environment_cache_millis=20000",
            "--environment_expiration_millis=60000",
        ]

    def write_config(self) -> None:
        for name in ("artifacts", "conf", "log", "pid", "tmp", "workers"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        local = self.jobmanager == "localhost"
        values = {**dataclasses.asdict(self), "host": "localhost" if local else socket.gethostname()}
        text = (_HERE / "config.yaml").read_text().format(**values, bind="localhost" if local else "0.0.0.0")
        (self.folder / "conf" / "config.yaml").write_text(text)
        (self.folder / "cluster.json").write_text(json.dumps(dataclasses.asdict(self), default=str))

    def command(self, role: str) -> list[str]:
        """What starts a "jobmanager" or a "taskmanager", in the foreground."""
        opened = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED]
        heap, direct = (384, 64) if role == "jobmanager" else (64 + self.heap, 64 + 128 + 256)
        memory = [f"-Xmx{heap}m", f"-XX:MaxDirectMemorySize={direct}m", "-XX:MaxMetaspaceSize=256m"]
        libraries = str(PIECES["flink"].get().parent / "lib" / "*")
        mode = ["--executionMode", "cluster"] if role == "jobmanager" else []
        config = ["--configDir", str(self.folder / "conf")]
        return ["java", *opened, *memory, "-cp", libraries, _MAIN[role], *config, *mode]

    def environment(self) -> dict[str, str]:
        """Of a TaskManager, and so of its workers: this Python, and this folder's beam2vec."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        modules = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        return {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": modules,
            "BEAM2VEC_BOOT": str(PIECES["boot"].get()),
            "BEAM2VEC_WORKERS": str(self.folder / "workers"),
        }

    def start(self, role: str, number: int = 1, environment: Mapping[str, str] | None = None) -> int:
        """Starts a JobManager or a TaskManager in the background; returns its process id."""
        name = f"{role}-{number}"
        with open(self.folder / "log" / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                self.command(role),
                env={**self.environment(), **(environment or {})},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.folder / "pid" / name).write_text(str(process.pid))
        return process.pid

    def pids(self) -> dict[str, int]:
        """Name -> process id of what was started here."""
        return {file.name: int(file.read_text()) for file in sorted((self.folder / "pid").glob("*-*"))}

    def wait(self, taskmanagers: int, seconds: float = 60.0) -> None:
        """Until so many TaskManagers have registered; TimeoutError where they do not."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if self.ask("overview")["taskmanagers"] >= taskmanagers:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise TimeoutError(f"{taskmanagers} TaskManagers were not there within {seconds:.0f} s: see {self.folder}/log")

    def ask(self, path: str) -> dict[str, Any]:
        """What Flink's REST interface answers; OSError where there is none."""
        with urllib.request.urlopen(f"http://{self.address}/{path}", timeout=10) as answer:
            return json.loads(answer.read())

    def stop(self) -> None:
        """Ends all that `start` started: TaskManagers first, the JobManager last."""
        for name, pid in reversed(self.pids().items()):
            _end(pid)
            (self.folder / "pid" / name).unlink()


def _end(pid: int, patience: float = 10.0) -> None:
    """SIGTERM, and SIGKILL for who does not heed it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + patience
        try:
            os.kill(pid, number)
            while time.monotonic() < until:
                os.waitpid(pid, os.WNOHANG) if _is_child(pid) else os.kill(pid, 0)
                time.sleep(0.1)
        except (ProcessLookupError, ChildProcessError):
            return


def _is_child(pid: int) -> bool:
    """Whether this process started it, and so has to take note of its end."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()
    except OSError as error:
        raise ProcessLookupError(pid) from error


def opened(folder: Path) -> Cluster:
    """The cluster that was started in a folder."""
    try:
        values = json.loads((folder / "cluster.json").read_text())
    except OSError as error:
        raise UnavailableError(f"no cluster was started in {folder}") from error
    return Cluster(**{**values, "folder": Path(values["folder"])})


def _start(cluster: Cluster) -> None:
    cluster.write_config()
    cluster.start("jobmanager")
    for number in range(1, cluster.taskmanagers + 1):
        cluster.start("taskmanager", number)
    try:
        cluster.wait(cluster.taskmanagers)
    except TimeoutError:
        cluster.stop()
        raise
    print(f"http://{cluster.address} has {cluster.taskmanagers} TaskManagers, logs are in {cluster.folder}/log")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="deploy.flink.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("start", "stop", "options", "jobmanager", "taskmanager"))
    home = home_folder()
    parser.add_argument(
        "--folder", type=Path, default=home and Path(home, ".cache", "beam2vec", "flink-cluster"), required=not home
    )
    for field in dataclasses.fields(Cluster)[1:]:  # all but the folder
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    chosen = vars(parser.parse_args(arguments))
    action, folder = chosen.pop("action"), chosen.pop("folder").absolute()
    try:
        if action == "stop":
            opened(folder).stop()
        elif action == "options":
            print(" ".join(opened(folder).options()))
        elif action == "start":
            _start(Cluster(folder, **chosen))
        else:
            cluster = Cluster(folder, **chosen)
            cluster.write_config()
            command = cluster.command(action)
            os.execvpe(command[0], command, cluster.environment())
    except (UnavailableError, TimeoutError) as error:
        print(f"deploy.flink.cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
