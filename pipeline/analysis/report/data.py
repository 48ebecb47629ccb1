"""Collects what a report shows of one run, as JSON values: one function for each section."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.analysis.evaluation import METHODS, MOST_FREQUENT
from pipeline.analysis.judgements import Analogies, WordPairs
from pipeline.analysis.projection import principal_plane
from pipeline.analysis.scores import evaluation_of
from pipeline.corpus.dead_letters import FOLDER as DEAD_LETTERS
from pipeline.corpus.unpacking import STAGE as TEXT
from pipeline.corpus.unpacking import TextNumbers
from pipeline.model.checkpoints import CheckpointRef
from pipeline.model.loss_curve import final_loss, up_to
from pipeline.model.vectors import SIDES, OnProgress, Vectors
from pipeline.runs.run import Run
from pipeline.runs.timings import read_timings
from pipeline.storage.parquet import from_parquet
from pipeline.storage.records import Record
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.counts import CountNumbers
from pipeline.words.merging import merge_counts

MAP_WORDS = 2000
CURVE_POINTS = 240
"""Points of a plot over ranks, at equal distances on a logarithmic axis."""
SHOWN_WORDS = 8
NEIGHBORS = 6
_MAP_NEIGHBORS = 5
_MAP_NEIGHBOR_WORDS = 20_000
_COUNTED_BYTES = 16 << 20
"""Word counts up to this size are added up again, to show words below --min_count."""
_DEAD_LETTERS = 50
_INPUTS = 20


@dataclasses.dataclass(frozen=True)
class Judged:
    """What the vectors are evaluated on."""

    pairs: Sequence[WordPairs] = ()
    analogies: Sequence[Analogies] = ()
    most_frequent: int = MOST_FREQUENT
    ignore_case: bool = True
    method: str = METHODS[0]
    """of answering analogies"""


def collect(
    run: Run,
    ref: CheckpointRef,
    known: Vectors,
    judged: Judged | None = None,
    report: OnProgress = lambda done, total: None,
) -> dict[str, Any]:
    """Everything a report shows of a run.

    Args:
      known: the vectors of this checkpoint.
      report: gets the progress of analogies.
    """
    counts = run.vocabulary()["count"].to_numpy()
    judged = judged or Judged()
    return {
        "uri": run.uri,
        "facts": facts(run, ref),
        "config": {**run.identity["options"]["model"], **run.identity["options"]["layout"]},
        "versions": run.identity.get("versions", {}),
        "inputs": inputs(run),
        "curve": curve(run),
        "speed": speed(run),
        "zipf": zipf(run, counts),
        "unigram": unigram(run, counts),
        "neighbors": neighbors(known),
        "map": word_map(known),
        "evaluation": evaluation_of(
            known,
            judged.pairs,
            judged.analogies,
            judged.most_frequent,
            judged.ignore_case,
            report,
            judged.method,
        ),
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


def inputs(run: Run) -> dict[str, Any]:
    files = run.identity["inputs"]
    first = [{"uri": file["uri"], "size": file["size"]} for file in files[:_INPUTS]]
    return {"files": len(files), "bytes": sum(file["size"] for file in files), "first": first}


def curve(run: Run) -> dict[str, list[float | None]]:
    """Loss and learning rate, by the number of tokens that were read."""
    table = run.metrics()
    names = {"tokens": _passed(run, table), "loss": table["loss"], "rate": table["learning_rate"]}
    if "holdout_loss" in table.column_names:
        names["holdout"] = table["holdout_loss"]
    return {name: rounded(values) for name, values in names.items()}


def speed(run: Run) -> dict[str, list[float | None]]:
    """Words per second by the number of tokens passed over, between the moments that were clocked.

    Steps are trained in blocks, whose points share a time; a resumed run begins at 0 again.
    """
    table = run.metrics()
    passed, clock = _passed(run, table), table["seconds"].to_numpy()
    last = np.flatnonzero(np.diff(clock, append=-1.0) != 0)
    passed, clock = passed[last], clock[last]
    took = np.diff(clock, prepend=0.0)
    took = np.where(took < 0, clock, took)
    good = took > 0.1 * np.median(took) if len(took) else took > 0  # the last one may be too short for a rate
    words = np.diff(passed, prepend=0.0)[good] / took[good]
    return {"tokens": rounded(passed[good]), "words": rounded(words)}


def _passed(run: Run, table: pa.Table) -> np.ndarray:
    """float64 [n]: token positions of all epochs up to each point of the loss curve."""
    tokens = run.vocabulary_tokens()
    return table["epoch"].to_numpy() * float(tokens) + table["position"].to_numpy()


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
    """Frequent words that are not grammar: of letters, not short, not among the most frequent, and spaced."""
    first = min(100, len(words) // 4)
    texts = words[first : first + 50 * count].to_pylist()
    good = [first + i for i, word in enumerate(texts) if len(word) > 3 and word.isalpha()]
    return good[:: max(1, len(good) // count)][:count]


def rare_rows(words: pa.Array, count: int = SHOWN_WORDS) -> list[int]:
    """Words from the last tenth of the vocabulary, evenly spaced; of letters only, if there are such."""
    first = len(words) - max(min(len(words), count), len(words) // 10)
    last = words[first : first + 5000].to_pylist()
    good = [first + i for i, word in enumerate(last) if len(word) > 3 and word.isalpha()]
    rows = good or list(range(first, first + len(last)))
    return rows[:: max(1, len(rows) // count)][:count]


def word_map(known: Vectors) -> dict[str, Any]:
    """The most frequent words in the plane, with a few neighbours of each."""
    size = min(MAP_WORDS, len(known.words))
    points = principal_plane(known.vectors[:size])
    rows = slice(0, _MAP_NEIGHBOR_WORDS)
    among = Vectors(known.words[rows], known.vectors[rows], known.counts[rows])
    near = among.neighbors(range(size), _MAP_NEIGHBORS) if size else []
    return {
        "words": known.words[:size].to_pylist(),
        "counts": known.counts[:size].tolist(),
        "x": rounded(points[:, 0], 4),
        "y": rounded(points[:, 1], 4),
        "near": [[w for w, _ in neighbors_of_word] for neighbors_of_word in near],
    }


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


def log_spaced(size: int, points: int = CURVE_POINTS) -> np.ndarray:
    """int64: rows from 0 to size - 1, at about equal distances on a logarithmic axis."""
    if size <= points:
        return np.arange(size)
    return np.unique(np.rint(np.logspace(0, math.log10(size), points)).astype(np.int64) - 1)


def rounded(values: Any, digits: int = 5) -> list[float | None]:
    """Numbers of so many digits, as JSON knows them: None if one is not finite."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in np.asarray(values).tolist()]
