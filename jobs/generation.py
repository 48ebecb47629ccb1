"""Makes one generation of a series: looks at its text, trains, compares, and says what became of it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from jobs.graph import new_graph, pipeline_options
from jobs.runners.signals import stopping_on_signals
from jobs.sources import Request
from jobs.training_job import Job, run_job
from pipeline.batches.sampling import draws_key
from pipeline.corpus.files import InputFile
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.errors import InputError, NonFiniteError
from pipeline.options import Options
from pipeline.runs.parent import ParentRef, options_of_child
from pipeline.runs.run import Run
from pipeline.runs.taken import new_files
from pipeline.series import figures, gates
from pipeline.series.decisions import Decision
from pipeline.series.entries import COLD, UPDATE, WARM, Decided, Figure, Policy, Promoted, Refused, Void
from pipeline.series.partitions import File, Places, altered, stated
from pipeline.series.policies import options_of
from pipeline.series.retention import CHECKS, UPDATES
from pipeline.series.state import State
from pipeline.storage.storage import Storage

RETRAIN_EPOCHS, RETRAIN_RATE = 2, 0.025
"""Of the second half of a retrain, over all text."""
_BAD = "max_bad_lines"
_DENIED = "permission denied"
_LOOKING = ("min_count", "max_vocabulary", "vocabulary", "phrases", "phrase_threshold", "phrase_discount", "holdout")
_WHOLE = {**{name: getattr(Options(), name) for name in (*_LOOKING, "batches")}, "min_count": 1}
"""Options with which text is looked at: all its words count, as they stand there."""


@dataclasses.dataclass(frozen=True)
class Maker:
    """Makes generations in a series.

    Attributes:
      request: for options of execution, and Beam's.
      release: gives the lock of the series up, where a signal ends the process.
    """

    series: Storage
    request: Request
    release: Callable[[], None]

    def options_for(self, policy: Policy, decision: Decision) -> tuple[dict[str, Any], dict[str, Any]]:
        """All options that decide bytes: of the generation, and of the update that begins a retrain ({} without)."""
        own = options_of(policy)
        if decision.mode == COLD:
            return _bytes(own), {}
        assert decision.parent
        if own.model == "skipgram":
            parent = Run(self.series.uri(decision.parent.folder))
            child = _bytes(options_of_child(parent, own, set(policy.options)))
        else:
            child = {}
        if decision.mode == UPDATE:
            return child, {}
        seed = draws_key(own.seed, decision.parent.model)  # else it would train on the pairs of the first generation
        return _bytes(dataclasses.replace(own, epochs=RETRAIN_EPOCHS, learning_rate=RETRAIN_RATE, seed=seed)), child

    def make(self, state: State, decided: Decided, files: Sequence[File], places: Places) -> Promoted | Refused | Void:
        """Makes a generation that is decided and open, from files that are as they were."""
        found: list[Figure] = []

        def ended(why: str) -> Refused:
            return Refused(name=decided.name, folder=decided.folder, why=why, figures=tuple(found))

        self._check_machine(decided)
        own = [file for file in files if file.partition == decided.partition]
        if decided.partition:
            try:
                found += self._judged(state, decided, self._before(state, decided, own, places))
            except InputError as error:
                if why := altered(places, files):
                    return Void(folder=decided.folder, why=why)
                if _DENIED in str(error):
                    raise
                gate = gates.BAD_LINES if _BAD in str(error) else gates.WORDS
                found.append(Figure(gate, verdict=gates.REFUSES, why=str(error)))
        if why := gates.refusal(found):
            return ended(why)
        try:
            run = self._trained(decided, files, own, places)
        except (_TrainingStoppedError, NonFiniteError) as error:
            if why := altered(places, files):
                return Void(folder=decided.folder, why=why)
            return ended(f"training: {error}")
        if state.current and decided.partition:
            found += self._judged(state, decided, self._after(state, decided, run))
            if why := gates.refusal(found):
                return ended(why)
        return Promoted(name=decided.name, folder=decided.folder, model=run.checkpoint().digest, figures=tuple(found))

    def _check_machine(self, decided: Decided) -> None:
        """InputError if nothing can be trained here, whatever the text is."""
        options = self._options(decided.options)
        forms = options.normalize or "", options.stopwords or ""
        open_tokenizer(options.tokenizer, options.lowercase, options.max_sentence, *forms)
        new_graph(pipeline_options(self.request.beam, options.thread_count))

    def _judged(
        self, state: State, decided: Decided, measured: Sequence[tuple[str, float | None]]
    ) -> tuple[Figure, ...]:
        assert state.policy
        judged = (gates.judged(gate, value, state, decided.mode, decided.partition) for gate, value in measured)
        return gates.settled(judged, state.policy.gates, decided.forced)

    def _before(
        self, state: State, decided: Decided, own: Sequence[File], places: Places
    ) -> list[tuple[str, float | None]]:
        """The figures of the text."""
        if not decided.bytes:
            return [(gates.WORDS, 0.0)]
        said = stated(places, own)
        _compare("files", said.files, len(own), places)
        _compare("bytes", said.bytes, decided.bytes, places)
        parent = Run(self.series.uri(state.current)) if state.current else None
        if parent and _are_taken(parent, own, places):
            return [(gates.SEEN, 1.0)]
        text = figures.Text(self._counted(decided, own, places))
        _compare("rows", said.rows, text.lines(), places)
        measured: list[tuple[str, float | None]] = [(gates.WORDS, text.size()), (gates.BAD_LINES, text.bad_lines())]
        if parent:
            sample = figures.sample_of(text, parent.options.holdout)
            losses = figures.losses(sample, parent, [parent])
            measured += [
                (gates.UNKNOWN, figures.unknown_share(text, parent)),
                (gates.SURPRISE, losses[0] if losses else None),
                (gates.SEEN, figures.seen_share(text, parent)),
            ]
        return measured

    def _after(self, state: State, decided: Decided, run: Run) -> list[tuple[str, float | None]]:
        """The figures of the model."""
        before = Run(self.series.uri(state.current))
        text = figures.Text(Run(self.series.uri(_place(CHECKS, decided))))
        losses = figures.losses(figures.sample_of(text, before.options.holdout), before, [before, run])
        measured: list[tuple[str, float | None]] = [(gates.LOSS, losses[1] - losses[0] if losses else None)]
        if decided.mode != COLD:
            measured.append((gates.KEPT, figures.neighbors_kept(before, run)))
        assert state.policy
        changes = figures.changes(before, run, state.policy.pairs)
        return measured + [(f"{gates.PAIRS}:{uri}", change) for uri, change in changes]

    def _counted(self, decided: Decided, own: Sequence[File], places: Places) -> Run:
        """The text of the partition, encoded with all its words."""
        options = self._options({**decided.options, **_WHOLE})
        request = self._request(options, own, places, self.series.uri(_place(CHECKS, decided)))
        return self._run(Job.of(dataclasses.replace(request, overwrite=True), trains=False))

    def _trained(self, decided: Decided, files: Sequence[File], own: Sequence[File], places: Places) -> Run:
        parent = self.series.uri(decided.parent.folder) if decided.parent else ""
        output = self.series.uri(decided.folder)
        options = self._options(decided.options)
        if decided.mode == UPDATE:
            return self._train(dataclasses.replace(options, update=parent), own, places, output)
        if decided.mode == WARM and decided.first_options:
            half = self.series.uri(_place(UPDATES, decided))
            first = self._options(decided.first_options)
            self._train(dataclasses.replace(first, update=parent), own, places, half)
            parent = half
        if parent:
            options = dataclasses.replace(options, start_from=parent)
        return self._train(options, files, places, output)

    def _train(self, options: Options, files: Sequence[File], places: Places, output: str) -> Run:
        request = self._request(options, files, places, output)
        job = Job.of(dataclasses.replace(request, skip_taken=bool(options.update)))
        try:
            return self._run(job)
        except InputError as error:
            raise _TrainingStoppedError(str(error)) from error

    def _run(self, job: Job) -> Run:
        def around(release: Callable[[], None]) -> contextlib.AbstractContextManager:
            def both() -> None:
                release()
                self.release()

            return stopping_on_signals(both)

        result = run_job(job, around)
        if not result.has_ended:
            raise InputError("a series waits for its jobs: leave out the option by which this one goes on alone")
        return result.run

    def _request(self, options: Options, files: Sequence[File], places: Places, output: str) -> Request:
        inputs = tuple(places.storage.uri(file.path) for file in files)
        names = frozenset(field.name for field in dataclasses.fields(Options))
        return Request(inputs, output, False, False, options, self.request.beam, set_by_user=names)

    def _options(self, values: dict[str, Any]) -> Options:
        """The options of a decided generation, with those of execution that this call has."""
        return dataclasses.replace(self.request.options, **values, update=None, start_from=None)


class _TrainingStoppedError(Exception):
    """Nothing can be trained on this text, or with these options."""


def _compare(what: str, said: int | None, there: int, places: Places) -> None:
    """InputError unless there is as much as the marker says."""
    if said is not None and said != there:
        raise InputError(f"{places.policy.done} says {said:,} {what}, and there are {there:,}")


def _place(top: str, decided: Decided) -> str:
    return f"{top}/{decided.folder.rpartition('/')[2]}"


def _bytes(options: Options) -> dict[str, Any]:
    """The options that decide bytes, but for the runs that it goes on from; and how many bad lines are tolerated."""
    values = {**options.of_kind("model"), **options.of_kind("layout"), _BAD: options.max_bad_lines}
    return {name: value for name, value in values.items() if name not in ("update", "start_from")}


def _are_taken(parent: Run, own: Sequence[File], places: Places) -> bool:
    """Whether the chain has taken all these files, under whatever names."""
    inputs = [InputFile(places.storage.uri(file.path), file.size, file.version) for file in own]
    taken, reader = ParentRef.of(parent).taken_files(), open_reader(parent.options, inputs)
    try:
        return not new_files(inputs, taken, reader, True, "the series")
    except InputError:
        return True
