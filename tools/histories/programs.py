"""What simulated processes run: the commands of the product, with training and counting replaced by cheap functions.

Where the product's own code can be called it is: lock, sweep, run directory, commits, checkpoints, verification. What
wires them stands here, in the order of `jobs/training_job.py` and `pipeline/training/trainer.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.training_job import holding
from pipeline.batches.schedule import step_name
from pipeline.batches.tokens import STAGE as TOKENS
from pipeline.batches.tokens import TokenNumbers
from pipeline.corpus.digests import FileDigests
from pipeline.errors import ArtifactError
from pipeline.model import checkpoints, loss_curve
from pipeline.model.checkpoints import CheckpointNumbers, commit_checkpoint, prune_checkpoints, record_end
from pipeline.model.loss_curve import PointNumbers
from pipeline.model.model import Model, model_digest
from pipeline.options import Options
from pipeline.runs.directory import make_identity, open_or_create
from pipeline.runs.timings import add_timings
from pipeline.runs.verify import VerifyReport, verify_run
from pipeline.storage import failures
from pipeline.storage.commits import Commits, Made
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from pipeline.training.trainer import resume_point
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.counts import CountNumbers
from pipeline.words.reservoir import STAGE as RESERVOIR
from pipeline.words.reservoir import Reservoir, stored_part, stored_reservoir
from pipeline.words.stored_unigram import STAGE as UNIGRAM
from pipeline.words.totals import STAGE as TOTALS
from pipeline.words.totals import TotalsNumbers
from pipeline.words.vocabulary import STAGE as VOCABULARY
from pipeline.words.vocabulary import VocabularyNumbers
from tools.histories.machine import Machine, Process, Thread

UNITS = 2
STEPS = 3
"""Of the training; each is followed by a checkpoint."""
_UNITS = [f"unit-{unit:09d}" for unit in range(UNITS)]
_WORDS = pa.array(["a", "rose"])


@dataclasses.dataclass(frozen=True)
class _Input:
    uri: str
    size: int
    version: str


VARIANTS = {
    "plain": Options(dims=2, keep_checkpoints=1),
    "other dims": Options(dims=3, keep_checkpoints=1),
    "other words": Options(dims=2, keep_checkpoints=1, min_count=7),
}
"""Options of runs: the second shares the corpus side of the first, the third only its counts."""


@functools.cache
def identity_of(variant: str) -> dict[str, Any]:
    inputs = [_Input(f"/in/{unit}.txt", 10, "1") for unit in range(UNITS)]
    return make_identity(VARIANTS[variant], inputs, {"tokenizer": "words"})


@functools.cache
def _model(step: int, dims: int) -> tuple[Model, bytes]:
    """The model after a step, and its Parquet."""
    vectors = np.full((2, dims), step, np.float32)
    model = Model(_WORDS, np.array([3, 1]), vectors, vectors)
    passed: list[bytes] = []

    class Kept(Commits):
        def stream(self, tail: str, write: Callable[[Any], object]) -> Any:
            sink = pa.BufferOutputStream()
            write(sink)
            passed.append(sink.getvalue().to_pybytes())

    checkpoints.write_partition(Kept(Records(open_storage("/")), "", ""), step, (0, 1), model, {})
    return model, passed[0]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a command divides its work."""

    workers: int = 2
    processes: bool = True
    """whether workers are processes of their own"""
    orphans: bool = False
    """whether they go on without the command"""
    lost: float = 0.0
    """how often the command takes a worker for lost that goes on"""
    seconds: float = 1.0
    """that a piece of work takes at most"""


def _sentences(unit: str) -> Reservoir:
    """A sentence of one word."""
    key = int.from_bytes(hashlib.blake2b(unit.encode(), digest_size=8).digest())
    word = pa.array([unit], pa.string())
    return Reservoir(word, np.array([key], np.uint64), np.zeros(1, np.int32), np.array([0, 1]))


class Command:
    """`beam2vec train`, in a simulated process."""

    def __init__(
        self, machine: Machine, root: str, variant: str, overwrite: bool, layout: Layout, take_over: bool = False
    ):
        self.machine, self.root, self.variant = machine, root, variant
        self.overwrite, self.layout, self.take_over = overwrite, layout, take_over

    def __call__(self) -> str:
        machine, me = self.machine, self.machine.current.process
        machine.note(f"{me.name} wants {self.variant}{' --overwrite' if self.overwrite else ''}")
        with holding(self.root, lambda release: contextlib.nullcontext(), self.take_over) as lock:
            me.token = lock.token
            run = open_or_create(self.root, identity_of(self.variant), self.overwrite, lock.token)
            stages = _Stages(run.records, run.keys, lock.token, machine, self.layout.seconds)
            self._all(me, stages, _UNITS, stages.count)
            self._all(me, stages, [VOCABULARY], stages.vocabulary)
            self._all(me, stages, [UNIGRAM, *_UNITS], stages.unigram_or_tokens)
            self._all(me, stages, [RESERVOIR], stages.reservoir)
            self._all(me, stages, ["train"], lambda name: stages.train(VARIANTS[self.variant]))
            add_timings(stages.commits("checkpoints"), {"Train": 1.0})
            lock.renew()
        return self.variant

    def _all(self, me: Process, stages: _Stages, pieces: Sequence[str], do: Callable[[str], object]) -> None:
        """Has all pieces made by workers; those of a worker that was killed or is taken for lost are made again."""
        machine, done = self.machine, set[str]()
        for _ in range(20):
            queue = [piece for piece in pieces if piece not in done]
            if not queue:
                return
            workers = [self._worker(me, stages, queue, done, do) for _ in range(min(len(queue), self.layout.workers))]
            for worker in workers:
                if machine.random.random() < self.layout.lost:
                    machine.has_two_trainers |= pieces == ["train"]
                    continue
                machine.join(worker)
                if worker.error:
                    raise worker.error
        raise ArtifactError("workers are lost again and again")

    def _worker(
        self, me: Process, stages: _Stages, queue: list[str], done: set[str], do: Callable[[str], object]
    ) -> Thread:
        def work() -> None:
            with failures.recorded(stages.records.storage, stages.token):
                while queue:
                    piece = queue.pop()
                    do(piece)
                    done.add(piece)

        if not self.layout.processes:
            return self.machine.thread(me, work)
        worker = self.machine.start(f"{me.name}'s worker", me.host, work, parent=me)
        if self.layout.orphans:
            me.children.pop()
        return worker


@dataclasses.dataclass(frozen=True)
class _Stages:
    """What workers do."""

    records: Records
    keys: dict[str, str]
    token: str
    machine: Machine
    seconds: float

    def commits(self, stage: str) -> Commits:
        return Commits(self.records, stage, self.keys[stage], "", self.token)

    def _take_time(self) -> None:
        self.machine.sleep(self.seconds * self.machine.random.random())

    def count(self, name: str) -> None:
        commits, unit = self.commits(COUNTS), int(name[-1])
        digests = [FileDigests(f"/in/{unit}.txt", 0, ["0" * 32])]

        def make() -> Made:
            self._take_time()
            artifact = commits.put(f"{name}.parquet", _content(commits, name))
            return [artifact], CountNumbers(1, 0, 2, 10, 2, "0" * 16, digests)

        commits.once(name, make)

    def vocabulary(self, name: str) -> None:
        commits, totals = self.commits(VOCABULARY), self.commits(TOTALS)

        def total() -> Made:
            data = self._read(self.commits(COUNTS), _UNITS)
            paths = "totals.parquet", "files.parquet"
            return [totals.put(path, _content(totals, path + data)) for path in paths], TotalsNumbers(2, 4, 0)

        def make() -> Made:
            data = self._read(self.commits(COUNTS), _UNITS)
            return [commits.put("vocabulary.parquet", _content(commits, data))], VocabularyNumbers(2, 4, UNITS)

        totals.once(TOTALS, total)
        commits.once(name, make)

    def reservoir(self, name: str) -> None:
        """Parts that are merged, and removed when the whole is stored."""
        commits = self.commits(RESERVOIR)
        there = commits.find(RESERVOIR, "digest") is not None
        parts = [] if there else [stored_part(commits, unit, functools.partial(_sentences, unit)) for unit in _UNITS]
        self._take_time()
        stored_reservoir(commits, parts, 100)

    def unigram_or_tokens(self, name: str) -> None:
        stage = UNIGRAM if name == UNIGRAM else TOKENS
        commits = self.commits(stage)

        def make() -> Made:
            data = self._read(self.commits(VOCABULARY), [VOCABULARY])
            self._take_time()
            artifact = commits.put(f"{name}.parquet", _content(commits, name + data))
            return [artifact], _UnigramNumbers(2) if stage == UNIGRAM else TokenNumbers(2, 1, "0" * 16)

        commits.once(name, make)

    def train(self, options: Options) -> None:
        """See `Trainer.train`."""
        self._read(self.commits(TOKENS), _UNITS)
        commits = self.commits("checkpoints")
        done = resume_point(commits, lambda line: None)
        if not (done and done.step >= STEPS):
            for step in range(done.step + 1 if done else 1, STEPS + 1):
                self._take_time()
                points = _content(commits, f"points {step}")
                metrics = commits.beside(loss_curve.STAGE)
                path = f"{step_name(step)}-{hashlib.sha256(points).hexdigest()[:8]}.parquet"
                metrics.commit(step_name(step), [metrics.put(path, points)], PointNumbers(step))
                model, data = _model(step, options.dims)
                tail = f"{step_name(step)}/part-000000-of-000001.parquet"
                parts = [commits.stream(tail, functools.partial(_write, data))]
                numbers = CheckpointNumbers(1, step, STEPS, model_digest(model), 2, options.dims, 0)
                done = commit_checkpoint(commits, numbers, parts)
                prune_checkpoints(commits, options.keep_checkpoints)
        assert done is not None
        record_end(commits, done, options.keep_checkpoints)

    def _read(self, commits: Commits, names: Sequence[str]) -> str:
        """What a stage has stored, after a check of every digest."""
        whole = []
        for name in names:
            record = commits.load(name)
            if record is None:
                raise ArtifactError(f"the record of {name} in {commits.stage} is gone")
            whole += [self.records.read(artifact) for artifact in record.artifacts]
        return hashlib.sha256(b"".join(whole)).hexdigest()


@dataclasses.dataclass(frozen=True)
class _UnigramNumbers:
    words: int


def _content(commits: Commits, of: str) -> bytes:
    return f"{commits.key} {of} ".encode() * 4


def _write(data: bytes, file: Any) -> None:
    file.write(data[: len(data) // 2])
    file.write(data[len(data) // 2 :])


def verify(root: str) -> VerifyReport:
    """`beam2vec verify`."""
    return verify_run(open_storage(root))
