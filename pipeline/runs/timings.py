"""How long the stages of a run took, and what was warned of, in all commands that worked on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from pipeline.storage.commits import Commits
from pipeline.storage.records import Records

STAGE = "timings"
_NAME = "seconds"
_WARNINGS = "warnings"
MOST_WARNINGS = 50
"""Those that come later are left out: a run may be tried again for ever."""


@dataclasses.dataclass(frozen=True)
class StageSeconds:
    """Wall time of one stage."""

    stage: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class TimingNumbers:
    """What is recorded: the stages in their order."""

    stages: list[StageSeconds]


def add_timings(commits: Commits, seconds: Mapping[str, float]) -> None:
    """Adds the seconds of this process to those of earlier ones.

    Args:
      commits: of the checkpoints.
      seconds: stage -> wall time, in the order of the stages.
    """
    known = read_timings(commits.records, commits.key)
    for stage, more in seconds.items():
        known[stage] = round(known.get(stage, 0.0) + more, 3)
    stages = [StageSeconds(stage, took) for stage, took in known.items()]
    commits.beside(STAGE).commit(_NAME, (), TimingNumbers(stages))


def read_timings(records: Records, key: str) -> dict[str, float]:
    """Stage -> seconds; {} if the command of the run did not stay to its end.

    Args:
      key: of the checkpoints.
    """
    record = records.load(STAGE, _NAME, key)
    return {stage.stage: stage.seconds for stage in record.read(TimingNumbers).stages} if record else {}


@dataclasses.dataclass(frozen=True)
class WarningNumbers:
    """What is recorded of warnings: their lines, each once."""

    lines: list[str]


def add_warnings(commits: Commits, lines: Iterable[str]) -> None:
    """Adds the warnings of this process to those of earlier ones.

    Args:
      commits: of the checkpoints.
    """
    known = read_warnings(commits.records, commits.key)
    together = list(dict.fromkeys([*known, *lines]))[:MOST_WARNINGS]
    if together != known:
        commits.beside(STAGE).commit(_WARNINGS, (), WarningNumbers(together))


def read_warnings(records: Records, key: str) -> list[str]:
    """The warnings of a run; [] where there was none, or the command of the run did not stay to its end.

    Args:
      key: of the checkpoints.
    """
    record = records.load(STAGE, _WARNINGS, key)
    return record.read(WarningNumbers).lines if record else []
