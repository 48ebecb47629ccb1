"""Evaluating and exporting a run as calls, for programs and notebooks."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any

from pipeline.analysis.evaluation import METHODS, MOST_FREQUENT
from pipeline.analysis.export import FORMATS, Export, check_effects
from pipeline.analysis.export import export as write
from pipeline.analysis.judgements import read_analogies, read_pairs
from pipeline.analysis.model_card import ModelCard
from pipeline.analysis.precision import PRECISIONS
from pipeline.analysis.scores import Judged
from pipeline.errors import InputError
from pipeline.model.vectors import SIDES, checked_top
from pipeline.runs.run import Run
from pipeline.runtime.shown_text import quoted

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def evaluate(
    run: Run | str | os.PathLike[str],
    pairs: Paths = (),
    analogies: Paths = (),
    *,
    step: int | None = None,
    vectors: str | None = None,
    most_frequent: int = MOST_FREQUENT,
    match_case: bool = False,
    analogy: str = METHODS[0],
) -> dict[str, Any]:
    """Scores on word pairs and analogies: the numbers of `beam2vec evaluate`, and of gensim.

    Args:
      run: the run, or where it is.
      pairs: files of word pairs with their similarity.
      analogies: files of analogies, four words on a line.
      step: of the checkpoint; the newest if not given.
      vectors: which of a word's two vectors: "input", "output" or "mean".
      most_frequent: words that take part.
      match_case: whether Paris and paris differ.
      analogy: "3cosadd" or "3cosmul".

    Returns:
      {"pairs": [...], "analogies": [...]}: an entry for each file. That of pairs has `spearman`, that of analogies
      `total` and `sections`.

    Raises:
      InputError: an argument is out of range; a file cannot be read, or shares no word with the vocabulary.

    Examples:
      >>> import tempfile, beam2vec
      >>> folder = tempfile.mkdtemp()
      >>> lists = [["a", "rose", "is", "a", "rose"]] * 40
      >>> run = beam2vec.train(sentences=lists, output=folder + "/run", dims=8, batch_size=32)
      >>> with open(folder + "/pairs.tsv", "w") as file:
      ...     _ = file.write("a\\trose\\t7\\na\\tis\\t3\\nrose\\tis\\t5\\n")
      >>> beam2vec.evaluate(run, pairs=folder + "/pairs.tsv")["pairs"][0]["pairs"]
      3
    """
    _check("analogy", analogy, METHODS)
    _check("vectors", vectors, (None, *SIDES))
    judged = Judged(
        [read_pairs(path) for path in _listed(pairs)],
        [read_analogies(path) for path in _listed(analogies)],
        most_frequent,
        not match_case,
        analogy,
    )
    checked_top(most_frequent, least=1, name="most_frequent")
    if not judged:
        raise InputError("nothing to evaluate: give pairs or analogies")
    return judged.evaluated(_opened(run).read_vectors(vectors, step, most_frequent))


def export(
    run: Run | str | os.PathLike[str],
    format: str,
    to: str | os.PathLike[str],
    *,
    step: int | None = None,
    vectors: str | None = None,
    top: int | None = None,
    normalize: bool = False,
    precision: str = PRECISIONS[0],
    leave_out_absent: bool = False,
    license: str | None = None,
    evaluation: str | os.PathLike[str] | None = None,
) -> list[str]:
    """Writes vectors for other programs, as `beam2vec export` does; what was there is replaced.

    Args:
      run: the run, or where it is.
      format: "word2vec", "glove", "npy", "parquet", "safetensors" and others; docs/using.md lists them.
      to: a file or, for formats of several files, a folder. `.gz` and others at its end compress.
      step: of the checkpoint; the newest if not given.
      vectors: which of a word's two vectors: "input", "output" or "mean".
      top: so many words, the most frequent ones.
      normalize: scale every vector to length 1.
      precision: of the numbers in npy, parquet and safetensors: "float32", "float16", or "int8", not of safetensors.
      leave_out_absent: without the words of `vocabulary` that do not occur in the corpus.
      license: in the model card of safetensors, its name on the Hugging Face Hub; "other" if not given.
      evaluation: for that card, a file that `beam2vec evaluate --json` wrote.

    Returns:
      the files that were written.

    Raises:
      InputError: there is no such format, it cannot be written there, or an argument has no effect with it.
    """
    _check("format", format, FORMATS)
    _check("vectors", vectors, (None, *SIDES))
    _check("precision", precision, PRECISIONS)
    given = {"vectors": vectors, "normalize": normalize, "top": top, "leave_out_absent": leave_out_absent}
    check_effects(format, given | {"license": license, "evaluation": evaluation})
    card = ModelCard.of(license, None if evaluation is None else os.fspath(evaluation))
    opened = _opened(run)
    absent = opened.absent() if leave_out_absent else None
    exported = Export(opened, opened.checkpoint(step), vectors, normalize, top, absent, precision, card)
    return list(write(exported, format, os.fspath(to)).uris)


def _check(name: str, value: str | None, allowed: Collection[str | None]) -> None:
    if value not in allowed:
        raise InputError(f"{name}={quoted(str(value))}: allowed are {', '.join(filter(None, allowed))}")


def _opened(run: Run | str | os.PathLike[str]) -> Run:
    return run if isinstance(run, Run) else Run(run)


def _listed(paths: Paths) -> list[str]:
    return [os.fspath(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
