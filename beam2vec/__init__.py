"""Word embeddings by negative sampling, the same bytes at any number of threads or workers.

    import beam2vec

    run = beam2vec.train(input="texts/*", output="runs/mine", dims=100)
    run.nearest("river")

These names are the public ones. They are imported when they are used first: `import beam2vec` itself loads neither Beam
nor Numba.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beam2vec.results import evaluate, export
    from beam2vec.training import Progress, preprocess, train, update
    from pipeline.errors import (
        ArtifactError,
        InputError,
        InterruptedRunError,
        NonFiniteError,
        OutputInUseError,
        PipelineError,
    )
    from pipeline.layers import Embedding, EmbeddingDot, NegativeSamplingLoss, SigmoidWithLoss, UnigramSampler
    from pipeline.options import Options
    from pipeline.runs.run import Run
    from pipeline.runtime.messages import PipelineWarning

__all__ = [
    "ArtifactError",
    "Embedding",
    "EmbeddingDot",
    "InputError",
    "InterruptedRunError",
    "NegativeSamplingLoss",
    "NonFiniteError",
    "Options",
    "OutputInUseError",
    "PipelineError",
    "PipelineWarning",
    "Progress",
    "Run",
    "SigmoidWithLoss",
    "UnigramSampler",
    "__version__",
    "evaluate",
    "export",
    "preprocess",
    "train",
    "update",
]
_MODULES = {
    "beam2vec.results": ("evaluate", "export"),
    "beam2vec.training": ("Progress", "preprocess", "train", "update"),
    "pipeline.errors": (
        "ArtifactError",
        "InputError",
        "InterruptedRunError",
        "NonFiniteError",
        "OutputInUseError",
        "PipelineError",
    ),
    "pipeline.layers": ("Embedding", "EmbeddingDot", "NegativeSamplingLoss", "SigmoidWithLoss", "UnigramSampler"),
    "pipeline.options": ("Options",),
    "pipeline.runs.run": ("Run",),
    "pipeline.runtime.messages": ("PipelineWarning",),
}
_OF_RESULTS = (
    *("pairs", "analogies", "analogy", "most_frequent"),
    *("format", "to", "top", "precision", "license", "evaluation"),
)
"""Arguments of `evaluate` and `export` that are named as the option is."""
_SWITCHES_OF_RESULTS = ("match_case", "normalize", "leave_out_absent")
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.metadata.version("beam2vec")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _check_siblings() -> None:
    """ImportError if `pipeline`, `transforms` or `jobs` belongs to another package, since the names are common."""
    home = pathlib.Path(__file__).resolve().parent.parent
    for name in ("pipeline", "transforms", "jobs"):
        spec = importlib.util.find_spec(name)
        place = pathlib.Path(spec.origin).resolve() if spec and spec.origin else None
        if place != home / name / "__init__.py":
            problem = f"{place} is another one" if place else "it is missing"
            raise ImportError(
                f"beam2vec needs its own package {name!r}, but {problem}: install beam2vec into an environment of its"
                " own, and start Python in a folder without a module of that name",
                name=name,
            )


def _name_options_as_arguments() -> None:
    """Makes messages of this process name options as a program writes them."""
    from pipeline.options import Options
    from pipeline.runtime import wording

    names = [*Options.__dataclass_fields__, "input", "output", "corpus", "report", "step", *_OF_RESULTS]
    switches = ("overwrite", "allow_truncated", "skip_taken", "accept_tokenizer", "take_over", *_SWITCHES_OF_RESULTS)
    flags = {flag: f"{flag}=True" for flag in switches}
    wording.use_arguments({name: name for name in names} | flags | {"vectors": "side"})


_check_siblings()
_name_options_as_arguments()
