"""How long each stage of a run took, over all the times it was resumed; in no digest."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.storage.records import Record, Records

STAGE = "timings"
_NAME = "seconds"


def add_timings(records: Records, key: str, seconds: Mapping[str, float]) -> None:
    """Adds the seconds of this process to those of the ones before it.

    Args:
      key: stage key of "checkpoints".
      seconds: stage -> wall time, in the order of the stages.
    """
    known = read_timings(records, key)
    for stage, more in seconds.items():
        known[stage] = round(known.get(stage, 0.0) + more, 3)
    records.commit(Record(STAGE, _NAME, key, (), {"order": list(known), "seconds": known}))


def read_timings(records: Records, key: str) -> dict[str, float]:
    """Stage -> seconds; {} of a run whose driver did not stay to the end."""
    record = records.load(STAGE, _NAME, key)
    if record is None:
        return {}
    return {stage: record.numbers["seconds"][stage] for stage in record.numbers["order"]}
