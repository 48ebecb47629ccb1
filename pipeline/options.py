"""Every option of a run, declared once: default, allowed values, help, and what it decides.

The command line, the configuration file, the checks, the stage keys and docs/options.md are all made from this table.

Kinds:
  model      decides bytes of the model; must be the same when a run is resumed.
  layout     decides how artefacts are divided, never the model; must be the same when a run is resumed.
  execution  decides only speed and place; may change at any time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from pipeline.errors import InputError
from pipeline.option_values import allowed_values, bad_line_limit, checked_value, option
from pipeline.runtime.cpus import available_cpus
from pipeline.runtime.shown_text import shown

MODELS = ("skipgram", "cbow")
LEARNING_RATES = {"skipgram": 0.05, "cbow": 0.12}
"""The default of --learning_rate; docs/performance.md has the measurements."""
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

    model: str = option("skipgram", "model", "skip-gram or CBOW", stage="checkpoints", choices=MODELS, child="same")
    dims: int = option(100, "model", "length of a vector", stage="checkpoints", low=1, high=4096, child="same")
    window: int = option(
        5,
        "model",
        "largest distance of a context word from its target; all: every other word of the sentence",
        stage="batches",
        low=1,
        high=1000,
        named={"all": ALL},
    )
    negatives: int = option(5, "model", "negative samples for each target", stage="batches", low=1, high=1000)
    power: float = option(
        0.75,
        "model",
        "exponent of the unigram distribution of negatives; 0: uniform, below 0: rare words more often",
        stage="unigram",
        low=-1,
        high=4,
    )
    negative_policy: str = option(
        "exclude_target",
        "model",
        "which negatives a row may have. exclude_target: not the target; distinct: not the target, and none twice;"
        " any: all words",
        stage="batches",
        choices=NEGATIVE_POLICIES,
    )
    subsample: float = option(
        1e-3, "model", "words above this frequency lose some occurrences; 0: none do", stage="unigram", low=0, high=1
    )
    min_count: int = option(5, "model", "words that occur less often are left out", stage="vocabulary", low=1)
    max_vocabulary: int | None = option(
        None, "model", "keep only this many of the most frequent words", stage="vocabulary", low=1, optional=True
    )
    vocabulary: str | None = option(
        None,
        "model",
        "a file of words, with or without counts, that is the vocabulary: in its order, however often they occur",
        stage="vocabulary",
        optional=True,
    )
    start_from: str | None = option(
        None,
        "model",
        "first vectors from another run (RUN, or RUN@STEP) or a file of vectors, for the words that are there",
        stage="checkpoints",
        optional=True,
        off=True,
        child="own",
    )
    update: str | None = option(
        None,
        "model",
        "the finished run that this one brings up to date: --input is new text alone",
        stage="checkpoints",
        optional=True,
        off=True,
        child="own",
    )
    epochs: int = option(5, "model", "passes over the corpus", stage="checkpoints", low=1, high=MAX_EPOCHS, child="own")
    learning_rate: float = option(
        None,  # see __post_init__
        "model",
        "learning rate of the first step; it falls linearly to 1e-4 of this (default: 0.05, with CBOW 0.12)",
        stage="checkpoints",
        low=0,
        high=10,
        over=True,
        child="own",
    )
    damping: float = option(
        6.4,
        "model",
        "limit on how far a weight row moves in one step, in mean gradients",
        stage="checkpoints",
        low=0,
        high=1e6,
        over=True,
    )
    batch_size: int = option(
        2048, "model", "token positions that a training step covers", stage="checkpoints", low=1, high=2**22
    )
    replicas: int = option(
        1,
        "model",
        "number of trainers that work side by side, each on its slice of the corpus",
        stage="checkpoints",
        low=1,
        high=1024,
        off=True,
    )
    rounds: int = option(
        1,
        "model",
        "how many times in an epoch the replicas' weights are merged",
        stage="checkpoints",
        low=1,
        high=MOST_ROUNDS,
        off=True,
    )
    count_decay: float = option(
        1.0,
        "model",
        "with --update, what the parent's counts of words are multiplied by; 1: nothing is forgotten",
        stage="totals",
        low=0,
        high=1,
        over=True,
        off=True,
    )
    totals: int = option(
        20_000_000,
        "model",
        "words whose counts are kept for --update, beside those of the vocabulary",
        stage="totals",
        low=0,
        off=True,
    )
    replay: float = option(
        1.0,
        "model",
        "with --update, words of old sentences that an epoch replays for each word of new text",
        stage="replay",
        low=0,
        high=100,
        off=True,
    )
    replay_words: int = option(
        20_000_000,
        "model",
        "words of sentences that are kept, so that --update can replay them; 0: no text is kept",
        stage="reservoir",
        low=0,
        high=2**30,
        off=True,
    )
    seed: int = option(1, "model", "decides every random draw", stage="batches", low=0, high=2**64 - 1)
    holdout: float = option(
        0.0,
        "model",
        "share of the sentences that are kept back from training, to measure a loss on; 0.01 is plenty",
        stage="tokens",
        low=0,
        high=0.5,
    )
    input_format: str = option("text", "model", "format of the input files", stage="text", choices=INPUT_FORMATS)
    encoding: str | None = option(
        None,
        "model",
        "encoding of the input files (default: UTF-8)",
        stage="text",
        choices=ENCODINGS,
        optional=True,
        named={"latin1": "latin-1", "iso-8859-1": "latin-1", **{f"windows-125{i}": f"cp125{i}" for i in range(9)}},
        off=True,
    )
    field: str | None = option(
        None,
        "model",
        "with jsonl or parquet: the field (a.b: field b within a) that holds text, a list of strings or of integers;"
        " with csv: the name or the number of the field with the text",
        stage="counts",
        optional=True,
    )
    separator: str | None = option(
        None,
        "model",
        "with csv: the character between fields, or tab (default: the one of , ; tab | that the first file shows)",
        stage="text",
        optional=True,
        named=TAB,
        off=True,
    )
    no_header: bool = option(False, "model", "with csv: the first record is data", stage="counts", off=True)
    no_quotes: bool = option(False, "model", "with csv: a quote is a character like others", stage="counts", off=True)
    tokenizer: str = option(
        "whitespace",
        "model",
        "how lines become tokens: whitespace, unicode_words, characters, korean, japanese, chinese, icu, or"
        " module:function",
        stage="counts",
        child="same",
    )
    split: str | None = option(
        None,
        "model",
        "cut a line, or the text of a row, into items at this text (or tab), in place of --tokenizer",
        stage="counts",
        optional=True,
        named=TAB,
        off=True,
    )
    lowercase: bool = option(False, "model", "turn the text into lower case first", stage="counts", child="same")
    normalize: str | None = option(
        None,
        "model",
        "bring the text into Unicode's normal form first",
        stage="counts",
        choices=NORMAL_FORMS,
        optional=True,
        child="same",
    )
    stopwords: str | None = option(
        None,
        "model",
        "files (with commas) of words to leave out, one a line",
        stage="counts",
        optional=True,
        child="same",
    )
    phrases: int = option(
        0,
        "model",
        "passes over the corpus that join words which belong together, as in new_york; 0: none",
        stage="phrases",
        low=0,
        high=MAX_PASSES,
        child="same",
    )
    phrase_threshold: float = option(
        100.0,
        "model",
        "score above which two words are joined",
        stage="phrases",
        low=0,
        high=1e15,
        child="same",
    )
    phrase_discount: int = option(
        5,
        "model",
        "pairs that occur no more often than this are never joined",
        stage="phrases",
        low=0,
        high=2**31 - 1,
        child="same",
    )
    max_sentence: int = option(
        1000,
        "model",
        "most tokens in a sentence; longer lines are split",
        stage="counts",
        low=1,
        high=2**30,
        child="same",
    )
    max_line_bytes: int = option(
        128 << 20, "model", "longer lines are left out, and listed as dead letters", stage="text", low=1, high=2**30
    )
    allow_truncated: bool = option(
        False, "model", "use a truncated or damaged compressed file as far as it can be read", stage="text"
    )
    block_bytes: int = option(
        8 << 20, "layout", "about how many bytes of text a unit of work has", stage="counts", low=1, high=2**30
    )
    batches: str = option(
        "stream", "layout", "stream: batches are made while training; stored: first, into Parquet", choices=BATCHES
    )
    checkpoint_every: int | None = option(
        None, "execution", "steps between checkpoints (default: about a minute)", low=1, optional=True
    )
    keep_checkpoints: int = option(3, "execution", "number of newest checkpoints to keep", low=1)
    device: str = option(
        "auto", "execution", "where to train; auto: on a GPU if there is one. The bytes are the same", choices=DEVICES
    )
    reuse: str | None = option(
        None,
        "execution",
        "a folder that keeps the sentences of files which were read, so that they are not read again",
        optional=True,
    )
    reread: bool = option(False, "execution", "with --reuse, read all files again, and keep what is read now")
    threads: int | None = option(
        None, "execution", "threads that train (default: the CPUs it may use)", low=1, high=1024, optional=True
    )
    max_bad_lines: str = option(
        "1%", "execution", "bad lines that are tolerated: a number of lines, or a percentage like 1%"
    )

    def __post_init__(self) -> None:
        if vars(self)["learning_rate"] is None:  # that is, not given
            object.__setattr__(self, "learning_rate", LEARNING_RATES.get(self.model))

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
        options = cls(**{name: checked_value(fields[name], value) for name, value in values.items()})
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
                typed = checked_value(field, value)
                if type(typed) is not type(value) and not isinstance(typed, float):
                    raise InputError(f"--{name}={shown(value)}: allowed {allowed_values(field)}")

    def check(self) -> None:
        """InputError if options that are allowed by themselves do not go together."""
        bad_line_limit(self.max_bad_lines, 0)
        for field in dataclasses.fields(self):
            if field.metadata["optional"] and getattr(self, field.name) == "":
                raise InputError(f"--{field.name}= is empty: leave it out, or give it a value")
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
        if Fraction(repr(self.count_decay)).denominator > 10**9:
            raise InputError(f"--count_decay={self.count_decay} has more than nine digits behind the point: round it")
        if self.update and self.start_from:
            raise InputError("--update begins with its parent's vectors: leave --start_from out")
        if self.update and self.model != "skipgram":
            raise InputError(
                f"--update is for skip-gram, this is {self.model}: with --start_from={self.update} train on all text,"
                " old and new"
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
        del known["start_from"], known["update"]  # what they name decides, not the name
        return {name: value for name, value in known.items() if name in names}


def shown_value(name: str, value: Any) -> str:
    """A value as the user would write it: by its name if it has one."""
    if value is None or value == "":
        return "not set"
    field = next((field for field in dataclasses.fields(Options) if field.name == name), None)
    named = field.metadata["named"] if field and value not in field.metadata["choices"] else {}
    return next((text for text, meant in named.items() if meant == value), shown(value))
