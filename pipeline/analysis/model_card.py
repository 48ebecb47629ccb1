"""The README.md of a folder that is published: what the vectors are, and how to make them again."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from pipeline.batches.schedule import step_of
from pipeline.corpus.files import read_option_file
from pipeline.corpus.given_sentences import OF_SENTENCES, are_given
from pipeline.errors import InputError
from pipeline.options import Options
from pipeline.runs.run import Run
from pipeline.runtime.progress import scaled
from pipeline.runtime.shown_text import counted, shown

LICENSE = "other"
_PATHS = ("vocabulary", "stopwords", "start_from", "update")
"""Options that name a file or a run."""


def published(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options without folders, buckets and secrets: of a path its last part is left."""
    return {
        name: ",".join(map(_last, value.split(","))) if name in _PATHS and isinstance(value, str) else value
        for name, value in options.items()
    }


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What the card says besides what the run knows.

    Attributes:
      license: its name on the Hugging Face Hub.
      evaluation: what `beam2vec evaluate --json` wrote, or None.
    """

    license: str = LICENSE
    evaluation: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", self.license):
            raise InputError(f"--license={shown(self.license)} is no name of the Hub's: give one such as cc-by-4.0")

    @classmethod
    def of(cls, license: str | None, evaluation: str | None) -> ModelCard:
        """The card with a licence, if one is given, and what the file of an evaluation says."""
        read = read_evaluation(read_option_file("evaluation", evaluation), evaluation) if evaluation else None
        return cls(license or LICENSE, read)

    def text(self, run: Run, provenance: Mapping[str, Any], vectors: str) -> str:
        """The card, in Markdown with the Hub's header.

        Args:
          provenance: of `Export`.
          vectors: which of a word's vectors they are, in words.

        Raises:
          InputError: the evaluation is of another checkpoint, or of other vectors.
        """
        options, dims, words = provenance["options"], provenance["dims"], provenance["words"]
        inputs = run.identity["inputs"]
        of_text = f"{run.vocabulary_tokens():,} tokens"
        given = are_given(inputs)
        if given:
            of_text += " of sentences that a program passed"
        elif inputs:
            size = sum(file["size"] for file in inputs)
            of_text += f" of {counted(len(inputs), 'input file')} ({scaled(size)}B)"
        kind = {"skipgram": "skip-gram", "cbow": "CBOW"}[run.options.model]
        versions = ", ".join(
            f"{name} {version}" for name, version in sorted(run.identity["versions"].items()) if version
        )
        sections = [
            "---",
            f"license: {self.license}",
            "library_name: sentence-transformers",
            "tags: [word2vec, word-embeddings, beam2vec]",
            "---",
            "",
            "# Word vectors",
            "",
            f"{words:,} word vectors of {dims} dims: {kind} with negative sampling, trained by beam2vec on {of_text}."
            f" They are the {vectors}{', at length 1' if provenance['normalized'] else ''}. Words are"
            " listed in `words.json`, the most frequent first.",
            "",
            *_beginning(run, options),
            "## Use",
            "",
            "    from sentence_transformers import SentenceTransformer",
            "",
            '    SentenceTransformer("FOLDER").encode("two words")  # the mean of their vectors',
            "",
            *_caveats(run.options),
            *self._evaluated(provenance),
            "## How to make them again",
            "",
            "The same text, options and seed give the same vectors, to the byte:",
            "",
            f"    {_call(options) if given else _command(options)}",
            "",
            f"The digest {_where(provenance, given)} is then `{provenance['digest']}`"
            f" ({step_of(provenance['step'], provenance['steps'])}).",
            f"Made with {versions}.",
            "",
            "## Options",
            "",
            "| option | value |",
            "|---|---|",
            *(f"| {name} | {_cell(value)} |" for name, value in options.items() if value is not None),
        ]
        return "\n".join(sections) + "\n"

    def _evaluated(self, provenance: Mapping[str, Any]) -> list[str]:
        """A table of the scores; nothing without an evaluation."""
        result = self.evaluation
        if result is None:
            return []
        for name, what in (("digest", "another checkpoint"), ("vectors", "other vectors")):
            if result.get(name) != provenance[name]:
                raise InputError(
                    f"--evaluation is of {what}: its {name} is {shown(str(result.get(name)))}, not {provenance[name]}"
                )
        rows = ["## Evaluation", "", "| set | score | asked | not in the vocabulary |", "|---|---|---|---|"]
        for entry in result["pairs"]:
            score = "undefined" if entry["spearman"] is None else f"Spearman {entry['spearman']:.3f}"
            rows.append(f"| {_cell(_last(entry['file']))} | {score} | {entry['pairs']:,} | {entry['unknown']:,} |")
        for entry in result["analogies"]:
            total = entry["total"]
            right = f"{total['accuracy']:.1%} right by {entry['method']}"
            rows.append(f"| {_cell(_last(entry['file']))} | {right} | {total['questions']:,} | {total['unknown']:,} |")
        return [*rows, ""]


def _where(provenance: Mapping[str, Any], given: bool) -> str:
    """Where one finds the digest again: an earlier checkpoint than the last is there only if it is asked for."""
    if provenance["step"] != provenance["steps"]:
        return "of that checkpoint, which `--checkpoint_every` and `--keep_checkpoints` decide to keep,"
    return "of the run" if given else "that the command prints"


def _cell(value: object) -> str:
    """A value within a table of Markdown, where a bar would end the cell."""
    return shown(str(value)).replace("|", "\\|")


def _beginning(run: Run, options: Mapping[str, Any]) -> list[str]:
    """What the vectors began with, whose text is in them too; nothing for a run from random vectors."""
    for name in ("update", "start_from"):
        if origin := run.identity.get(name):
            digest = origin["model"] if name == "update" else origin
            began = f"Training began with the vectors of `{shown(str(options[name]))}`, digest `{digest}`."
            return [f"{began} What they learned is in these too, and to make these again, they are needed.", ""]
    return []


def _caveats(options: Options) -> list[str]:
    """What has to be done with text before `tokenizer.json` splits it at white space."""
    caveats = []
    if options.tokenizer != Options.tokenizer:
        caveats += [f"Text has to be split into words by `{options.tokenizer}` first.", ""]
    if options.phrases:
        caveats += ["Phrases such as new_york have to be joined in the text first.", ""]
    return caveats


def _command(options: Mapping[str, Any]) -> str:
    given = [
        f"--{name}" if value is True else shlex.quote(f"--{name}={value}") for name, value in unusual(options).items()
    ]
    return " ".join(["beam2vec train --input=TEXT --output=RUN", *given])


def _call(options: Mapping[str, Any]) -> str:
    given = [f"{name}={value!r}" for name, value in unusual(options).items() if name not in OF_SENTENCES]
    return f"beam2vec.train({', '.join(['sentences=SENTENCES', 'output=RUN', *given])})"


def unusual(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not the default ones."""
    usual = Options(model=options["model"])  # some defaults depend on it
    return {
        name: value
        for name, value in options.items()
        if value != (Options.model if name == "model" else getattr(usual, name, None))
    }


def read_evaluation(data: bytes, uri: str) -> dict[str, Any]:
    """What `beam2vec evaluate --json` wrote; InputError if it is something else."""
    try:
        result = json.loads(data)
        if {"digest", "vectors", "pairs", "analogies"} <= set(result):
            return dict(result)
    except (ValueError, TypeError):
        pass
    raise InputError(f"--evaluation={uri} is not what beam2vec evaluate --json writes")
