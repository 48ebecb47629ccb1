"""Beam transforms: each module is one thin, typed, named stage.

Each is the stage of the same name in `pipeline`, spread over workers; what they
pass on are references to artefacts, never text or tables.

`CountWords`, `UnigramDistribution`, `GenerateBatches` and `WriteSentences`, as they are named here, are for pipelines
of anybody's: they need no run (docs/transforms.md). They are imported when they are used first.

Beam takes the types of elements from the annotations of `expand`, `process` and
functions, and checks them when the graph is built. It reads no annotations that are
text: so these modules, unlike all others, have no `from __future__ import annotations`,
and an annotation in quotes is one that Beam cannot use (two outputs of a transform).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transforms.any_pipeline import CountWords, GenerateBatches, UnigramDistribution
    from transforms.sentences import WriteSentences

__all__ = ["CountWords", "GenerateBatches", "UnigramDistribution", "WriteSentences"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "transforms.sentences" if name == "WriteSentences" else "transforms.any_pipeline"
    return getattr(importlib.import_module(module), name)
