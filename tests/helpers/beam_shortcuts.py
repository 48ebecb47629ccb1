"""Answers of Beam's that are the same all day, kept: building a graph is most of what a run of a small text costs.

A graph asks some five hundred times for a view of its options, each time by a new parser of all options of
that kind, and forty thousand times for the signature of a method. The answers depend on nothing but a class and its
arguments, a function, or a DoFn. A command in a process of its own, as users start it, has none of this.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import types
import weakref
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import DoFn, core, userstate
from apache_beam.typehints import decorators

_parsed: dict[tuple[type, tuple[str, ...]], dict[str, Any]] = {}
_signatures: weakref.WeakKeyDictionary[types.FunctionType, dict[bool, inspect.Signature]] = weakref.WeakKeyDictionary()
_specs: weakref.WeakKeyDictionary[DoFn, Any] = weakref.WeakKeyDictionary()


def install() -> None:
    """From now on, in this process."""
    PipelineOptions.view_as = _with_parsed_kept(PipelineOptions.view_as)
    for module in (decorators, core):
        module.get_signature = _with_signatures_kept(module.get_signature)
    userstate.get_dofn_specs = _with_specs_kept(userstate.get_dofn_specs)


def _with_parsed_kept(view_as: Any) -> Any:
    @functools.wraps(view_as)
    def quick(self: Any, cls: type) -> Any:
        if self._flags is None:  # those of the process, which change
            return view_as(self, cls)
        key = (cls, tuple(self._flags))
        if key not in _parsed:
            _parsed[key] = dict(vars(cls(list(self._flags))._visible_options))
        view: Any = object.__new__(cls)
        values = {name: list(value) if isinstance(value, list) else value for name, value in _parsed[key].items()}
        view.__dict__.update(
            _flags=self._flags, _visible_options=argparse.Namespace(**values), _all_options=self._all_options
        )
        for name, value in values.items():
            self._all_options.setdefault(name, value)
        return view

    return quick


def _with_signatures_kept(get_signature: Any) -> Any:
    @functools.wraps(get_signature)
    def quick(function: Any) -> inspect.Signature:
        bound = isinstance(function, types.MethodType)
        plain = function.__func__ if bound else function
        if not isinstance(plain, types.FunctionType):
            return get_signature(function)
        kept = _signatures.setdefault(plain, {})
        if bound not in kept:
            kept[bound] = get_signature(function)
        return kept[bound]

    return quick


def _with_specs_kept(get_dofn_specs: Any) -> Any:
    @functools.wraps(get_dofn_specs)
    def quick(dofn: DoFn) -> Any:
        if dofn not in _specs:
            _specs[dofn] = get_dofn_specs(dofn)
        return _specs[dofn]

    return quick
