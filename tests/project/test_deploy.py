"""What is meant for clusters that cannot be run here: read as its readers would, as far as that goes."""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import re
import subprocess
import zipfile

import pytest
import yaml
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions

from deploy import pieces
from deploy.flink import cluster as flink_cluster
from deploy.flink.cluster import Cluster
from tests.helpers import programs
from tests.helpers.commands import ROOT

KUBERNETES = ROOT / "deploy" / "flink" / "kubernetes.yaml"


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Cluster:
    """A cluster with pieces that are only names."""
    monkeypatch.setenv("BEAM2VEC_PIECES", str(tmp_path / "pieces"))
    for name in ("flink", "boot"):
        pieces.PIECES[name].path.parent.mkdir(parents=True)
        pieces.PIECES[name].path.touch()
    made = Cluster(tmp_path / "a cluster", rest_port=18081)
    made.write_config()
    return made


def test_the_configuration_is_whole_and_fits_the_memory_of_its_processes(cluster):
    settings = yaml.safe_load((cluster.folder / "conf" / "config.yaml").read_text())
    assert settings["rest.port"] == 18081
    assert settings["io.tmp.dirs"] == f"{cluster.folder}/tmp"
    assert "{" not in json.dumps(settings, default=str)[1:-1]

    def megabytes(*names: str) -> int:
        return sum(int(settings[f"taskmanager.memory.{name}"].removesuffix("mb")) for name in names)

    command = " ".join(cluster.command("taskmanager"))
    heap, direct = (int(re.search(rf"{flag}(\d+)m", command)[1]) for flag in ("-Xmx", "DirectMemorySize="))
    assert heap == megabytes("framework.heap.size", "task.heap.size")
    assert direct == megabytes("framework.off-heap.size", "task.off-heap.size", "network.max")
    assert "--executionMode" not in command


def test_its_options_are_options_of_beam(cluster):
    options = PipelineOptions(cluster.options())
    assert options.view_as(FlinkRunnerOptions).flink_master == "localhost:18081"
    portable = options.view_as(PortableOptions)
    assert portable.environment_type == "PROCESS"
    assert portable.environment_options == [f"process_command={ROOT / 'deploy/flink/worker.sh'}"]
    given = options.get_all_options(drop_default=True, retain_unknown_options=True)
    assert 0 < int(given["environment_cache_millis"]) < int(given["environment_expiration_millis"])
    assert flink_cluster.opened(cluster.folder) == cluster


def test_a_killed_worker_is_replaced_before_the_restarts_are_used_up(cluster):
    settings = yaml.safe_load((cluster.folder / "conf" / "config.yaml").read_text())
    prefix = "restart-strategy.exponential-delay."
    first, most = (int(settings[prefix + name].removesuffix(" s")) for name in ("initial-backoff", "max-backoff"))
    attempts, factor = settings[prefix + "attempts-before-reset-backoff"], settings[prefix + "backoff-multiplier"]
    waits = sum(min(most, first * factor**attempt) for attempt in range(attempts))
    (expiry,) = (int(text.partition("=")[2]) for text in cluster.options() if text.startswith("--environment_exp"))
    assert waits > expiry / 1000


def test_scripts_are_shell():
    subprocess.run(["bash", "-n", ROOT / "deploy" / "flink" / "worker.sh"], check=True)


def test_a_piece_that_cannot_be_had_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BEAM2VEC_PIECES", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    assert pieces.main(["boot", "flink"]) == 1
    wanted = ["boot cannot be had: go is not installed", "flink cannot be had: mvn is not installed"]
    assert capsys.readouterr().err.splitlines() == wanted
    assert programs.main(["prism", "flink"]) == 1
    assert capsys.readouterr().err.splitlines() == [wanted[0].replace("boot", "prism"), wanted[1]]
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_cannot_be_had_is_asked_for_once_and_skips_each_test(tmp_path, monkeypatch):
    monkeypatch.setenv("BEAM2VEC_PIECES", str(tmp_path))
    asked = []

    def fetch(piece: pieces.Piece, folder: pathlib.Path) -> None:
        asked.append(piece.name)
        raise pieces.UnavailableError("the registry does not answer")

    monkeypatch.setitem(programs.PROGRAMS, "nothing", pieces.Piece("nothing", "1", "nothing", fetch))
    for _ in range(2):
        with pytest.raises(pytest.skip.Exception, match="no nothing here: the registry does not answer"):
            programs.needed("nothing")
    assert asked == ["nothing"]


def test_a_job_server_jar_names_its_class_and_all_libraries_in_lines_that_java_takes(tmp_path, monkeypatch):
    folder = tmp_path / "flink"
    (folder / "lib").mkdir(parents=True)
    names = [f"library-with-a-long-name-{number}.jar" for number in range(30)]
    for name in names:
        (folder / "lib" / name).touch()
    monkeypatch.setattr(pieces, "_call", lambda command: None)
    pieces._maven(pieces.PIECES["flink"], folder)
    manifest = zipfile.ZipFile(folder / "job-server.jar").read("META-INF/MANIFEST.MF").decode()
    assert all(len(line.encode()) <= 72 for line in manifest.split("\r\n"))
    joined = manifest.replace("\r\n ", "")
    assert "Main-Class: org.apache.beam.runners.flink.FlinkJobServerDriver\r\n" in joined
    assert re.search(r"Class-Path: (.*)\r\n", joined)[1].split() == sorted(f"lib/{name}" for name in names)


def test_the_kubernetes_manifest_has_the_fields_of_a_flink_deployment():
    deployment, _ = yaml.safe_load_all(KUBERNETES.read_text())
    assert (deployment["apiVersion"], deployment["kind"]) == ("flink.apache.org/v1beta1", "FlinkDeployment")
    spec = deployment["spec"]
    known = {"image", "flinkVersion", "serviceAccount", "mode", "flinkConfiguration", "jobManager", "taskManager"}
    assert set(spec) == known
    assert all(isinstance(value, str) for value in spec["flinkConfiguration"].values()), "Kubernetes wants strings"
    assert spec["flinkVersion"] == "v" + pieces.FLINK.replace(".", "_")
    assert f"flink:{pieces.FLINK}" in spec["image"]
    pod = spec["taskManager"]["podTemplate"]
    assert pod["kind"] == "Pod"
    main, pool = pod["spec"]["containers"]
    assert main == {"name": "flink-main-container"}, "the operator fills in the container of this name"
    assert pool["args"] == ["--worker_pool"]
    assert pool["ports"] == [{"containerPort": 50000}]
    assert "env" not in pool, "credentials come from a secret"


def test_the_network_policy_lets_only_flink_reach_the_ports_that_flink_is_told_to_use():
    deployment, policy = yaml.safe_load_all(KUBERNETES.read_text())
    assert (policy["apiVersion"], policy["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
    spec = policy["spec"]
    ours = {"matchLabels": {"app": deployment["metadata"]["name"]}}  # a label that the operator gives to its pods
    assert spec["podSelector"] == ours
    assert spec["policyTypes"] == ["Ingress"], "what no rule names is denied"
    pods, operator = spec["ingress"]
    assert pods["from"] == [{"podSelector": ours}]
    told = {int(value) for name, value in deployment["spec"]["flinkConfiguration"].items() if name.endswith(".port")}
    assert {each["port"] for each in pods["ports"]} == {*told, 8081}
    assert {each["port"] for each in operator["ports"]} == {8081}
    assert len(told) == 4
    assert 50000 not in told


def test_documents_name_the_versions_that_are_run():
    text = (ROOT / "docs" / "flink.md").read_text()
    assert f"| Beam's Flink runner (Java) | {pieces.BEAM_JAVA} |" in text
    assert re.search(rf"^\| Flink \| {re.escape(pieces.FLINK)}\.", text, re.MULTILINE)
    run = re.search(r"boot program \| ([\d.]+) \|", text)[1]
    assert importlib.metadata.version("apache-beam").split(".")[:2] == run.split(".")[:2], "run the Flink tests again"


def test_pieces_are_not_run_from_where_others_may_write(tmp_path, monkeypatch, capsys):
    tmp_path.chmod(0o777)
    monkeypatch.setenv("BEAM2VEC_PIECES", str(tmp_path / "pieces"))
    assert programs.found("boot") is None
    assert pieces.main(["boot"]) == 1
    told = f"boot cannot be had: everybody may write to {tmp_path}: set BEAM2VEC_PIECES to a folder of your own\n"
    assert capsys.readouterr().err == told


def test_without_a_home_a_folder_is_asked_for(monkeypatch, capsys):
    monkeypatch.delenv("BEAM2VEC_PIECES", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as with HOME unset and an unknown user
    assert pieces.main(["boot"]) == 1
    told = "boot cannot be had: you have no home: set BEAM2VEC_PIECES to a folder of your own\n"
    assert capsys.readouterr().err == told
    with pytest.raises(SystemExit):
        flink_cluster.main(["options"])
    assert "the following arguments are required: --folder" in capsys.readouterr().err
    assert flink_cluster.main(["options", "--folder=/nowhere"]) == 1
    assert "no cluster was started in /nowhere" in capsys.readouterr().err
