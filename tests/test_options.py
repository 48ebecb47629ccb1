"""Options: every range is checked, and says what is allowed; keys follow values and not spellings."""

from __future__ import annotations

import dataclasses
import math

import pytest
import yaml

from pipeline import options
from pipeline.errors import InputError
from pipeline.option_values import bad_line_limit
from pipeline.options import LEARNING_RATES, Options
from tests.helpers.commands import train

FIELDS = {field.name: field for field in dataclasses.fields(Options)}
NUMBERS = [name for name, field in FIELDS.items() if field.metadata["low"] is not None]
CHOICES = [name for name, field in FIELDS.items() if field.metadata["choices"]]

RANGES = {  # written out once more: (lowest, highest, just too low, just too high); None is without bound
    "dims": (1, 4096, 0, 4097),
    "window": (1, 1000, 0, 1001),
    "negatives": (1, 1000, 0, 1001),
    "power": (-1, 4, -1.01, 4.01),
    "subsample": (0, 1, -1e-9, 1.01),
    "min_count": (1, None, 0, None),
    "max_vocabulary": (1, None, 0, None),
    "epochs": (1, 65535, 0, 65536),
    "learning_rate": (1e-12, 10, 0, 10.1),
    "damping": (1e-9, 1e6, 0, 1e6 + 1),
    "batch_size": (1, 2**22, 0, 2**22 + 1),
    "replicas": (1, 1024, 0, 1025),
    "rounds": (1, 500, 0, 501),
    "count_decay": (1e-9, 1, 0, 1.01),
    "totals": (0, None, -1, None),
    "replay": (0, 100, -0.1, 100.1),
    "replay_words": (0, 2**30, -1, 2**30 + 1),
    "seed": (0, 2**64 - 1, -1, 2**64),
    "holdout": (0, 0.5, -1e-9, 0.51),
    "phrases": (0, 16, -1, 17),
    "phrase_threshold": (0, 1e15, -0.1, 2e15),
    "phrase_discount": (0, 2**31 - 1, -1, 2**31),
    "max_sentence": (1, 2**30, 0, 2**30 + 1),
    "max_line_bytes": (1, 2**30, 0, 2**30 + 1),
    "block_bytes": (1, 2**30, 0, 2**30 + 1),
    "checkpoint_every": (1, None, 0, None),
    "keep_checkpoints": (1, None, 0, None),
    "threads": (1, 1024, 0, 1025),
}
COMPANIONS: dict[str, dict] = {"rounds": {"replicas": 2, "epochs": 1}}
"""What an option needs beside it."""


def checked(name: str, value: object) -> Options:
    return Options.checked({**COMPANIONS.get(name, {}), name: value})


def refusal(name: str, value: object) -> str:
    with pytest.raises(InputError) as refused:
        checked(name, value)
    return str(refused.value)


def test_defaults_are_allowed_and_stay_what_they_are():
    assert Options.checked({}) == Options()
    for name, value in dataclasses.asdict(Options()).items():
        assert getattr(Options.checked({name: value}), name) == value


def test_the_learning_rate_is_that_of_the_model_unless_it_is_given():
    assert Options().learning_rate == Options.checked({}).learning_rate == 0.05
    assert Options(model="cbow").learning_rate == LEARNING_RATES["cbow"] > 0.05
    assert Options.checked({"model": "cbow", "learning_rate": "0.05"}).learning_rate == 0.05
    with pytest.raises(InputError, match="--learning_rate="):
        Options.checked({"learning_rate": None})


def test_every_number_has_its_range_here():
    assert list(RANGES) == NUMBERS


@pytest.mark.parametrize("name", NUMBERS)
def test_the_ends_of_a_range_are_allowed(name):
    lowest, highest, _, _ = RANGES[name]
    for value in (lowest, 10**15 if highest is None else highest):
        assert getattr(checked(name, value), name) == value


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_beyond_its_range_is_refused(name):
    _, highest, low, high = RANGES[name]
    for value in (low, high, -(10**400)):
        if value is None:
            continue
        message = refusal(name, value)
        assert message.startswith(f"--{name}={str(value)[:100]}")  # a value of 400 digits is cut
        assert ": allowed is a " in message
        bound = FIELDS[name].metadata["low"]
        wanted = f" above {bound}" if FIELDS[name].metadata["over"] else f" at least {bound}"
        assert wanted in message
        if highest is not None:
            assert message.endswith(f" and at most {highest if highest % 1 else int(highest)}")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "five", "", True, [5], {"a": 1}])
def test_what_is_no_finite_number_is_refused(name, value):
    assert refusal(name, value).startswith(f"--{name}={value}: allowed is a ")


@pytest.mark.parametrize("name", [name for name in NUMBERS if "int" in FIELDS[name].type])
def test_a_whole_number_stays_whole(name):
    assert type(getattr(checked(name, 8.0), name)) is int
    assert type(getattr(checked(name, "8"), name)) is int
    for value in (2.5, "2.5", 1e400):
        assert "allowed is a whole number" in refusal(name, value)


def test_numbers_as_yaml_reads_them():
    file = "{subsample: 1e-4, power: 1, batch_size: 1.0e+4, lowercase: yes, max_bad_lines: 10}"
    values = yaml.safe_load(file)
    assert values["subsample"] == "1e-4"  # YAML 1.1 wants a dot in it
    checked = Options.checked(values)
    assert checked == Options(subsample=1e-4, power=1.0, batch_size=10000, lowercase=True, max_bad_lines="10")


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name):
    choices = FIELDS[name].metadata["choices"]
    for choice in choices:
        assert getattr(Options.checked({name: choice}), name) == choice
    for value in ("other", "", 3, [choices[0]]):
        assert refusal(name, value) == f"--{name}={value}: allowed are {', '.join(choices)}"


def test_yes_or_no():
    for value in (True, "true", "True"):
        assert Options.checked({"lowercase": value}).lowercase is True
    for value in (False, "false"):
        assert Options.checked({"lowercase": value}).lowercase is False
    assert refusal("lowercase", "maybe") == "--lowercase=maybe: allowed are true, false"
    assert refusal("lowercase", 1) == "--lowercase=1: allowed are true, false"


@pytest.mark.parametrize("name", FIELDS)
def test_only_optional_options_may_be_empty(name):
    if FIELDS[name].metadata["optional"]:
        assert getattr(Options.checked({name: None}), name) is None
    else:
        assert refusal(name, None).startswith(f"--{name}=: allowed ")


def test_an_unknown_option_is_refused():
    assert refusal("dim", 5).startswith("dim is no option; there are model, dims, ")


def test_numbers_with_a_fraction_have_a_highest_value():
    """Which is what refuses infinity."""
    floats = [name for name in NUMBERS if FIELDS[name].type.startswith("float")]
    assert all(math.isfinite(FIELDS[name].metadata["high"]) for name in floats)


# Bad lines.


LIMITS = [("0", 0), ("100", 100), ("1%", 20), ("0%", 0), ("100%", 2000), (".5%", 10)]


@pytest.mark.parametrize(("text", "limit"), LIMITS)
def test_bad_line_limit(text, limit):
    assert bad_line_limit(text, 2000) == limit


@pytest.mark.parametrize("text", ["", "%", "-1", "-1%", "101%", "1.5", "nan%", "inf%", "inf", "many", "1%%"])
def test_bad_line_limit_that_is_none(text):
    message = f"--max_bad_lines={text}: allowed is a number of lines, or a percentage of them such as 1%"
    assert refusal("max_bad_lines", text) == message
    with pytest.raises(InputError):
        bad_line_limit(text, 10)


# What an option decides.


def test_every_model_option_belongs_to_a_stage_and_no_execution_option_does():
    stages = {"text", "phrases", "counts", "totals", "vocabulary", "unigram", "tokens"}
    stages |= {"reservoir", "replay", "batches", "checkpoints"}
    for name, field in FIELDS.items():
        kind, stage = field.metadata["kind"], field.metadata["stage"]
        assert kind in ("model", "layout", "execution")
        assert field.metadata["help"]
        if kind == "model":
            assert stage in stages, name
        if kind == "execution":
            assert not stage, name


def test_kinds_share_out_all_options():
    kinds = [Options().of_kind(kind) for kind in ("model", "layout", "execution")]
    assert sorted(name for kind in kinds for name in kind) == sorted(FIELDS)


def test_options_of_a_stage():
    assert Options(min_count=3).of_stage("vocabulary") == {"min_count": 3, "max_vocabulary": None, "vocabulary": None}
    assert "block_bytes" in Options().of_stage("counts")


def test_an_option_that_is_off_is_in_no_key():
    assert not {"replicas", "rounds"} & Options().of_stage("checkpoints").keys()
    assert Options(replicas=2).of_stage("checkpoints")["replicas"] == 2
    assert "rounds" not in Options(replicas=2).of_stage("checkpoints")


@pytest.mark.parametrize(
    ("name", "values"),
    [("power", (1, 1.0, "1")), ("dims", (64, 64.0, "64")), ("seed", (2**64 - 1, str(2**64 - 1)))],
)
def test_equal_options_are_equal_however_they_are_written(name, values):
    written = [repr(Options.checked({name: value}).of_kind("model")) for value in values]
    assert len(set(written)) == 1


def test_threads_are_those_of_the_process_unless_given(monkeypatch):
    monkeypatch.setattr(options, "available_cpus", lambda: 7)
    assert Options().thread_count == 7
    assert Options(threads=3).thread_count == 3


def test_values_are_shown_as_they_are_written():
    assert options.shown_value("window", Options.checked({"window": "all"}).window) == "all"
    assert options.shown_value("window", 5) == "5"
    assert options.shown_value("encoding", Options.checked({"encoding": "windows-1252"}).encoding) == "cp1252"
    assert options.shown_value("separator", Options.checked({"separator": "tab"}).separator) == "tab"
    assert options.shown_value("threads", None) == options.shown_value("vocabulary", "") == "not set"


def test_a_limit_that_would_be_ignored_is_refused():
    Options.checked({"vocabulary": "list"}).check()
    with pytest.raises(InputError, match=r"--max_vocabulary=2 has no effect with --vocabulary, .* leave one out"):
        Options.checked({"vocabulary": "list", "max_vocabulary": 2})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--phrases=1", "--window=all"], "--phrases and --window=all do not go together"),
        (["--phrase_threshold=7"], "--phrase_threshold=7.0 has no effect without --phrases"),
        (["--phrase_discount=0"], "--phrase_discount=0 has no effect without --phrases"),
        (["--phrases=17"], "--phrases=17: allowed is a whole number of at least 0 and at most 16"),
        (["--phrases=1", "--input_format=jsonl", "--field=x"], "--phrases joins words, and --field=x is a list of int"),
    ],
)
def test_options_that_do_not_go_with_phrases(tmp_path, arguments, message):
    (tmp_path / "a").write_text('{"x": [1, 2]}\n')
    assert message in train(f"--input={tmp_path / 'a'}", f"--output={tmp_path / 'run'}", *arguments).error


def test_a_decay_is_a_decimal_fraction_that_arithmetic_can_keep_exactly():
    assert checked("count_decay", "0.123456789").count_decay == 0.123456789
    assert "--count_decay=0.1234567891 has more than nine digits" in refusal("count_decay", 0.1234567891)


def test_update_goes_with_neither_another_start_nor_cbow():
    refused = ({"start_from": "b"}, "leave --start_from out"), ({"model": "cbow"}, "--update is for skip-gram")
    for more, said in refused:
        with pytest.raises(InputError, match=said):
            Options.checked({"update": "a", **more})


def test_what_a_child_shares_with_its_parent():
    by_child = {kind: {n for n, f in FIELDS.items() if f.metadata["child"] == kind} for kind in ("same", "own")}
    assert by_child["own"] == {"start_from", "update", "epochs", "learning_rate"}
    assert {"dims", "model", "tokenizer", "lowercase", "normalize", "stopwords", "max_sentence"} < by_child["same"]
    assert {f.metadata["child"] for f in FIELDS.values()} == {"same", "own", "free"}


@pytest.mark.parametrize("name", ["update", "start_from", "vocabulary", "stopwords", "field"])
def test_an_option_that_a_script_has_left_empty_is_refused(name):
    with pytest.raises(InputError, match=f"--{name}= is empty: leave it out"):
        Options.checked({name: ""})
