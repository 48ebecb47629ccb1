"""Every option of a run, declared once: default, allowed values, help, and what it decides.

The command line, the configuration file, the checks, the stage keys and docs/options.md are all made from this table.

Kinds:
  model      decides bytes of the model; must be the same when a run is resumed.
  layout     decides how artefacts are divided, never the model; must be the same when a run is resumed.
  execution  decides only speed and place; may change at any time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import InputError
from pipeline.runtime.cpus import available_cpus
from pipeline.runtime.shown_text import shown

MODELS = ("skipgram", "cbow")
NEGATIVE_POLICIES = ("exclude_target", "distinct", "any")
DEVICES = ("auto", "cpu", "gpu")
BATCHES = ("stream", "stored")
NORMAL_FORMS = ("nfc", "nfkc")
INPUT_FORMATS = ("text", "jsonl", "csv", "parquet")
ENCODINGS = (
    *("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "latin-1"),
    *(f"iso-8859-{part}" for part in range(2, 17) if part != 12),
    *(f"cp125{page}" for page in range(9)),
    *("koi8-r", "koi8-u", "cp949", "euc-kr", "gb18030", "big5", "cp950", "cp932", "euc-jp"),
)
TAB = {"tab": "\t", r"\t": "\t"}
"""Names of the tab, which is hard to type."""

ALL = 0
"""The value of --window=all."""
MAX_ALL = 4096
"""Longest sentence with --window=all: its pairs grow with the square of its length."""
MAX_POSITION = 2**48
MAX_EPOCHS = 2**16 - 1
"""Positions and epochs share a 64-bit random counter: 48 bits and 16."""
MOST_ROUNDS = 500
"""Most rounds of all epochs together: each round adds stages to the Beam graph."""
MAX_STEPS = 10**12 - 1
"""Most steps of all epochs together: names have twelve digits for them."""
MAX_PASSES = 16
"""Most passes of --phrases."""


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
    """Declares one option.

    Args:
      kind: model, layout or execution.
      stage: the first stage whose content the option decides.
      low, high: bounds, allowed themselves; with `over`, `low` itself is not allowed.
      choices: the allowed values.
      optional: whether None is allowed, which stands for "not set".
      named: values that have a name, allowed whatever the bounds are.
      off: an option that was added later. With its default it is left out of the stage keys, so that those of older
        runs stay valid.
    """
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
    """The options of a run. `Options.checked()` converts values and refuses what is not allowed.

    Examples:
      >>> options = Options.checked({"dims": "50", "window": "all"})
      >>> options.dims, options.window == ALL, options.negatives
      (50, True, 5)
      >>> Options.checked({"dims": 0})
      Traceback (most recent call last):
      pipeline.errors.InputError: dims=0: allowed is a whole number of at least 1 and at most 4096
    """

    model: str = _option("skipgram", "model", "skip-gram or CBOW", stage="checkpoints", choices=MODELS)
    dims: int = _option(100, "model", "length of a vector", stage="checkpoints", low=1, high=4096)
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
        0.75,
        "model",
        "exponent of the unigram distribution of negatives; 0: uniform, below 0: rare words more often",
        stage="unigram",
        low=-1,
        high=4,
    )
    negative_policy: str = _option(
        "exclude_target",
        "model",
        "which negatives a row may have. exclude_target: not the target; distinct: not the target, and none twice;"
        " any: all words",
        stage="batches",
        choices=NEGATIVE_POLICIES,
    )
    subsample: float = _option(
        1e-3, "model", "words above this frequency lose some occurrences; 0: none do", stage="unigram", low=0, high=1
    )
    min_count: int = _option(5, "model", "words that occur less often are left out", stage="vocabulary", low=1)
    max_vocabulary: int | None = _option(
        None, "model", "keep only this many of the most frequent words", stage="vocabulary", low=1, optional=True
    )
    vocabulary: str | None = _option(
        None,
        "model",
        "a file of words, with or without counts, that is the vocabulary: in its order, however often they occur",
        stage="vocabulary",
        optional=True,
    )
    start_from: str | None = _option(
        None,
        "model",
        "first vectors from another run (RUN, or RUN@STEP) or a file of vectors, for the words that are there",
        stage="checkpoints",
        optional=True,
        off=True,
    )
    epochs: int = _option(5, "model", "passes over the corpus", stage="checkpoints", low=1, high=MAX_EPOCHS)
    learning_rate: float = _option(
        0.05,
        "model",
        "learning rate of the first step; it falls linearly to 1e-4 of this",
        stage="checkpoints",
        low=0,
        high=10,
        over=True,
    )
    damping: float = _option(
        6.4,
        "model",
        "limit on how far a weight row moves in one step, in mean gradients",
        stage="checkpoints",
        low=0,
        high=1e6,
        over=True,
    )
    batch_size: int = _option(
        2048, "model", "token positions that a training step covers", stage="checkpoints", low=1, high=2**22
    )
    replicas: int = _option(
        1,
        "model",
        "number of trainers that work side by side, each on its slice of the corpus",
        stage="checkpoints",
        low=1,
        high=1024,
        off=True,
    )
    rounds: int = _option(
        1,
        "model",
        "how many times in an epoch the replicas' weights are merged",
        stage="checkpoints",
        low=1,
        high=MOST_ROUNDS,
        off=True,
    )
    seed: int = _option(1, "model", "decides every random draw", stage="batches", low=0, high=2**64 - 1)
    holdout: float = _option(
        0.0,
        "model",
        "share of the sentences that are kept back from training, to measure a loss on; 0.01 is plenty",
        stage="batches",
        low=0,
        high=0.5,
    )
    input_format: str = _option("text", "model", "format of the input files", stage="text", choices=INPUT_FORMATS)
    encoding: str | None = _option(
        None,
        "model",
        "encoding of the input files (default: UTF-8)",
        stage="text",
        choices=ENCODINGS,
        optional=True,
        named={"latin1": "latin-1", "iso-8859-1": "latin-1", **{f"windows-125{i}": f"cp125{i}" for i in range(9)}},
        off=True,
    )
    field: str | None = _option(
        None,
        "model",
        "with jsonl or parquet: the field (a.b: field b within a) that holds text, a list of strings or of integers;"
        " with csv: the name or the number of the field with the text",
        stage="counts",
        optional=True,
    )
    separator: str | None = _option(
        None,
        "model",
        "with csv: the character between fields, or tab (default: the one of , ; tab | that the first file shows)",
        stage="text",
        optional=True,
        named=TAB,
        off=True,
    )
    no_header: bool = _option(False, "model", "with csv: the first record is data", stage="counts", off=True)
    tokenizer: str = _option(
        "whitespace",
        "model",
        "how lines become tokens: whitespace, unicode_words, characters, korean, japanese, chinese, icu, or"
        " module:function",
        stage="counts",
    )
    split: str | None = _option(
        None,
        "model",
        "cut a line, or the text of a row, into items at this text (or tab), in place of --tokenizer",
        stage="counts",
        optional=True,
        named=TAB,
        off=True,
    )
    lowercase: bool = _option(False, "model", "turn the text into lower case first", stage="counts")
    normalize: str | None = _option(
        None,
        "model",
        "bring the text into Unicode's normal form first",
        stage="counts",
        choices=NORMAL_FORMS,
        optional=True,
    )
    stopwords: str | None = _option(
        None,
        "model",
        "files (with commas) of words to leave out, one a line",
        stage="counts",
        optional=True,
    )
    phrases: int = _option(
        0,
        "model",
        "passes over the corpus that join words which belong together, as in new_york; 0: none",
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
        1000, "model", "most tokens in a sentence; longer lines are split", stage="counts", low=1, high=2**30
    )
    max_line_bytes: int = _option(
        128 << 20, "model", "longer lines are left out, and listed as dead letters", stage="text", low=1, high=2**30
    )
    allow_truncated: bool = _option(
        False, "model", "use a truncated or damaged compressed file as far as it can be read", stage="text"
    )
    block_bytes: int = _option(
        8 << 20, "layout", "about how many bytes of text a unit of work has", stage="counts", low=1, high=2**30
    )
    batches: str = _option(
        "stream", "layout", "stream: batches are made while training; stored: first, into Parquet", choices=BATCHES
    )
    checkpoint_every: int | None = _option(
        None, "execution", "steps between checkpoints (default: about a minute)", low=1, optional=True
    )
    keep_checkpoints: int = _option(3, "execution", "number of newest checkpoints to keep", low=1)
    device: str = _option(
        "auto", "execution", "where to train; auto: on a GPU if there is one. The bytes are the same", choices=DEVICES
    )
    threads: int | None = _option(
        None, "execution", "threads that train (default: the CPUs it may use)", low=1, high=1024, optional=True
    )
    max_bad_lines: str = _option(
        "1%", "execution", "bad lines that are tolerated: a number of lines, or a percentage like 1%"
    )

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Options:
        """Options from values of the command line or a file; the others have their defaults.

        A number may be text (YAML reads 1e-3 as text), and a whole number may be 5.0. Values are converted to the
        option's own type, so that equal options have equal stage keys.

        Raises:
          InputError: an option does not exist, a value is not allowed, or two do not go together.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in values:
            if name not in fields:
                raise InputError(f"{name} is no option; there are {', '.join(fields)}")
        options = cls(**{name: _checked(fields[name], value) for name, value in values.items()})
        options.check()
        return options

    @classmethod
    def check_stored(cls, values: Mapping[str, Any]) -> None:
        """InputError unless each value is one that `checked` may have returned; all names are known.

        Args:
          values: of run.json, which others may have written.
        """
        for name, value in values.items():
            field = next(field for field in dataclasses.fields(cls) if field.name == name)
            if value not in field.metadata["named"].values():
                typed = _checked(field, value)
                if type(typed) is not type(value) and not isinstance(typed, float):
                    raise InputError(f"--{name}={shown(value)}: allowed {_allowed(field)}")

    def check(self) -> None:
        """InputError if options that are allowed by themselves do not go together."""
        bad_line_limit(self.max_bad_lines, 0)
        if self.window == ALL and self.max_sentence > MAX_ALL:
            raise InputError(
                f"--window=all pairs all words of a sentence with each other, so it allows --max_sentence of at most"
                f" {MAX_ALL:,}: set --max_sentence={MAX_ALL} in place of {self.max_sentence}"
            )
        if self.window == ALL and self.phrases:
            raise InputError(
                "--phrases and --window=all do not go together: --phrases joins words that follow each other, and"
                " --window=all is for sets without order. Leave one out"
            )
        if self.vocabulary and self.max_vocabulary:
            raise InputError(
                f"--max_vocabulary={self.max_vocabulary} has no effect with --vocabulary, whose words are all kept:"
                " leave one out"
            )
        if self.rounds > 1 and self.replicas == 1:
            raise InputError(
                f"--rounds={self.rounds} needs --replicas: one trainer has nothing to merge. Leave --rounds out, or set"
                " --replicas to 2 or more"
            )
        if self.replicas > 1 and self.epochs * self.rounds > MOST_ROUNDS:
            raise InputError(
                f"--epochs={self.epochs} with --rounds={self.rounds} makes {self.epochs * self.rounds:,} rounds, a run"
                f" can have {MOST_ROUNDS:,}: lower --rounds"
            )

    @property
    def thread_count(self) -> int:
        return self.threads or available_cpus()

    def of_kind(self, kind: str) -> dict[str, Any]:
        """Name -> value of the options of one kind."""
        fields = [field for field in dataclasses.fields(self) if field.metadata["kind"] == kind]
        return {field.name: getattr(self, field.name) for field in fields}

    def of_stage(self, stage: str) -> dict[str, Any]:
        """Name -> value of the model and layout options whose first effect is on `stage`, for its key.

        Options that are declared `off` are left out where they have their default.
        """
        names = {
            f.name
            for f in dataclasses.fields(self)
            if f.metadata["stage"] == stage and not (f.metadata["off"] and getattr(self, f.name) == f.default)
        }
        known = self.of_kind("model") | self.of_kind("layout")
        del known["phrases"]  # decides which stages there are, not the content of any
        del known["start_from"]  # what it names decides, not the name
        return {name: value for name, value in known.items() if name in names}


def shown_value(name: str, value: Any) -> str:
    """A value as the user would write it: by its name if it has one."""
    if value is None or value == "":
        return "not set"
    field = next((field for field in dataclasses.fields(Options) if field.name == name), None)
    named = field.metadata["named"] if field and value not in field.metadata["choices"] else {}
    return next((text for text, meant in named.items() if meant == value), shown(value))


def _checked(field: dataclasses.Field, value: Any) -> Any:
    """The value converted to the option's type; InputError if it is not allowed."""
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


def _typed(kind: str, value: Any) -> Any:
    """The value converted to the type of this name, or None if it cannot be."""
    if kind == "bool":
        return {"true": True, "false": False}.get(str(value).lower())
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if kind == "str":
        return str(value)
    try:
        if kind == "float":
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
    return value > meta["low"] if meta["over"] else value >= meta["low"]  # NaN fails both


def _allowed(field: dataclasses.Field) -> str:
    """What is allowed, in words: the end of a sentence that begins with "allowed"."""
    meta, kind = field.metadata, _type_name(field)
    if meta["choices"] or kind == "bool":
        return "are " + ", ".join(meta["choices"] or ("true", "false"))
    if kind == "str":
        return "is any text"
    text = "is a whole number" if kind == "int" else "is a number"
    if meta["named"]:
        text += f" (or {', '.join(meta['named'])})"
    if meta["low"] is not None:
        text += (" above " if meta["over"] else " of at least ") + _number(meta["low"])
    if meta["high"] is not None:
        text += " and at most " + _number(meta["high"])
    return text


def _number(value: float) -> str:
    """A bound with all its digits, which a float format would round."""
    return str(int(value)) if value == int(value) else repr(value)


def bad_line_limit(text: str, lines: int) -> float:
    """How many bad lines --max_bad_lines tolerates among `lines`.

    Examples:
      >>> bad_line_limit("100", lines=5000), bad_line_limit("1%", lines=5000)
      (100.0, 50.0)

    Raises:
      InputError: the text is neither a number nor a percentage from 0% to 100%.
    """
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else None
        limit = float(int(text)) if share is None else share * lines
        if limit < 0 or (share is not None and not 0 <= share <= 1):
            raise ValueError
    except ValueError:
        message = f"--max_bad_lines={text}: allowed is a number of lines, or a percentage of them such as 1%"
        raise InputError(message) from None
    return limit
