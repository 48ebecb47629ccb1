"""Options from the command line and a configuration file; options that are not beam2vec's go to Beam."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import io
import itertools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import yaml
from apache_beam.options.pipeline_options import PipelineOptions

from jobs.cli.names_elsewhere import named_elsewhere
from jobs.cli.reading_options import Parser, add_log_format
from jobs.runners.launch import IN_THIS_PROCESS, whole_name
from jobs.sources import Request
from pipeline.corpus.files import read_option_file, split_names
from pipeline.corpus.tokenizers.tokenizer import BUILT_IN
from pipeline.errors import InputError
from pipeline.model.spelling import suggestions
from pipeline.options import Options
from pipeline.runtime.messages import say
from pipeline.runtime.shown_text import quoted, shown
from pipeline.storage.open_storage import refuse_secrets_of_option

KINDS = {
    "model": "model options (these, the corpus and the seed decide the model's bytes)",
    "layout": "layout options (fixed when a run is resumed; no effect on the model)",
    "execution": "execution options (free to change when a run is resumed; no effect on the model)",
}

_SWITCHES = {
    "overwrite": "replace a run that differs; what is alike is reused",
    "take_over": "take over from a command that was killed, on a store without conditional replacement",
    "no_report": "end without writing report.html into the output",
    "skip_taken": "with --update, leave out input files that the parent, or one before it, has taken",
    "accept_tokenizer": "with --update, go on although the tokeniser has another version than the parent's",
}
_TRAINING_FILES = frozenset(_SWITCHES) - {"overwrite", "take_over"} | {"corpus"}
_FILES = frozenset({"input", "output", "json", *_SWITCHES, *_TRAINING_FILES})
_MANY_CHOICES = 12
"""So many allowed values are not listed in the help."""
_NAME_FILES = frozenset({"vocabulary", "stopwords"})
_OFF = {name: f"--no-{name}" for name in _SWITCHES}
"""Arguments that switch off what a configuration file has switched on."""
_ALIKE = 0.7
"""From this similarity of two names on (share of common letters, in order) one may be a typing error for the other."""


class _Parser(Parser):
    """The parser of training and preprocessing, which also passes options on to Beam."""

    names: frozenset[str] = frozenset()
    """names of the options that the command takes, including those of files"""


def parser(prog: str, description: str, only: Collection[str] | None = None) -> _Parser:
    """A parser of options, with help grouped by kind.

    Args:
      only: names of the options of `Options` that the command takes; None stands for all, which
        are those of a training run.
    """
    trains = only is None
    command_parser = _Parser(
        prog,
        usage=f"{prog} --input=PATTERN[,PATTERN...] --output=DIR [options]",
        description=description,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    files = command_parser.add_argument_group("files")
    files.add_argument(
        "--input",
        action="append",
        metavar="PATTERN[,PATTERN...]",
        help="files, folders, patterns, or @FILE that lists them; given several times, it adds up",
    )
    if trains:
        files.add_argument(
            "--corpus",
            metavar="RUN",
            help="in place of --input: a run of beam2vec preprocess or beam2vec train, whose tokens are trained on",
        )
    files.add_argument("--output", metavar="DIR", help="where the run goes: a folder, or s3://bucket/prefix")
    files.add_argument(
        "--config",
        action="append",
        metavar="FILE.yaml",
        help="the same options as a file; the command line wins; several files may not disagree",
    )
    for name in [name for name in _SWITCHES if trains or name not in _TRAINING_FILES]:
        files.add_argument(f"--{name}", action="store_true", help=_SWITCHES[name])
        files.add_argument(_OFF[name], dest=name, action="store_false", help=argparse.SUPPRESS)
    files.add_argument(
        "--json", metavar="FILE", help="write the result and all warnings as JSON too; - prints JSON and nothing else"
    )
    add_log_format(files)
    groups = {kind: command_parser.add_argument_group(title) for kind, title in KINDS.items()}
    fields = [field for field in dataclasses.fields(Options) if only is None or field.name in only]
    for field in fields:
        text = field.metadata["help"]
        if field.default is not None and field.default is not False:
            text += f" (default: {field.default})"
        name, group = f"--{field.name}", groups[field.metadata["kind"]]
        if isinstance(field.default, bool):
            group.add_argument(name, action=argparse.BooleanOptionalAction, help=text)
        elif field.metadata["choices"]:
            choices = field.metadata["choices"]
            metavar = "|".join(choices) if len(choices) < _MANY_CHOICES else "NAME"
            group.add_argument(name, metavar=metavar, help=text.replace("%", "%%"))
        else:
            kind = str(field.type).partition(" | ")[0]
            metavar = "FILE" if field.name in _NAME_FILES else {"int": "N", "float": "X"}.get(kind, "TEXT")
            action = "append" if field.name == "stopwords" else "store"
            group.add_argument(name, action=action, metavar=metavar, help=text.replace("%", "%%"))
    command_parser.names = frozenset(field.name for field in fields) | (_FILES if trains else _FILES - _TRAINING_FILES)
    command_parser.epilog = (
        "Beam's own options are passed on: --runner=..., --dry_run (print the plan and stop), and so on."
    )
    return command_parser


def read(arguments: Sequence[str], command_parser: _Parser) -> Request:
    """Parses and checks everything; InputError names the option, the value and what is allowed."""
    known, others = command_parser.parse_known_args(
        [argument for values in arguments for argument in _for_argparse(values)]
    )
    values = vars(known)
    values.pop("log_format", None)
    beam = _all_for_beam(others)
    _refuse_of_training(beam, command_parser)
    parse_beam_options(beam, once=True)
    if "config" in values:
        own_values, beam_arguments = _read_configs(values.pop("config"), command_parser.names)
        names_code = own_values.get("tokenizer", BUILT_IN[0]) not in BUILT_IN and "tokenizer" not in values
        values = {**own_values, **values}
        beam = _all_for_beam(beam_arguments) + beam
        if names_code and "--dry_run=True" in beam:
            say(f"--dry_run runs the code of --tokenizer={shown(values['tokenizer'])}, which --config names")
    _refuse_unknown(beam, command_parser)
    corpus = str(values.pop("corpus", ""))
    if corpus and values.get("input"):
        raise InputError(f"--corpus={corpus} has the text as tokens already: leave --input out")
    for name in ("input", "output"):
        if not values.get(name) and not (name == "input" and corpus):
            raise InputError(f"--{name} is missing: see --help")
    if isinstance(files := values.get("stopwords"), list):
        values["stopwords"] = ",".join(map(str, files))
    inputs = values.pop("input", "")
    lists = inputs if isinstance(inputs, list) else [inputs]
    patterns = [pattern for names in lists for pattern in split_names(str(names))]
    output, json_file = str(values.pop("output")), str(values.pop("json", ""))
    switches = {name: values.pop(name, False) for name in _SWITCHES}
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise InputError(f"--{name}={value}: allowed are true, false")
    return Request(
        tuple(patterns),
        output,
        switches["overwrite"],
        not switches["no_report"],
        Options.checked(values),
        tuple(beam),
        corpus,
        frozenset(values),
        json_file,
        switches["skip_taken"],
        switches["accept_tokenizer"],
        switches["take_over"],
    )


def _for_argparse(argument: str) -> list[str]:
    """An argument in the form for argparse: --min-count=3 as --min_count=3, --lowercase=true as --lowercase.

    Launchers of templates can only write a switch with a value. Other arguments stay as they are.
    """
    name, equals, value = argument.partition("=")
    option = name[2:].replace("-", "_")
    if not name.startswith("--") or option not in _all_names():
        return [argument]
    switches = {field.name for field in dataclasses.fields(Options) if isinstance(field.default, bool)}
    if value.lower() in ("true", "false") and option in {*switches, *_SWITCHES}:
        return [f"--{option}" if value.lower() == "true" else _OFF.get(option, f"--no-{option}")]
    return [f"--{option}{equals}{value}"]


def _all_for_beam(arguments: Sequence[str]) -> list[str]:
    return list(itertools.chain.from_iterable(map(_for_beam, arguments)))


def _for_beam(argument: str) -> list[str]:
    """An argument in the form for Beam, where --dry_run needs a value and any value means yes."""
    name, _, value = argument.partition("=")
    if name.replace("-", "_") != "__dry_run":
        return [argument]
    return [] if value.lower() == "false" else ["--dry_run=True"]


_MOST_BYTES, _DEEPEST = 1 << 20, 20
"""Of a configuration file: its size, and how deep its values are nested."""
_MERGE = "tag:yaml.org,2002:merge"
"""Of the key <<, which stands for the names of another mapping: a name beside it replaces one of these."""


class _AsWritten(yaml.SafeLoader):
    """YAML in which whole numbers and dates stay text, as on the command line: in YAML 010 is 8, and 1:30 is 90.

    A name that stands twice in a mapping is an error: YAML would forget the first value. So are an alias, by which a
    few lines stand for gigabytes, and values that are nested deeply.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # not its name, which may be a secret
            raise InputError(f"line {line:,} has an alias (*name): write the value itself")
        self.depth += 1
        if self.depth > _DEEPEST:
            raise InputError(f"values are nested more than {_DEEPEST} deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise InputError(f"{shown(name)} stands there twice: write it once")
        return super().construct_mapping(node, deep)


_AsWritten.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("int", "timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read_configs(paths: Sequence[str], taken: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """`_read_config` of several files; InputError if two of them give an option different values."""
    values: dict[str, Any] = {}
    beam: dict[str, list[str]] = {}
    places: dict[str, str] = {}
    for path in dict.fromkeys(paths):
        own_values, beam_arguments = _read_config(path, taken)
        for name, arguments in itertools.groupby(beam_arguments, lambda argument: argument.partition("=")[0]):
            own_values[name] = list(arguments)
        for name, value in own_values.items():
            earlier = (beam if name.startswith("--") else values).setdefault(name, value)
            if str(earlier) != str(value):  # .nan differs from itself
                raise InputError(
                    f"--config={places[name]} and --config={path} differ in {name.lstrip('-')}: leave it out of one"
                )
            places.setdefault(name, path)
    return values, list(itertools.chain.from_iterable(beam.values()))


def _read_config(path: str, taken: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """(options of the command, arguments for Beam) from a YAML file; options of other commands are ignored."""
    data = read_option_file("config", path, _MOST_BYTES)
    try:
        values = yaml.load(io.BytesIO(data), _AsWritten) or {}
    except InputError as error:
        raise InputError(f"--config={path}: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:  # its message may quote a secret
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"--config={path} is not YAML of names and values{place}") from None
    if not isinstance(values, Mapping):
        raise InputError(f"--config={path} must hold names and values, like `dims: 100`")
    own_values, beam = {}, []
    for key, value in values.items():
        refuse_secrets_of_option("", str(key), f"--config={path}: the name of an option")
        for text in _texts_in(value):
            refuse_secrets_of_option(str(key), text, f"--config={path}: {shown(str(key).partition('=')[0])}")
        name = str(key).replace("-", "_")
        if name == "config":
            raise InputError(f"--config={path} names another configuration file: put all options into one")
        if name == "log_format":
            raise InputError(f"--config={path} has log_format, which is told before a file is read: give it beside it")
        if name in own_values:
            raise InputError(f"--config={path}: {name} stands there twice, with - and with _: write it once")
        if name in taken:
            own_values[name] = value
        elif name not in _all_names():
            beam += _as_arguments(str(key), value)
    return own_values, beam


def _texts_in(value: Any) -> Iterator[str]:
    """The texts in a YAML value, as they would be on a command line: items of lists one by one, mappings as JSON."""
    if isinstance(value, (list, tuple, set)):
        for item in value:
            yield from _texts_in(item)
    else:
        yield json.dumps(value, default=str) if isinstance(value, Mapping) else str(value)


def _as_arguments(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    values = value if isinstance(value, list) else [value]
    return [f"--{name}={item}" for item in values]


def _all_names() -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(Options)) | _FILES | {"config", "log_format"}


def parse_beam_options(arguments: Sequence[str], once: bool = False) -> tuple[argparse.Namespace, list[str]]:
    """(Beam's options, arguments that Beam does not know)

    Args:
      once: refuse an option that is given twice with different values; else the last one counts, as for Beam.
    """
    beam = _Parser(add_help=False, allow_abbrev=False)
    beam.last_counts = not once
    for cls in PipelineOptions.__subclasses__():
        cls._add_argparse_args(beam)
    return beam.parse_known_args(list(arguments))


def _refuse_of_training(arguments: Sequence[str], command_parser: _Parser) -> None:
    """InputError for an option of training alone, before Beam sees it: Beam has an --update of its own."""
    for argument in arguments:
        name = argument[2:].partition("=")[0].replace("-", "_")
        if argument.startswith("--") and name in _all_names() - command_parser.names:
            does = ", which makes no model and updates none" if name == "update" else ""
            raise InputError(f"--{name} is not an option of {command_parser.prog}{does}: give it to beam2vec train")


def _refuse_unknown(arguments: Sequence[str], command_parser: _Parser) -> None:
    """InputError for an option that neither beam2vec nor Beam knows, if the runner is in this process.

    Other runners have options that Beam's Python code does not know. For them, only an option within two letters of one
    of beam2vec's is refused.
    """
    known, unknown = parse_beam_options(arguments)
    local = whole_name(known.runner) in IN_THIS_PROCESS
    names = sorted(command_parser.names | {"config", "help", "log_format"})
    if messages := [message for argument in unknown if (message := named_elsewhere(argument))]:
        raise InputError("; ".join(messages))
    for argument in unknown:
        if not argument.startswith("--"):
            raise InputError(
                f"{quoted(argument)} belongs to no option: quote the pattern (--input='texts/*') or separate files by"
                " commas, and put = between an option and its value"
            )
        name = argument[2:].partition("=")[0].replace("-", "_")
        near = difflib.get_close_matches(name, names, 1, _ALIKE) if local else suggestions(name, names, 1)
        if near:
            raise InputError(f"--{name} is no option: did you mean --{near[0]}?")
        if local:
            raise InputError(f"--{name} is no option, here or in Beam: see --help")
