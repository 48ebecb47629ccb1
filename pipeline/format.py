"""The version of what is written to disk; it is part of every stage key."""

from __future__ import annotations

FORMAT_VERSION = 1
"""Raise it when the meaning of an artefact changes: artefacts of another format are never reused."""
