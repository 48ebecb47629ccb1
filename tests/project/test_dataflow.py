"""The Flex Template: its parameters are our options, its image holds what workers need, its launcher leaves."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from deploy.dataflow.metadata import metadata
from jobs.cli.parser import parser, read
from pipeline.options import Options
from tests.helpers.commands import ROOT
from tests.helpers.dockerfile_replay import DOCKERFILE, replay, steps

PARAMETERS = {parameter["name"]: parameter for parameter in metadata()["parameters"]}


def test_the_written_metadata_are_those_of_the_options():
    written = json.loads((ROOT / "deploy" / "dataflow" / "metadata.json").read_text())
    assert written == metadata(), "run: python -m deploy.dataflow.metadata > deploy/dataflow/metadata.json"


def value_of(name: str) -> str:
    """A value that a user of the template may give for an option."""
    field = next(field for field in dataclasses.fields(Options) if field.name == name)
    if field.metadata["choices"]:
        return field.metadata["choices"][-1]
    if name == "separator":
        return ";"
    if field.default is None:
        return {"int": "10", "float": "0.5"}.get(str(field.type).partition(" ")[0], "x")
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


@pytest.mark.parametrize("name", sorted(PARAMETERS.keys() - {"input", "output", "corpus", "overwrite"}))
def test_a_parameter_is_an_option_that_takes_what_its_pattern_lets_through(name):
    value = value_of(name)
    for pattern in PARAMETERS[name].get("regexes", []):
        assert re.search(pattern, value)
        assert not re.search(pattern, "no value of it")
    command = read([f"--{name}={value}", "--input=gs://a/b", "--output=gs://a/c"], parser("jobs.train", ""))
    assert str(getattr(command.options, name)).lower() == value.lower()


def test_switches_can_be_given_with_a_value_as_launchers_do():
    def given(*arguments: str):
        return read([*arguments, "--input=a", "--output=b"], parser("jobs.train", ""))

    assert given("--lowercase=true", "--overwrite=true").options.lowercase
    assert given("--overwrite=true").overwrite
    assert not given("--overwrite=false").overwrite
    assert not given("--lowercase=false").options.lowercase
    assert not given("--no_report=true").report


def test_the_image_has_the_versions_that_this_project_asks_for():
    text = DOCKERFILE.read_text()
    python = re.search(r"^FROM apache/beam_python([\d.]+)_sdk:\$\{BEAM\}$", text, re.MULTILINE)[1]
    beam = re.search(r"^ARG BEAM=([\d.]+)$", text, re.MULTILINE)[1]
    assert "apache-beam[gcp]==${BEAM}" in text
    assert "latest" not in text
    low, high = re.search(r"apache-beam>=([\d.]+),<([\d.]+)", (ROOT / "requirements.txt").read_text()).groups()
    assert [int(n) for n in low.split(".")] <= [int(n) for n in beam.split(".")] < [int(n) for n in high.split(".")]
    assert f"python{python.replace('.', '')}-template-launcher" in text


def test_all_that_is_installed_is_copied_first():
    copied: set[str] = set()
    for step in steps():
        if step.name == "COPY" and not step.text.startswith("--from"):
            copied |= set(step.text.split()[:-1])
    packages = re.search(r"include = \[(.*)\]", (ROOT / "pyproject.toml").read_text())[1]
    assert {name.strip('"*') for name in packages.split(", ")} <= copied
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_image_replayed_without_an_engine_trains_and_makes_a_template(tmp_path):
    replay(tmp_path)
