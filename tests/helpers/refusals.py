"""What is said of a runner that cannot be had."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from jobs.runners import launch as runners
from pipeline.errors import InputError

FLINK = ("--runner=FlinkRunner", "--job_server_java_launcher=true")


def refusal(*arguments: str) -> str:
    with pytest.raises(InputError) as raised:
        runners.check_runner(PipelineOptions([*arguments]))
    return str(raised.value)
