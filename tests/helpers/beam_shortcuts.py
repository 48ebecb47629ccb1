"""Answers of Beam's that are the same all day, kept: building a graph is most of what a run of a small text costs.

A graph asks some five hundred times for a view of its options, each time by a new parser of all options of
that kind, and forty thousand times for the signature of a method. The answers depend on nothing but a class and its
arguments, a function, or a DoFn. What was pickled is packed as lightly as bzip2 can, or not at all where workers are
threads. Each worker packs a DoFn again with its windows, which are the same for all. Of what workers measure, the
counts of our own are collected, not the milliseconds of each step. A command that starts as users start it, as
`python -m`, has none of this.
"""

from __future__ import annotations

import argparse
import bz2
import functools
import importlib.metadata
import sys
import threading
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from apache_beam.internal import cloudpickle_pickler, pickler
from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.worker import bundle_processor, statecache
from apache_beam.transforms import DoFn, core, ptransform, userstate
from apache_beam.typehints import decorators, native_type_compatibility, typehints

_parsed: dict[tuple[type, tuple[str, ...]], dict[str, Any]] = {}
_specs: dict[tuple[type, Any], Any] = {}


def install() -> None:
    """From now on, in this process."""
    PipelineOptions.view_as = _with_parsed_kept(PipelineOptions.view_as)
    PipelineOptions._visible_option_list = lambda self: [*vars(self._visible_options)]  # unsorted
    for module in (decorators, core):
        module.get_signature = _kept_by_function(module.get_signature)
    core.get_function_args_defaults = _lists_copied(_kept_by_function(core.get_function_args_defaults))
    core._check_fn_use_yield_and_return = _kept_by_code(core._check_fn_use_yield_and_return)
    ptransform.pickler = types.SimpleNamespace(**vars(pickler))
    ptransform.pickler.roundtrip = _of_arguments_alone(pickler.roundtrip)
    hints = decorators.IOTypeHints
    hints.from_callable = staticmethod(_kept_by_function(hints.from_callable))
    # Where a hint comes from is said in errors about types alone, and known by a stack that is written out each time.
    hints._make_origin = staticmethod(lambda bases, tb=True, msg=(): list(msg))
    native_type_compatibility.convert_to_beam_type = _kept_by_types(native_type_compatibility.convert_to_beam_type)
    decorators.convert_to_beam_type = native_type_compatibility.convert_to_beam_type
    userstate.get_dofn_specs = _with_specs_kept(userstate.get_dofn_specs)
    typehints.is_consistent_with = _kept_by_types(typehints.is_consistent_with)
    cloudpickle_pickler.bz2 = _Packing()
    FnApiRunner.run_pipeline = _unpacked_within_one_process(FnApiRunner.run_pipeline)
    importlib.metadata.version = functools.cache(importlib.metadata.version)
    cloudpickle._should_pickle_by_reference = _found_at_once(cloudpickle._should_pickle_by_reference)
    bundle_processor.pickler = _with_windows_kept()
    bundle_processor.BundleProcessor.monitoring_infos = _own_counts
    # What the cache of side inputs holds is weighed by a walk through the globals of all modules, each time.
    statecache.get_deep_size = lambda *objects: 1
    argparse.ArgumentParser.add_argument = _with_one_formatter(argparse.ArgumentParser.add_argument)


def with_answers_kept(beam_options: Any) -> Any:
    """`parse_beam_options` of the parser of commands, which each of them asks twice with the same arguments."""
    answers: dict[Any, tuple[argparse.Namespace, list[str]]] = {}

    @functools.wraps(beam_options)
    def quick(arguments: Sequence[str], once: bool = False) -> tuple[argparse.Namespace, list[str]]:
        key = (tuple(arguments), once, len(PipelineOptions.__subclasses__()))
        if key not in answers:
            answers[key] = beam_options(arguments, once)
        known, others = answers[key]
        return argparse.Namespace(**_copied(vars(known))), [*others]

    return quick


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    """Lists too, which are added to."""
    return {name: [*value] if isinstance(value, list) else value for name, value in values.items()}


def _with_parsed_kept(view_as: Any) -> Any:
    @functools.wraps(view_as)
    def quick(self: Any, cls: type) -> Any:
        if self._flags is None:  # those of the process, which change
            return view_as(self, cls)
        key = (cls, tuple(self._flags))
        if key not in _parsed:
            _parsed[key] = dict(vars(cls(list(self._flags))._visible_options))
        view: Any = object.__new__(cls)
        values = _copied(_parsed[key])
        view.__dict__.update(
            _flags=self._flags, _visible_options=argparse.Namespace(**values), _all_options=self._all_options
        )
        for name, value in values.items():
            self._all_options.setdefault(name, value)
        return view

    return quick


def _kept_by_function(asked: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The answer about a function, or about a method that is bound, asked for once."""
    answers: weakref.WeakKeyDictionary[types.FunctionType, dict[bool, Any]] = weakref.WeakKeyDictionary()

    @functools.wraps(asked)
    def quick(function: Any) -> Any:
        bound = isinstance(function, types.MethodType)
        plain = function.__func__ if bound else function
        if not isinstance(plain, types.FunctionType):
            return asked(function)
        kept = answers.setdefault(plain, {})
        if bound not in kept:
            kept[bound] = asked(function)
        return kept[bound]

    return quick


def _kept_by_code(asked: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The answer about the source of a function: each graph has lambdas of its own, of the same source."""
    answers: dict[types.CodeType, Any] = {}

    @functools.wraps(asked)
    def quick(function: Any) -> Any:
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if not isinstance(code, types.CodeType):
            return asked(function)
        if code not in answers:
            answers[code] = asked(function)
        return answers[code]

    return quick


def _of_arguments_alone(roundtrip: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function goes there and back only to see whether it can: where it cannot, building the graph fails later."""

    @functools.wraps(roundtrip)
    def quick(value: Any) -> Any:
        return roundtrip(value) if isinstance(value, (list, tuple, dict)) and value else value

    return quick


def _kept_by_types(asked: Callable[..., Any]) -> Callable[..., Any]:
    answers: dict[Any, Any] = {}

    @functools.wraps(asked)
    def quick(*hints: Any) -> Any:
        try:
            if hints not in answers:
                answers[hints] = asked(*hints)
            return answers[hints]
        except TypeError:  # one has no hash
            return asked(*hints)

    return quick


def _lists_copied(asked: Callable[[Any], tuple[list, list]]) -> Callable[[Any], tuple[list, list]]:
    @functools.wraps(asked)
    def quick(function: Any) -> tuple[list, list]:
        names, defaults = asked(function)
        return [*names], [*defaults]

    return quick


def _with_specs_kept(get_dofn_specs: Any) -> Any:
    @functools.wraps(get_dofn_specs)
    def quick(dofn: DoFn) -> Any:
        if any(isinstance(value, types.MethodType) for value in vars(dofn).values()):  # a method of this one alone
            return get_dofn_specs(dofn)
        if type(dofn) not in _specs:
            _specs[type(dofn)] = get_dofn_specs(dofn)
        return _specs[type(dofn)]

    return quick


def _found_at_once(asked: Callable[..., bool]) -> Callable[..., bool]:
    """Whether a class or a function is found by its name, which is so for most."""

    @functools.wraps(asked)
    def quick(sought: Any, name: str | None = None, config: Any = cloudpickle.DEFAULT_CONFIG) -> bool:
        module, own = getattr(sought, "__module__", None), getattr(sought, "__qualname__", None)
        if name is None and isinstance(module, str) and module != "__main__" and isinstance(own, str):
            known = sys.modules.get(module)
            if known is not None and known.__dict__.get(own) is sought and not cloudpickle._PICKLE_BY_VALUE_MODULES:
                return True
        return asked(sought, name, config)

    return quick


class _Packing:
    """In place of the module bz2, for pickles: what does not leave the process is not packed."""

    leaves_process = True
    _PLAIN = b"plain:"  # nothing of bz2's begins so

    def compress(self, data: bytes, compresslevel: int) -> bytes:
        return _packed(data) if self.leaves_process else self._PLAIN + data

    def decompress(self, data: bytes) -> bytes:
        return data.removeprefix(self._PLAIN) if data.startswith(self._PLAIN) else _unpacked(data)


_packed = functools.lru_cache(2000)(functools.partial(bz2.compress, compresslevel=1))
_unpacked = functools.lru_cache(500)(bz2.decompress)


def _unpacked_within_one_process(run_pipeline: Any) -> Any:
    @functools.wraps(run_pipeline)
    def quick(self: FnApiRunner, pipeline: Any, options: PipelineOptions) -> Any:
        mode = options.view_as(DirectOptions).direct_running_mode
        cloudpickle_pickler.bz2.leaves_process = type(self) is not FnApiRunner or mode != "in_memory"
        try:
            return run_pipeline(self, pipeline, options)
        finally:
            cloudpickle_pickler.bz2.leaves_process = True

    return quick


def _with_windows_kept() -> types.SimpleNamespace:
    """Beam's pickler for those who build operations: what was just read, with a windowing, is packed once."""
    packed: dict[tuple[bytes, core.Windowing], bytes] = {}
    read = threading.local()

    def loads(data: bytes) -> Any:
        found = pickler.loads(data)
        read.data = data
        return found

    def dumps(value: Any) -> bytes:
        if not (isinstance(value, tuple) and isinstance(value[-1], core.Windowing)):
            return pickler.dumps(value)
        key = (read.data, value[-1])
        if not (kept := packed.get(key)):
            if len(packed) > 200:  # of other graphs
                packed.clear()
            kept = packed[key] = pickler.dumps(value)
        return kept

    return types.SimpleNamespace(loads=loads, dumps=dumps)


def _own_counts(self: Any) -> list[Any]:
    """Of a bundle."""
    found: dict[Any, Any] = {}
    for name, operation in self.ops.items():
        found.update(operation.user_monitoring_infos(name))
    return [*found.values()]


def _with_one_formatter(add_argument: Any) -> Any:
    """A new one, which looks at the terminal, is made for each option only to see whether its metavar can be shown."""
    formatter = argparse.HelpFormatter("", width=80)

    @functools.wraps(add_argument)
    def quick(self: Any, *arguments: Any, **named: Any) -> Any:
        self._get_formatter = lambda: formatter
        try:
            return add_argument(self, *arguments, **named)
        finally:
            del self._get_formatter

    return quick
