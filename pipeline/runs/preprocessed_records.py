"""The records of a run that takes its corpus side from another run.

Records of the other run under the same stage keys count as this run's. The other run is only read; new work goes to the
output of this run. run.json may come from somebody else, so a reader contacts another store only if the user names it.
"""

from __future__ import annotations

import dataclasses
import re
from typing import NoReturn

from pipeline.errors import ArtifactError, InputError
from pipeline.runs.stage_keys import CORPUS_STAGES
from pipeline.runtime.shown_text import shown
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Record, Records, remedy

TAKEN = CORPUS_STAGES
"""Stages whose records are looked up in the other run too."""


_STORE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")
_allowed: set[str] = set()
"""Runs in other stores that the user has named."""


def allow_corpus(uri: str) -> str:
    """Lets this process read the corpus side of runs from another run, wherever that is; returns its uri."""
    _allowed.add(open_storage(uri).root)
    return uri


def records_of_corpus(root: str, corpus: str) -> Records:
    """The records of the run that run.json in `root` names as its corpus."""
    stores = [match[0] if (match := _STORE.match(place)) else "" for place in (root, corpus)]
    storage = open_storage(corpus)
    if stores[0] == stores[1] or storage.root in _allowed:
        return Records(storage)
    return _Uncontacted(storage)


@dataclasses.dataclass(frozen=True)
class _Uncontacted(Records):
    """The records of a run in another store, which are not read."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        corpus = shown(self.storage.root)
        raise InputError(
            f"the run takes words and tokens from {corpus}, which is in another store than the run itself: repeat"
            f" --corpus={corpus} if it may be contacted"
        )

    load = names = all = has_any = _refuse


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
