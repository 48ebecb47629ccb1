"""The parameters of the Flex Template, from the table of options.

python -m deploy.dataflow.metadata > deploy/dataflow/metadata.json
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from pipeline.options import Options

_FILES = (
    ("input", "Text to train on", "gs:// files, folders or patterns, separated by commas; or give corpus", False),
    ("corpus", "Run to take the corpus from", "gs:// folder of a run of beam2vec preprocess, in place of input", False),
    ("output", "Where the run goes", "gs:// folder; a run that is there is resumed", True),
    ("overwrite", "Replace a run that differs", "true or false", False),
)
"""(name, label, help, whether it has to be given) of what is no option of the model."""
_PATTERNS = {"int": r"^[0-9]+$", "float": r"^[0-9.eE+-]+$", "bool": r"^(true|false)$"}
_NOT_HERE = {"threads"}
"""Options that mean nothing on machines of one's own choosing."""


def metadata() -> dict[str, Any]:
    """What `gcloud dataflow flex-template build --metadata-file` reads."""
    parameters = [_parameter(name, label, text, not needed) for name, label, text, needed in _FILES]
    parameters[3]["regexes"] = [_PATTERNS["bool"]]
    parameters += [_of_option(field) for field in dataclasses.fields(Options) if field.name not in _NOT_HERE]
    return {
        "name": "beam2vec",
        "description": "Word embeddings by negative sampling: the same bytes at any number of workers.",
        "parameters": parameters,
    }


def _parameter(name: str, label: str, text: str, optional: bool) -> dict[str, Any]:
    return {"name": name, "label": label, "helpText": text, "isOptional": optional, "paramType": "TEXT"}


def _of_option(field: dataclasses.Field) -> dict[str, Any]:
    meta = field.metadata
    text = meta["help"] + (f" (default: {_shown(field.default)})" if field.default is not None else "")
    parameter = _parameter(field.name, field.name.replace("_", " ").capitalize(), text, True)
    kind = str(field.type).partition(" | ")[0]
    allowed = [f"^{re.escape(choice)}$" for choice in meta["choices"]]
    if kind in _PATTERNS:
        allowed += [_PATTERNS[kind], *(f"^{re.escape(name)}$" for name in meta["named"])]
    if allowed:
        parameter["regexes"] = ["|".join(allowed)]
    return parameter


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    print(json.dumps(metadata(), indent=2))
