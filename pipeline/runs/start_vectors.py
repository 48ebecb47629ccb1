"""--start_from: first vectors from another run, or from a file, by word.

Words that are not there begin as in a run without it, and so do words whose vectors were never trained there, because
they only stand in that run's --vocabulary. Which words were found is stored, see `pipeline/model/initial_vectors.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ArtifactError, InputError
from pipeline.model.checkpoints import CheckpointRef, read_blocks
from pipeline.model.initial_vectors import initial_vectors, store_found
from pipeline.model.vector_files import VectorBlock, VectorFile
from pipeline.runs.directory import is_run, split_step
from pipeline.runs.run import Run
from pipeline.runtime.messages import say
from pipeline.storage.commits import Commits

OPTION = "start_from"


@dataclasses.dataclass(frozen=True)
class StartRef:
    """A reference to the vectors of --start_from as they were when the run began, for workers.

    Attributes:
      uri: of the run, or of the file.
      dims: of this run.
      digest: of the model, or of the file's bytes.
      step: of the checkpoint; None for a file.
      option: that has named it.
    """

    uri: str
    dims: int
    digest: str
    step: int | None = None
    option: str = OPTION

    def load(self, commits: Commits, words: pa.Array, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The first input and output vectors, float32 [V, dims] each.

        Args:
          commits: of the stage "checkpoints"; the words that were found are stored beside them.
          words: string [V], in the order of ids.

        Raises:
          InputError: what was to be started from has changed, or has no word of the vocabulary.
        """
        w_in = np.empty((len(words), self.dims), np.float32)
        w_out = np.zeros(w_in.shape, np.float32)
        found = np.zeros(len(words), bool)
        for block in self._blocks():
            rows = pc.index_in(block.words, value_set=words)
            theirs = np.flatnonzero(rows.is_valid().to_numpy(zero_copy_only=False))
            ours, first = np.unique(rows.drop_null().to_numpy(), return_index=True)
            new = ~found[ours]  # of a word that a file has twice, the first counts, wherever blocks end
            ours, theirs = ours[new], theirs[first[new]]
            w_in[ours] = block.input[theirs]
            if block.output is not None:
                w_out[ours] = block.output[theirs]
            found[ours] = True
        if not found.any():
            raise InputError(
                f"--{self.option}={self.uri} has none of the {len(words):,} words of the vocabulary: check --tokenizer"
                " and --lowercase, or leave it out"
            )
        others = np.flatnonzero(~found)
        w_in[others] = initial_vectors(words.take(pa.array(others)).to_pylist(), self.dims, seed)
        store_found(commits, found)
        say(f"{int(found.sum()):,} of {len(found):,} words begin with the vectors of {self.uri}")
        return w_in, w_out

    def _blocks(self) -> Iterator[VectorBlock]:
        if self.step is None:
            file = VectorFile(OPTION, self.uri, self.dims)
            if file.digest() != self.digest:
                raise InputError(f"--{OPTION}={self.uri} changed during the run; run again with --overwrite")
            yield from file.blocks()
            return
        with damage_named(self.option, self.uri):
            run = Run.open(self.uri)
            ref = run.checkpoint(self.step)
            if ref.digest != self.digest:
                raise InputError(f"--{self.option}={self.uri} changed during the run; run again with --overwrite")
            absent, done = run.absent() if run.options.vocabulary else np.zeros(ref.words, bool), 0
            for block in read_blocks(run.records, ref):
                trained = np.flatnonzero(~absent[done : done + len(block.words)])
                yield VectorBlock(block.words.take(pa.array(trained)), block.input[trained], block.output[trained])
                done += len(block.words)


@contextlib.contextmanager
def damage_named(option: str, uri: str) -> Iterator[None]:
    """Damage to the run that an option names, with a remedy that says which of the two runs is meant."""
    try:
        yield
    except ArtifactError as error:
        delete = "" if error.problem.endswith("is missing") else "delete it and "
        remedy = f"{delete}start the run in {uri} again, with the options that it had"
        raise ArtifactError(f"--{option}={uri}: {error.problem}", remedy) from error


def start_ref(given: str, dims: int) -> StartRef:
    """What --start_from names, checked: RUN, RUN@STEP or a file of vectors.

    Raises:
      InputError: there is no such run, checkpoint or file; or its vectors have other lengths.
    """
    uri, step = split_step(given)
    if not is_run(uri):
        file = VectorFile(OPTION, given, dims)
        next(file.blocks(), None)
        return StartRef(given, dims, file.digest())
    run, ref = _checkpoint(uri, step)
    if ref.dims != dims:
        raise InputError(f"--{OPTION}={given} has {ref.dims} dims, and --dims is {dims}: set --dims={ref.dims}")
    return StartRef(run.uri, dims, ref.digest, ref.step)


def _checkpoint(uri: str, step: int | None) -> tuple[Run, CheckpointRef]:
    run = Run.open(uri, f"--{OPTION}={uri}@STEP")
    ref = run.checkpoint(step)
    if step is None and ref.step != ref.steps:
        raise InputError(
            f"--{OPTION}={uri} has not ended (its newest checkpoint is {ref.place}): write --{OPTION}={uri}@{ref.step}"
            " to start from that"
        )
    return run, ref
