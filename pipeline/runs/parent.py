"""--update: the run that another one goes on from, and what is taken from it.

Taken are its options, the totals of words, the reservoir, the phrases, and the vectors. What stands in the child's
run.json are their digests, so it is known when the parent was another run. Once the child has stored the vectors that
it begins with (step 0 of the stage "trained"), the parent is not read again, and may be removed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import pyarrow as pa

from pipeline.batches.tokens import is_kept_back
from pipeline.errors import InputError
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.model.checkpoints import checkpoints
from pipeline.options import Options, shown_value
from pipeline.runs.run import Run
from pipeline.runs.start_vectors import StartRef, damage_named
from pipeline.runs.taken import SCHEMA as FILES_SCHEMA
from pipeline.storage.parquet import from_parquet
from pipeline.storage.records import Artifact, Record
from pipeline.words.phrases import PHRASES, phrases_stage
from pipeline.words.reservoir import STAGE as RESERVOIR
from pipeline.words.reservoir import Reservoir, ReservoirRef
from pipeline.words.totals import SCHEMA as TOTALS_SCHEMA
from pipeline.words.totals import STAGE as TOTALS

OPTION = "update"
_OF_FILES = ("encoding", "csv")
"""Members of a tokeniser's identity that belong to the files, which may be of another kind than the parent's."""
OF_FORMAT = ("field", "separator", "no_header", "no_quotes", "encoding")
"""Options of the parent that say nothing where the files are in another format."""
READ = (1,)
"""Versions of what a run hands on that are read; see `stage_keys.CARRIES`."""
LEARNING_RATE = 0.075
"""The learning rate of the first step of an update, unless another is given."""


@dataclasses.dataclass(frozen=True)
class ParentRef:
    """A reference to the parent as it was when the run began, for workers.

    Attributes:
      uri: of the run.
      step: of its checkpoint.
      model: digest of its model.
      totals, reservoir: digests of these artefacts; "" where it keeps no text.
      phrases: digests of the phrases, one a pass.
    """

    uri: str
    step: int
    model: str
    totals: str
    reservoir: str
    phrases: tuple[str, ...]

    @classmethod
    def of(cls, run: Run) -> ParentRef:
        """InputError unless the run has ended, and has what an update takes."""
        known = checkpoints(run.records, run.key(CHECKPOINTS))
        if not known or known[-1].step != known[-1].steps:
            place = f"it is at {known[-1].place}" if known else "it has no checkpoint yet"
            raise InputError(f"--{OPTION}={run.uri} has not ended ({place}): run it to its end first")
        ref = run.checkpoint()
        if run.identity["carries"] not in READ:
            raise InputError(
                f"--{OPTION}={run.uri} was made by a version of beam2vec whose runs cannot be updated by this one"
                f" (carries {run.identity['carries']}): train on all text with --start_from={run.uri}"
            )
        stages = (TOTALS, RESERVOIR) if run.options.replay_words else (TOTALS,)
        records = [run.records.load(stage, stage, run.key(stage)) for stage in stages]
        if None in records:
            raise InputError(f"--{OPTION}={run.uri} has lost its {stages[records.index(None)]}: start it again")
        totals, *reservoir = filter(None, records)
        for artifact in (*ref.parts, *totals.artifacts, *(part for record in reservoir for part in record.artifacts)):
            if damage := run.records.damage(artifact, "size"):
                raise InputError(
                    f"--{OPTION}={run.uri}: {run.records.uri(artifact)} {damage}: start the run in {run.uri} again,"
                    " with the options that it had, which mends it"
                )
        return cls(
            run.uri,
            ref.step,
            ref.digest,
            totals.artifacts[0].digest,
            reservoir[0].artifacts[1].digest if reservoir else "",
            tuple(_phrases(run, number).digest for number in range(1, run.options.phrases + 1)),
        )

    def identity(self) -> dict[str, Any]:
        """What stands in run.json of the child."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in ("uri", "step")}

    def start(self, dims: int) -> StartRef:
        """The vectors that the child begins with."""
        return StartRef(self.uri, dims, self.model, self.step, OPTION)

    def totals_table(self) -> pa.Table:
        """word, total; see `pipeline.words.totals`."""
        run, record = self._open(TOTALS)
        artifact = self._same(record.artifacts[0], self.totals)
        with damage_named(OPTION, self.uri):
            return from_parquet(run.records.read(artifact), TOTALS_SCHEMA, run.records.uri(artifact))

    def taken_files(self) -> pa.Table:
        """The files of the chain so far; see `pipeline.runs.taken`."""
        run, record = self._open(TOTALS)
        artifact = record.artifacts[1]
        with damage_named(OPTION, self.uri):
            return from_parquet(run.records.read(artifact), FILES_SCHEMA, run.records.uri(artifact))

    def words(self) -> pa.Array:
        """string [V], the vocabulary."""
        with damage_named(OPTION, self.uri):
            return Run(self.uri).vocabulary()["word"].combine_chunks().cast(pa.string())

    def open_reservoir(self, holdout: float = 0) -> Reservoir:
        """The sentences that may be replayed, without those that a --holdout of the child keeps back."""
        run, record = self._open(RESERVOIR)
        self._same(record.artifacts[1], self.reservoir)
        with damage_named(OPTION, self.uri):
            reservoir = ReservoirRef.of(record).open(run.records)
        return reservoir.where(~is_kept_back(reservoir.keys, holdout)) if holdout else reservoir

    def read_phrases(self, number: int) -> bytes:
        """The phrases of a pass (from 1), as they are stored."""
        run = Run(self.uri)
        artifact = self._same(_phrases(run, number), self.phrases[number - 1])
        with damage_named(OPTION, self.uri):
            return run.records.read(artifact)

    def _open(self, stage: str) -> tuple[Run, Record]:
        run = Run(self.uri)
        record = run.records.load(stage, stage, run.key(stage))
        if record is None:
            raise InputError(f"--{OPTION}={self.uri} is not what it was when this run began: its {stage} are gone")
        return run, record

    def _same(self, artifact: Artifact, digest: str) -> Artifact:
        if artifact.digest != digest:
            raise InputError(f"--{OPTION}={self.uri} changed during the run; run again with --overwrite")
        return artifact


def _phrases(run: Run, number: int) -> Artifact:
    stage = phrases_stage(number)
    record = run.records.load(stage, PHRASES, run.key(stage))
    if record is None:
        raise InputError(f"--{OPTION}={run.uri} has lost its phrases: start it again, which makes them again")
    return record.artifact


def options_of_child(parent: Run, options: Options, set_by_user: Collection[str]) -> Options:
    """The options of a run that updates `parent`: those that the user has set, else those of the parent.

    Raises:
      InputError: the user has set an option that has to be as in the parent to another value (all are named); or
        options do not go together.
    """
    fields = {field.name: field.metadata for field in dataclasses.fields(Options)}
    old = parent.options
    unequal = [
        f"--{name} is {shown_value(name, getattr(options, name))}, it has {shown_value(name, getattr(old, name))}"
        for name, meta in fields.items()
        if meta["child"] == "same" and name in set_by_user and getattr(options, name) != getattr(old, name)
        if name != "stopwords"  # what is in the files decides
    ]
    if unequal:
        raise InputError(
            f"--{OPTION}={parent.uri} was made with other options: {'; '.join(unequal)}. Leave them out, or"
            f" --start_from={parent.uri}"
        )
    other_format = "input_format" in set_by_user and options.input_format != old.input_format
    taken = {
        name: getattr(old, name)
        for name, meta in fields.items()
        if meta["kind"] != "execution" and meta["child"] != "own" and name not in set_by_user
        if not (other_format and name in OF_FORMAT)
    }
    if "learning_rate" not in set_by_user:
        taken["learning_rate"] = LEARNING_RATE
    child = dataclasses.replace(options, **taken)
    child.check()
    return child


def check_tokenizer(parent: Run, identity: dict[str, Any], accept: bool) -> list[str]:
    """How the tokeniser differs from the parent's, for warnings.

    Args:
      identity: that of the child; `accept`: whether another version of a dictionary is accepted.

    Raises:
      InputError: it differs, and that was not accepted, or is more than a version.
    """
    before, now = parent.identity["tokenizer"], identity["tokenizer"]
    names = [name for name in {**before, **now} if before.get(name) != now.get(name) and name not in _OF_FILES]
    if "items" in names:
        names = ["items"]  # the others follow from it
    lines = [_difference(name, before.get(name), now.get(name)) for name in names]
    old, new, field = before.get("csv"), now.get("csv"), parent.options.field or ""
    if old and new and field.isdecimal() and old["fields"] != new["fields"]:
        lines.append(
            f"--field={field} is one of {new['fields']} fields, and was one of {old['fields']} in the parent's text"
        )
    if not lines:
        return []
    fixed = {"name", "items", "stopwords", "lowercase", "normalize"} & set(names)
    if fixed or not accept:
        remedy = f"bring the text into that form, or --start_from={parent.uri} with all text"
        remedy = remedy if fixed else "--accept_tokenizer goes on all the same"
        raise InputError(f"--{OPTION}={parent.uri}: {'; '.join(lines)}; {remedy}")
    return lines


def _difference(name: str, before: Any, now: Any) -> str:
    """A difference in words."""
    if name == "stopwords":
        return "--stopwords has other words than the parent's had: give it those"
    if name == "items":
        return f"the text is {_kind(now)}, the parent's was {_kind(before)}"
    return f"the tokenizer's {name} is {now or 'none'}, the parent's was {before or 'none'}"


def _kind(items: str | None) -> str:
    return f"lists of {items}" if items else "text"
