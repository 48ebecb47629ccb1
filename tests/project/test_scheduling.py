"""The files in deploy/scheduling are ones that their schedulers take, with options that the command has."""

from __future__ import annotations

import ast
import configparser
import pathlib
import re
import shlex
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml

from jobs import follow
from jobs.runners import signals
from tests.helpers.commands import ROOT

FOLDER = ROOT / "deploy" / "scheduling"
PAGE = (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")


def options_of(arguments: list[str]) -> None:
    """All are options of the command itself."""
    given, others = follow._parser().parse_known_args(arguments)
    assert others == []
    assert given.once


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read(FOLDER / name)
    return parser


def test_the_page_names_all_files():
    assert {f"deploy/scheduling/{path.name}" for path in FOLDER.iterdir() if path.is_file()} == set(
        re.findall(r"`(deploy/scheduling/[\w.-]+)`", PAGE)
    )


def test_the_crontab_has_five_fields_and_a_command():
    (line,) = [line for line in (FOLDER / "crontab").read_text().splitlines() if line and line[0] != "#"]
    *fields, command = line.split(None, 5)
    assert all(re.fullmatch(r"[\d*/,-]+", field) for field in fields)
    assert "%" not in command
    options_of(shlex.split(command)[2:])


def test_the_service_waits_longer_than_training_needs_for_a_checkpoint():
    service, timer = unit("beam2vec-follow.service")["Service"], unit("beam2vec-follow.timer")["Timer"]
    options_of(shlex.split(service["ExecStart"])[2:])
    assert service["Type"] == "oneshot"
    assert int(service["TimeoutStopSec"]) > signals._PATIENCE
    assert timer["OnCalendar"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd")
def test_systemd_reads_the_timer():
    calendar = unit("beam2vec-follow.timer")["Timer"]["OnCalendar"]
    subprocess.run(["systemd-analyze", "calendar", calendar], check=True, capture_output=True)


def test_the_cron_job_is_what_kubernetes_takes():
    job = yaml.safe_load((FOLDER / "cronjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"], job["spec"]["concurrencyPolicy"]) == ("batch/v1", "CronJob", "Forbid")
    spec = job["spec"]["jobTemplate"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never"  # which podFailurePolicy needs
    assert pod["terminationGracePeriodSeconds"] > signals._PATIENCE
    first, second = spec["podFailurePolicy"]["rules"]
    assert (first["action"], first["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert (second["action"], second["onExitCodes"]["values"]) == ("FailJob", [2, follow.REFUSED])
    assert second["onExitCodes"]["containerName"] == container["name"]
    options_of(container["command"][2:])


@pytest.mark.parametrize("version", ["1.31", "1.34"])  # podFailurePolicy is stable from 1.31 on
def test_the_cron_job_is_valid_by_the_schema_of_kubernetes(version):
    job = yaml.safe_load((FOLDER / "cronjob.yaml").read_text())
    kubernetes_validate.validate(job, version, strict=True)
    rule = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"][0]
    rule["acts"] = rule.pop("action")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, version, strict=True)


@pytest.mark.parametrize("name", ["airflow_dag.py", "airflow_on_kubernetes.py"])
def test_the_dags_are_python_and_take_the_partition_from_the_date(name):
    tree = ast.parse((FOLDER / name).read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    (operator,) = [call for call in calls if getattr(call.func, "id", "").endswith("Operator")]
    named = {keyword.arg: keyword.value for keyword in operator.keywords}
    words = " ".join(
        node.value for node in ast.walk(operator) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    assert "--partition={{ ds }}" in words
    assert "--nothing_new=99" in words
    assert ast.literal_eval(named["skip_on_exit_code"]) == 99
    known = {option for action in follow._parser()._actions for option in action.option_strings}
    assert set(re.findall(r"--[a-z_]+", words)) <= known


def test_statuses_of_the_page_are_those_of_the_command():
    written = {int(status) for status in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert {follow.REFUSED, follow.OVERDUE, 0, 1, 2, 3} <= written
    statuses = pathlib.Path(ROOT / "docs" / "statuses.md").read_text(encoding="utf-8")
    assert f"\n| {follow.REFUSED} |" in statuses
    assert f"\n| {follow.OVERDUE} |" in statuses
