"""Collects what a report shows of one run, as JSON values: one function for each section."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.analysis import neighbor_map
from pipeline.analysis.model_card import unusual
from pipeline.analysis.projection import principal_plane
from pipeline.analysis.report.curves import curve, evaluations, log_spaced, rounded, speed
from pipeline.analysis.scores import Judged
from pipeline.corpus.dead_letters import FOLDER as DEAD_LETTERS
from pipeline.corpus.unpacking import STAGE as TEXT
from pipeline.corpus.unpacking import TextNumbers
from pipeline.model.checkpoints import CheckpointRef
from pipeline.model.loss_curve import final_loss, up_to
from pipeline.model.vectors import SIDES, OnProgress, Vectors
from pipeline.runs.run import Run
from pipeline.runs.timings import read_timings, read_warnings
from pipeline.runtime.messages import warn
from pipeline.storage.parquet import from_parquet
from pipeline.storage.records import Record
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.counts import CountNumbers
from pipeline.words.merging import merge_counts

SHOWN_WORDS = 8
NEIGHBORS = 6
_MAP_NEIGHBORS = 5
_MAP_NEIGHBOR_WORDS = 20_000
_COUNTED_BYTES = 16 << 20
"""Word counts up to this size are added up again, to show words below --min_count."""
_DEAD_LETTERS = 50
_INPUTS = 20
INSTALL = "pip install 'beam2vec[report]'"
"""What a better map needs."""


def collect(
    run: Run,
    ref: CheckpointRef,
    known: Vectors,
    judged: Judged | None = None,
    progress_of: Callable[[str], OnProgress] = lambda name: lambda done, total: None,
) -> dict[str, Any]:
    """Everything a report shows of a run.

    Args:
      known: the vectors of this checkpoint.
      progress_of: name of a piece of work -> the function that gets its progress.
    """
    counts = run.vocabulary()["count"].to_numpy()
    judged = judged or Judged()
    evaluation = judged.evaluated(known, progress_of("Analogies"))
    return {
        "uri": run.uri,
        "facts": facts(run, ref),
        "warnings": read_warnings(run.records, run.key("checkpoints")),
        "config": config(run),
        "defaults": [name for name in config(run) if name not in unusual(config(run))],
        "versions": run.identity.get("versions", {}),
        "inputs": inputs(run),
        "curve": curve(run),
        "speed": speed(run),
        "zipf": zipf(run, counts),
        "unigram": unigram(run, counts),
        "neighbors": neighbors(known),
        "map": word_map(known),
        "evaluation": evaluation,
        "evaluations": evaluations(run, ref, judged, evaluation, progress_of("Evaluate checkpoints")),
        "stages": stages(run),
        "dead": dead_letters(run),
    }


def facts(run: Run, ref: CheckpointRef) -> dict[str, Any]:
    """The few numbers at the top."""
    options, tokens = (
        run.options,
        run.vocabulary_tokens(),
    )  # not the sum of counts, which may come from a file of --vocabulary
    loss = final_loss(up_to(run.metrics(), ref.step))
    return {
        "digest": ref.digest,
        "step": ref.step,
        "steps": ref.steps,
        "place": ref.place,
        "words": ref.words,
        "dims": ref.dims,
        "tokens": tokens,
        "corpus_tokens": sum(record.read(CountNumbers).tokens for record in _records(run, COUNTS)),
        "loss": loss,
        "model": {"skipgram": "skip-gram", "cbow": "CBOW"}[options.model],
        "vectors": SIDES[run.side()],
        "epochs": options.epochs,
    }


def config(run: Run) -> dict[str, Any]:
    """The options that make a model, by name."""
    options = run.identity["options"]
    return {**options["model"], **options["layout"]}


def inputs(run: Run) -> dict[str, Any]:
    files = run.identity["inputs"]
    first = [{"uri": file["uri"], "size": file["size"]} for file in files[:_INPUTS]]
    return {"files": len(files), "bytes": sum(file["size"] for file in files), "first": first}


def stages(run: Run) -> list[dict[str, Any]]:
    """Seconds of each stage, in order; [] if they were not recorded."""
    timings = read_timings(run.records, run.key("checkpoints"))
    return [{"name": name, "seconds": seconds} for name, seconds in timings.items()]


def zipf(run: Run, counts: np.ndarray) -> dict[str, Any]:
    """Occurrences by rank, and where the vocabulary was cut off."""
    options = run.options
    everything = _all_counts(run)
    whole = everything is not None and len(everything) >= len(counts)
    values = everything if everything is not None and whole else np.sort(counts[counts > 0])[::-1]
    ranks = log_spaced(len(values))
    return {
        "rank": (ranks + 1).tolist(),
        "count": values[ranks].tolist(),
        "whole": whole,
        "words": len(values),
        "kept": len(counts),
        "min_count": options.min_count,
        "max_vocabulary": options.max_vocabulary,
    }


def _all_counts(run: Run) -> np.ndarray | None:
    """Counts of all words in falling order, also below --min_count; None if there are too many to add up again."""
    artifacts = [record.artifact for record in _records(run, "counts") if record.artifacts]
    if not artifacts or sum(artifact.size for artifact in artifacts) > _COUNTED_BYTES:
        return None
    merged = merge_counts(from_parquet(run.records.read(artifact)) for artifact in artifacts)
    return np.sort(merged["count"].to_numpy())[::-1]


def unigram(run: Run, counts: np.ndarray) -> dict[str, Any]:
    """Probability of each rank in the text and among negatives, and how many of its tokens are kept."""
    made = run.unigram()
    drawn = made.probability > 0  # words of --vocabulary that do not occur have no place in logarithmic charts
    counts, probability, keep = counts[drawn], made.probability[drawn], made.keep[drawn]
    ranks = log_spaced(len(counts))
    share = counts / counts.sum()
    kept = (keep.astype(np.float64) + 1) / 2**32
    return {
        "rank": (ranks + 1).tolist(),
        "before": rounded(share[ranks]),
        "after": rounded(probability[ranks]),
        "keep": rounded(kept[ranks]),
        "kept_tokens": rounded([float((share * kept).sum())])[0],
        "power": run.options.power,
        "subsample": run.options.subsample,
    }


def neighbors(known: Vectors) -> dict[str, list[Any]]:
    """Nearest words of some frequent words and of some rare ones."""
    shown = {"frequent": frequent_rows(known.words), "rare": rare_rows(known.words)}
    return {
        name: [
            {
                "word": known.words[row].as_py(),
                "count": int(known.counts[row]),
                "near": [[w, round(c, 3)] for w, c in near],
            }
            for row, near in zip(rows, known.neighbors(rows, NEIGHBORS))
        ]
        for name, rows in shown.items()
    }


def frequent_rows(words: pa.Array, count: int = SHOWN_WORDS) -> list[int]:
    """Frequent words that are not grammar: not among the most frequent, spaced, and of letters, if there are such."""
    first = min(100, len(words) // 4)
    return _spaced(first, words[first : first + 50 * count], count)


def rare_rows(words: pa.Array, count: int = SHOWN_WORDS) -> list[int]:
    """Words from the last tenth of the vocabulary, evenly spaced; of letters only, if there are such."""
    first = len(words) - max(min(len(words), count), len(words) // 10)
    return _spaced(first, words[first : first + 5000], count)


def _spaced(first: int, words: pa.Array, count: int) -> list[int]:
    """So many rows of the words that begin at row `first`: of those of letters that are not short, or else of all."""
    good = [first + i for i, word in enumerate(words.to_pylist()) if len(word) > 3 and word.isalpha()]
    rows = good or list(range(first, first + len(words)))
    return rows[:: max(1, len(rows) // count)][:count]


def word_map(known: Vectors) -> dict[str, Any]:
    """The most frequent words in the plane, with a few neighbours of each.

    "method" says how their places were found. "remedy" says how to get the better map, where this is not it.
    """
    size = min(neighbor_map.MOST_WORDS, len(known.words))
    components = principal_plane(known.vectors[:size])
    places = neighbor_map.neighbor_plane(known.vectors[:size], components, on_failure=_warn_of_map)
    points = components if places is None else places
    rows = slice(0, _MAP_NEIGHBOR_WORDS)
    among = Vectors(known.words[rows], known.vectors[rows], known.counts[rows])
    near = among.neighbors(range(size), _MAP_NEIGHBORS) if size else []
    return {
        "method": "pca" if places is None else "tsne",
        "remedy": "" if neighbor_map.is_possible() else INSTALL,
        "words": known.words[:size].to_pylist(),
        "counts": known.counts[:size].tolist(),
        "x": rounded(points[:, 0], 4),
        "y": rounded(points[:, 1], 4),
        "near": [[w for w, _ in neighbors_of_word] for neighbors_of_word in near],
    }


def _warn_of_map(why: str) -> None:
    warn(f"the map of the report shows principal components: scikit-learn failed ({why})")


def dead_letters(run: Run) -> dict[str, Any]:
    """How many lines could not be read, and the first of them."""
    counts = [(record, record.read(CountNumbers)) for record in _records(run, COUNTS)]
    text = [(record, record.read(TextNumbers)) for record in _records(run, TEXT)]
    artifacts = [artifact for record, _ in [*text, *counts] for artifact in record.artifacts]
    tables = [artifact for artifact in artifacts if artifact.path.startswith(f"{DEAD_LETTERS}/")]
    rows: list[dict[str, Any]] = []
    for artifact in tables:
        if len(rows) < _DEAD_LETTERS:
            rows += from_parquet(run.records.read(artifact)).slice(0, _DEAD_LETTERS - len(rows)).to_pylist()
    for row in rows:
        row["sample"] = row["sample"][:80].decode("utf-8", "backslashreplace")
    bad = sum(numbers.bad_lines for _, numbers in counts) + sum(numbers.bad_lines for _, numbers in text)
    return {"bad_lines": bad, "lines": sum(numbers.lines for _, numbers in counts), "rows": rows}


def _records(run: Run, stage: str) -> list[Record]:
    """The records under the run's own key; ArtifactError if one is damaged, since sums without it would be wrong."""
    return run.records.all(stage, run.key(stage), strict=True)
