"""Compares two runs: their options and inputs, and whether they have learned the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.analysis.evaluation import average_ranks
from pipeline.analysis.movement import described, movement
from pipeline.analysis.report.curves import rounded
from pipeline.errors import InputError
from pipeline.model.neighbors import unit_length
from pipeline.model.vectors import Vectors
from pipeline.runs.differences import unequal
from pipeline.runs.run import Run

WORDS = 1000
"""Frequent words of both runs whose neighbourhoods are compared."""
NEAREST = 10
_SHOWN = 10


def compare(runs: tuple[Run, Run], digests: tuple[str, str], known: tuple[Vectors, Vectors]) -> dict[str, Any]:
    """Differences in configuration and input, agreement of digests, and of neighbourhoods."""
    first, second = (run.identity for run in runs)
    return {
        "same_digest": digests[0] == digests[1],
        "same_input": first["inputs"] == second["inputs"],
        "config": unequal(
            *({**identity["options"]["model"], **identity["options"]["layout"]} for identity in (first, second))
        ),
        "versions": unequal(first.get("versions", {}), second.get("versions", {})),
        "neighborhoods": neighborhoods(*known),
        "movement": moved(*known),
    }


def moved(after: Vectors, before: Vectors) -> dict[str, Any]:
    """How far words have moved from the second run to the first; {"problem": ...} where that cannot be said.

    Runs that did not go on from each other lie in spaces of their own. So the second is turned onto the first where
    cosines are low, which "aligned" tells.
    """
    try:
        return described(movement(before, after, align=None))
    except InputError as error:
        return {"problem": str(error)}


def neighborhoods(first: Vectors, second: Vectors) -> dict[str, Any] | None:
    """How similar the neighbourhoods of common words are in two models; None if that cannot be said.

    There have to be enough common words, and cosines that differ. For each of the most frequent shared words:
    Spearman's correlation of its cosines to all others, and the share of its nearest words that are nearest in both.
    """
    rows = _shared(first, second)
    if len(rows) < NEAREST + 2:
        return None
    cosines = [_cosines(known.vectors[rows[:, side]]) for side, known in enumerate((first, second))]
    own = np.arange(len(rows))
    correlation, overlap = np.empty(len(rows)), np.empty(len(rows))
    for i in own:
        others = own != i
        a, b = (cosine[i, others] for cosine in cosines)
        correlation[i] = np.corrcoef(average_ranks(a), average_ranks(b))[0, 1]
        nearest = [set(np.argsort(-values, kind="stable")[:NEAREST].tolist()) for values in (a, b)]
        overlap[i] = len(nearest[0] & nearest[1]) / NEAREST
    words, varied = first.words, np.isfinite(correlation)
    if not varied.any():
        return None
    order = [i for i in np.argsort(correlation, kind="stable") if varied[i]]
    named = [[words[int(rows[i, 0])].as_py(), round(float(correlation[i]), 3)] for i in order]
    return {
        "words": len(rows),
        "correlation": rounded([np.nanmean(correlation)], 4)[0],
        "overlap": rounded([overlap.mean()], 4)[0],
        "quartiles": rounded(np.nanquantile(correlation, [0.25, 0.5, 0.75]), 4),
        "least": named[:_SHOWN],
        "most": named[::-1][:_SHOWN],
    }


def _shared(first: Vectors, second: Vectors) -> np.ndarray:
    """int64 [n, 2]: rows of the shared words among the most frequent of both, in the first one's order."""
    rows_of_second = {word: row for row, word in enumerate(second.words[: 4 * WORDS].to_pylist())}
    words = first.words[: 4 * WORDS].to_pylist()
    pairs = [(row, rows_of_second[word]) for row, word in enumerate(words) if word in rows_of_second]
    return np.array(pairs[:WORDS], np.int64).reshape(-1, 2)


def _cosines(vectors: np.ndarray) -> np.ndarray:
    unit = unit_length(vectors)
    return unit @ unit.T
