"""The records of a run that takes its corpus side from another run.

Records of the other run under the same stage keys count as this run's. The other run is only read; new work goes to the
output of this run.
"""

from __future__ import annotations

import dataclasses

from pipeline.errors import ArtifactError
from pipeline.runs.stage_keys import CORPUS_STAGES
from pipeline.storage.records import Record, Records, remedy

TAKEN = CORPUS_STAGES
"""Stages whose records are looked up in the other run too."""


@dataclasses.dataclass(frozen=True)
class CorpusRecords(Records):
    """Own records first, then those of `corpus`, whose artefacts get its root. Picklable."""

    corpus: Records

    def load(self, stage: str, name: str, key: str) -> Record | None:
        record = super().load(stage, name, key)
        if record is None and stage in TAKEN:
            record = self.corpus.load(stage, name, key)
            return self._with_root(record) if record else None
        return record

    def valid(self, stage: str, name: str, key: str, check: str = "size") -> Record | None:
        """Like `Records.valid`; ArtifactError if an artefact of the other run is missing or differs."""
        own = super().valid(stage, name, key, check)
        if own is None and (record := self.load(stage, name, key)):
            for artifact in record.artifacts:
                if artifact.root and (damage := self.damage(artifact, check)):
                    raise ArtifactError(f"{self.uri(artifact)} {damage}: {remedy(artifact, damage == 'is missing')}")
        return own

    def has_any(self, stage: str, key: str) -> bool:
        return super().has_any(stage, key) or (stage in TAKEN and self.corpus.has_any(stage, key))

    def names(self, stage: str, key: str) -> list[str]:
        others = self.corpus.names(stage, key) if stage in TAKEN else []
        return sorted({*super().names(stage, key), *others})

    def all(self, stage: str, key: str, strict: bool = False) -> list[Record]:
        """The records of both runs, each name once."""
        own = super().all(stage, key, strict)
        if stage not in TAKEN:
            return own
        own_names = {record.name for record in own}
        return own + [self._with_root(r) for r in self.corpus.all(stage, key, strict) if r.name not in own_names]

    def _with_root(self, record: Record) -> Record:
        root = self.corpus.storage.root
        return dataclasses.replace(record, artifacts=tuple(dataclasses.replace(a, root=root) for a in record.artifacts))
