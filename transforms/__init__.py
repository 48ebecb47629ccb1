"""Beam transforms: each module is one thin, typed, named stage.

Each is the stage of the same name in `pipeline`, spread over workers; what they
pass on are references to artefacts, never text or tables.

Beam takes the types of elements from the annotations of `expand`, `process` and
functions, and checks them when the graph is built. It reads no annotations that are
text: so these modules, unlike all others, have no `from __future__ import annotations`,
and an annotation in quotes is one that Beam cannot use (two outputs of a transform).
"""
