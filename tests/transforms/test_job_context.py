"""What every stage is handed, and that the command hears of every stage's errors."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import apache_beam as beam
import pytest

import transforms
from pipeline.errors import InputError
from pipeline.storage import failures
from tests.helpers.world import make_context
from transforms.job_context import StageDoFn


def dofns() -> set[type[beam.DoFn]]:
    modules = [importlib.import_module(f"transforms.{info.name}") for info in pkgutil.iter_modules(transforms.__path__)]
    classes = {cls for module in modules for cls in vars(module).values() if isinstance(cls, type)}
    ours = {cls for cls in classes if issubclass(cls, beam.DoFn) and cls.__module__.startswith("transforms")}
    of_others = {"transforms.sentences", "transforms.any_pipeline"}  # in graphs that have no run
    return {cls for cls in ours if cls.__module__ not in of_others}


def test_every_stage_writes_its_errors_down():
    assert len(dofns()) > 10
    assert [cls for cls in dofns() if not issubclass(cls, StageDoFn)] == []


class Generates(StageDoFn):
    def process(self, element: int):
        yield element
        raise InputError("after the first")


class Returns(StageDoFn):
    def process(self, element: int):
        raise InputError("at once")


class Sets(StageDoFn):
    def start_bundle(self):
        raise InputError("before the first")

    process = beam.DoFn.process


def worked_on(dofn: StageDoFn) -> list[int]:
    dofn.start_bundle()
    return list(dofn.process(3))


@pytest.mark.parametrize(
    ("cls", "told"), [(Generates, "after the first"), (Returns, "at once"), (Sets, "before the first")]
)
def test_an_error_is_written_down_wherever_it_is_raised(tmp_path, cls, told):
    context = dataclasses.replace(make_context([], tmp_path), lock_token="12ab" * 8)
    with pytest.raises(InputError):
        worked_on(cls(context))
    assert str(failures.read(context.records.storage, context.lock_token)) == told
