"""Every option of a run, declared once: default, allowed values, help, and what it decides.

The command line, the configuration file, the checks, the stage keys and the
reference in docs/options.md are all made from this table.

Kinds:
  model      decides bytes of the model; a resumed run must repeat it.
  layout     decides how artefacts are cut up, never the model; pinned when a run is resumed.
  execution  decides speed and place alone; free to change at any time.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import InputError
from pipeline.runtime.shown_text import shown

MODELS = ("skipgram", "cbow")
NEGATIVE_POLICIES = ("exclude_target", "distinct", "any")
DEVICES = ("auto", "cpu", "gpu")
BATCHES = ("stream", "stored")
NORMAL_FORMS = ("nfc", "nfkc")
INPUT_FORMATS = ("text", "jsonl", "parquet")

ALL = 0
"""The value of --window=all."""
MAX_ALL = 4096
"""Longest sentence with --window=all: its pairs grow with the square of its length."""
MAX_POSITION = 2**48
MAX_EPOCHS = 2**16 - 1
"""Positions and epochs share a 64-bit random counter: 48 bits and 16."""
MOST_ROUNDS = 500
"""Of all epochs together: each round is a part of the Beam graph."""
MAX_STEPS = 10**12 - 1
"""Of all epochs together: names have twelve digits for them."""

MAX_PASSES = 16
"""Of --phrases."""


def _option(
    default: Any,
    kind: str,
    help: str,
    *,
    stage: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    optional: bool = False,
    over: bool = False,
    named: Mapping[str, Any] | None = None,
    off: bool = False,
) -> Any:
    """One option: `low` is exclusive when `over`; `stage` is the first stage whose content it decides; `named`
    values may be given by name, whatever the bounds are. Where an option that is `off` has its default, stage keys
    are those from before there was such an option."""
    return dataclasses.field(
        default=default,
        metadata={
            "kind": kind,
            "help": help,
            "stage": stage,
            "low": low,
            "high": high,
            "choices": tuple(choices),
            "optional": optional,
            "over": over,
            "named": dict(named or {}),
            "off": off,
        },
    )


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of `jobs.train`; `Options.checked()` refuses what is out of range."""

    model: str = _option("skipgram", "model", "skip-gram or CBOW", stage="checkpoints", choices=MODELS)
    dims: int = _option(100, "model", "numbers in a vector", stage="checkpoints", low=1, high=4096)
    window: int = _option(
        5,
        "model",
        "largest distance of a context word from its target; all: every other word of the sentence",
        stage="batches",
        low=1,
        high=1000,
        named={"all": ALL},
    )
    negatives: int = _option(5, "model", "negative samples for each target", stage="batches", low=1, high=1000)
    power: float = _option(
        0.75, "model", "exponent of the unigram distribution negatives are drawn from", stage="unigram", low=0, high=4
    )
    negative_policy: str = _option(
        "exclude_target",
        "model",
        "exclude_target: never the target; distinct: nor twice the same; any: no rule",
        stage="batches",
        choices=NEGATIVE_POLICIES,
    )
    subsample: float = _option(
        1e-3, "model", "frequency above which words are thinned out; 0 keeps all", stage="unigram", low=0, high=1
    )
    min_count: int = _option(5, "model", "words that occur less often are left out", stage="vocabulary", low=1)
    max_vocabulary: int | None = _option(
        None, "model", "keep only this many of the most frequent words", stage="vocabulary", low=1, optional=True
    )
    vocabulary: str | None = _option(
        None,
        "model",
        "a file of words, perhaps with counts: only these, in this order, however often they occur",
        stage="vocabulary",
        optional=True,
    )
    epochs: int = _option(5, "model", "passes over the corpus", stage="checkpoints", low=1, high=MAX_EPOCHS)
    learning_rate: float = _option(
        0.05,
        "model",
        "first learning rate; falls in a line to 1e-4 of it",
        stage="checkpoints",
        low=0,
        high=10,
        over=True,
    )
    damping: float = _option(
        6.4,
        "model",
        "furthest a row may move in one step, in mean gradients",
        stage="checkpoints",
        low=0,
        high=1e6,
        over=True,
    )
    batch_size: int = _option(
        2048, "model", "token positions in a training step", stage="checkpoints", low=1, high=2**22
    )
    replicas: int = _option(
        1,
        "model",
        "trainers side by side, each on a slice of the corpus; 1: one trainer",
        stage="checkpoints",
        low=1,
        high=1024,
        off=True,
    )
    rounds: int = _option(
        1,
        "model",
        "how often in an epoch the replicas' weights are merged",
        stage="checkpoints",
        low=1,
        high=MOST_ROUNDS,
        off=True,
    )
    seed: int = _option(1, "model", "decides every random draw", stage="batches", low=0, high=2**64 - 1)
    holdout: float = _option(
        0.0,
        "model",
        "part of the sentences kept back from training, to take a loss on; 0.01 is plenty",
        stage="batches",
        low=0,
        high=0.5,
    )
    input_format: str = _option("text", "model", "what the input files are", stage="text", choices=INPUT_FORMATS)
    field: str | None = _option(
        None,
        "model",
        "of JSON lines or Parquet: the field (a.b: b within a) that holds text, a list of strings or of integers",
        stage="counts",
        optional=True,
    )
    tokenizer: str = _option(
        "whitespace",
        "model",
        "how lines become tokens: whitespace, unicode_words, characters, korean, japanese, chinese, or module:function",
        stage="counts",
    )
    lowercase: bool = _option(False, "model", "lower-case the text first", stage="counts")
    normalize: str | None = _option(
        None,
        "model",
        "bring the text into Unicode's normal form first",
        stage="counts",
        choices=NORMAL_FORMS,
        optional=True,
    )
    stopwords: str | None = _option(
        None, "model", "a file of words, one a line, that are left out", stage="counts", optional=True
    )
    phrases: int = _option(
        0,
        "model",
        "passes over the corpus that join words which belong together by _; 0: none",
        stage="phrases",
        low=0,
        high=MAX_PASSES,
    )
    phrase_threshold: float = _option(
        100.0, "model", "score above which two words are joined", stage="phrases", low=0, high=1e15
    )
    phrase_discount: int = _option(
        5, "model", "pairs that occur no more often than this are never joined", stage="phrases", low=0, high=2**31 - 1
    )
    max_sentence: int = _option(
        1000, "model", "longer lines are split into sentences of this many tokens", stage="counts", low=1, high=2**30
    )
    max_line_bytes: int = _option(
        128 << 20, "model", "longer lines go to the dead letters", stage="text", low=1, high=2**30
    )
    allow_truncated: bool = _option(
        False, "model", "use what can be read of a truncated or damaged compressed file", stage="text"
    )
    block_bytes: int = _option(8 << 20, "layout", "bytes of text in a unit of work", stage="counts", low=1, high=2**30)
    batches: str = _option(
        "stream", "layout", "stream: make batches while training; stored: keep them in Parquet", choices=BATCHES
    )
    checkpoint_every: int | None = _option(
        None, "execution", "steps between checkpoints (default: about a minute)", low=1, optional=True
    )
    keep_checkpoints: int = _option(3, "execution", "how many checkpoints to keep", low=1)
    device: str = _option(
        "auto", "execution", "where to train; auto takes a GPU that answers. The bytes are the same", choices=DEVICES
    )
    threads: int | None = _option(
        None, "execution", "threads (default: the CPUs this process may use)", low=1, high=1024, optional=True
    )
    max_bad_lines: str = _option("1%", "execution", "bad lines that stop the run: a number, or a part like 1%")

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Options:
        """Options from values of the command line or a file; what is not given has its default.

        A number may come as text, as YAML reads 1e-3, and a whole number as 5.0; both
        become the option's own type, so that equal options have equal stage keys.

        Raises:
          InputError: names option, value and what is allowed.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in values:
            if name not in fields:
                raise InputError(f"--{name} is no option; there are {', '.join(fields)}")
        options = cls(**{name: _checked(fields[name], value) for name, value in values.items()})
        options.check()
        return options

    def check(self) -> None:
        """InputError where options, each allowed, do not go together."""
        bad_line_limit(self.max_bad_lines, 0)
        if self.window == ALL and self.max_sentence > MAX_ALL:
            raise InputError(
                f"--window=all pairs all words of a sentence with each other: with it, --max_sentence is at most"
                f" {MAX_ALL:,}, not {self.max_sentence:,}"
            )
        if self.window == ALL and self.phrases:
            raise InputError("--phrases joins words that follow each other, and --window=all is for sets without order")
        if self.rounds > 1 and self.replicas == 1:
            raise InputError(
                f"--rounds={self.rounds} without --replicas: one trainer has nothing to merge; leave it out,"
                " or ask for two replicas or more"
            )
        if self.replicas > 1 and self.epochs * self.rounds > MOST_ROUNDS:
            raise InputError(
                f"--epochs={self.epochs} of --rounds={self.rounds} are {self.epochs * self.rounds:,} rounds, and"
                f" {MOST_ROUNDS:,} are the most that a run takes: lower --rounds"
            )

    @property
    def thread_count(self) -> int:
        return self.threads or available_cpus()

    def of_kind(self, kind: str) -> dict[str, Any]:
        """Name -> value of the options of one kind."""
        fields = [field for field in dataclasses.fields(self) if field.metadata["kind"] == kind]
        return {field.name: getattr(self, field.name) for field in fields}

    def of_stage(self, stage: str) -> dict[str, Any]:
        """Name -> value of the model and layout options whose first effect is on `stage`; none that is off."""
        names = {
            f.name
            for f in dataclasses.fields(self)
            if f.metadata["stage"] == stage and not (f.metadata["off"] and getattr(self, f.name) == f.default)
        }
        known = self.of_kind("model") | self.of_kind("layout")
        del known["phrases"]  # decides which stages there are, and none's content
        return {name: value for name, value in known.items() if name in names}


def shown_value(name: str, value: Any) -> str:
    """A value as the user writes it: by its name where it has one."""
    if value is None or value == "":
        return "not set"
    field = next((field for field in dataclasses.fields(Options) if field.name == name), None)
    named = field.metadata["named"] if field else {}
    return next((text for text, meant in named.items() if meant == value), shown(value))


def _checked(field: dataclasses.Field, value: Any) -> Any:
    """The value in the option's type; InputError when it is not allowed."""
    if value is None and field.metadata["optional"]:
        return None
    if isinstance(value, str) and value in field.metadata["named"]:
        return field.metadata["named"][value]
    typed = None if value is None else _typed(_type_name(field), value)
    if typed is None or not _is_allowed(field, typed):
        raise InputError(f"--{field.name}={'' if value is None else value}: allowed {_allowed(field)}")
    return typed


def _type_name(field: dataclasses.Field) -> str:
    """ "int", "float", "str" or "bool"."""
    return str(field.type).partition(" | ")[0]


def _typed(wanted: str, value: Any) -> Any:
    """The value as the type named, or None when it is not one."""
    if wanted == "bool":
        return {"true": True, "false": False}.get(str(value).lower())
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if wanted == "str":
        return str(value)
    try:
        if wanted == "float":
            return float(value)
        return int(value) if isinstance(value, (str, int)) or value.is_integer() else None
    except (ValueError, OverflowError):
        return None


def _is_allowed(field: dataclasses.Field, value: Any) -> bool:
    meta = field.metadata
    if meta["choices"]:
        return value in meta["choices"]
    if meta["low"] is None:
        return True
    if meta["high"] is not None and value > meta["high"]:
        return False
    return value > meta["low"] if meta["over"] else value >= meta["low"]  # NaN is neither


def _allowed(field: dataclasses.Field) -> str:
    """What is allowed, in words: the end of a sentence that begins with "allowed"."""
    meta, wanted = field.metadata, _type_name(field)
    if meta["choices"] or wanted == "bool":
        return "are " + ", ".join(meta["choices"] or ("true", "false"))
    if wanted == "str":
        return "is any text"
    text = "is a whole number" if wanted == "int" else "is a number"
    if meta["named"]:
        text += f" (or {', '.join(meta['named'])})"
    if meta["low"] is not None:
        text += (" above " if meta["over"] else " of at least ") + _number(meta["low"])
    if meta["high"] is not None:
        text += " and at most " + _number(meta["high"])
    return text


def _number(value: float) -> str:
    """All digits of a bound, which a float format would round."""
    return str(int(value)) if value == int(value) else repr(value)


def bad_line_limit(text: str, lines: int) -> float:
    """How many bad lines are tolerated among `lines`: "100" is a number, "1%" a part of the lines."""
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else None
        limit = float(int(text)) if share is None else share * lines
        if limit < 0 or (share is not None and not 0 <= share <= 1):
            raise ValueError
    except ValueError:
        message = f"--max_bad_lines={text}: allowed is a number of lines or a part such as 1%"
        raise InputError(message) from None
    return limit


def available_cpus() -> int:
    """CPUs this process may use: its affinity, and the quota of its cgroup where there is one."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        if quota != "max":
            cpus = min(cpus, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return cpus
