"""The reference of all options, made from their declarations.

python -m jobs.cli.options_reference > docs/options.md
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from pipeline.options import MODELS, Options
from pipeline.runs.parent import LEARNING_RATE, OF_FORMAT
from pipeline.runs.stage_keys import stages

HEAD = """\
# Options

Made from `pipeline/options.py` by `make docs`; edit there.

    beam2vec train --input=PATTERN[,PATTERN...] --output=DIR [options]

- `--input`: text files, folders or patterns, separated by commas; `*`, `?` and `[...]` stay within a
  folder, `**` between slashes is any number of folders; `@FILE` stands for the
  patterns in a file, one a line, and `#` begins a comment. Plain, gzip, bzip2, xz or zstd, recognised by content.
  Local paths, `s3://`, `gs://`, `az://`.
- `--corpus`: in place of `--input`, a run whose vocabulary and tokens are trained on; see
  [preprocessing.md](preprocessing.md).
- `--output`: where the run goes, a folder or a prefix in a bucket.
- `--config`: a YAML file with the same names (`dims: 200`); the command line wins.
- `--overwrite`: replace a run that differs. Only what its records name is removed, and what the new run
  would make alike is kept.
- `--take_over`: on a store without conditional replacement (PUT with If-Match), take over from a command that
  was killed. Elsewhere that needs no option. Use it only if no other command uses the output.
- `--no_report`: end without writing `report.html` into the output.

An option is written `--name=value`. All values are checked before anything runs. What is not listed
here goes to Beam (`--runner`, `--direct_num_workers`, ...); Beam's `--dry_run` prints the plan, shows what
the first lines are turned into, and stops. A name that Beam does not know either is refused; with another
runner than the default, which may know more, only within two letters of an option below. `--name=false` takes back a
switch that a configuration file has set.

`beam2vec preprocess` takes the same, but `--corpus`, `--no_report`, and the options below that are of training
alone: what begins to matter at the stage checkpoints, except for `--epochs` (how many are stored), and the
execution options except for `--threads` and `--max_bad_lines`.
"""

KINDS = {
    "model": """\
## Model options

These, the corpus and the seed decide the model's bytes. A run is resumed only with the same ones; the
stage named is the first whose artefacts depend on the option, so those of the stages before it are reused
when a run is replaced with `--overwrite`. In order:
{stages}; with `--phrases`, phrases come before counts.
""",
    "layout": """\
## Layout options

They decide how artefacts are cut up and never the model. A resumed run keeps those it began with.
""",
    "execution": """\
## Execution options

They decide speed and place, and are free to change whenever a run is resumed.
""",
}


def reference() -> str:
    """All of docs/options.md."""
    return "\n".join([HEAD, *(_section(kind, text) for kind, text in KINDS.items()), _of_a_child()])


def _of_a_child() -> str:
    names: dict[str, list[str]] = {"same": [], "own": []}
    for field in dataclasses.fields(Options):
        names.get(field.metadata["child"], []).append(f"`--{field.name}`")
    return f"""## What a run with --update takes from its parent

- As in its parent, and not to be changed: {", ".join(names["same"])}.
- Its own, with their defaults: {", ".join(names["own"])}. The default of `--learning_rate` is {LEARNING_RATE} there.
- All others but execution options are its parent's, unless they are given. With another `--input_format` than the
  parent's, those that belong to the format ({", ".join(f"`--{name}`" for name in OF_FORMAT)}) are not.
"""


def _section(kind: str, text: str) -> str:
    staged = kind == "model"
    columns = ["option", "default", "allowed", "what it does", *(["from stage"] if staged else [])]
    lines = [text.format(stages=", ".join(stages(0, is_update=True))), _row(columns)]
    lines.append("|" + "---|" * len(columns))
    for field in dataclasses.fields(Options):
        if field.metadata["kind"] == kind:
            stage = [field.metadata["stage"]] if staged else []
            lines.append(_row([f"`--{field.name}`", _default(field), _allowed(field), _help(field), *stage]))
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _help(field: dataclasses.Field[Any]) -> str:
    """The help, without a default at its end: defaults have a column of their own."""
    return field.metadata["help"].partition(" (default: ")[0]


def _default(field: dataclasses.Field[Any]) -> str:
    by_model = {model: Options(model=model).of_kind(field.metadata["kind"])[field.name] for model in MODELS}
    if field.name != "model" and len(set(by_model.values())) > 1:
        return ", ".join(f"{_value(value)} ({model})" for model, value in by_model.items())
    value = by_model[MODELS[0]]
    if value is None:
        return field.metadata["help"].partition(" (default: ")[2].removesuffix(")") or "not set"
    return _value(value)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _allowed(field: dataclasses.Field[Any]) -> str:
    meta = field.metadata
    if meta["choices"]:
        return ", ".join(f"`{choice}`" for choice in meta["choices"])
    if isinstance(field.default, bool):
        return f"`--{field.name}`, `--no-{field.name}`"
    if meta["low"] is None:
        return "text"
    low = ("above " if meta["over"] else "") + _number(meta["low"])
    bounds = f"{low} to {_number(meta['high'])}" if meta["high"] is not None else f"{low} or more"
    return bounds + "".join(f", or `{name}`" for name in meta["named"])


def _number(value: float) -> str:
    """A bound as people write it: powers of two from 2^20 on as powers."""
    if value != int(value):
        return f"{value:g}"
    whole = int(value)
    for exponent in range(20, 65):
        for more, sign in ((0, ""), (1, " - 1")):
            if whole + more == 2**exponent:
                return f"2^{exponent}{sign}"
    return str(whole)


if __name__ == "__main__":
    sys.stdout.write(reference())
