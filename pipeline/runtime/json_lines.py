"""Log lines as JSON objects, in a command with --log_format=json and in its workers."""

from __future__ import annotations

import datetime
import json
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from pipeline.runtime.shown_text import exact

VARIABLE = "BEAM2VEC_LOG_FORMAT"
"""The environment variable by which a command asks its workers for JSON."""


class JsonLines(logging.Formatter):
    """Log records as JSON objects; `event` and `described` of a record are what it tells."""

    def format(self, record: logging.LogRecord) -> str:
        described = getattr(record, "described", {"message": record.getMessage(), "level": record.levelname.lower()})
        if record.exc_info:
            described = {**described, "traceback": self.formatException(record.exc_info)}
        return json_line(getattr(record, "event", "log"), described)


def json_line(event: str, described: Mapping[str, Any]) -> str:
    """One line, of ASCII alone."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": now, "event": event, **described}, default=str)


def log_as_json(handler: logging.Handler) -> None:
    """Makes a handler write JSON, to the stream behind the one that cuts lines for people."""
    handler.setFormatter(JsonLines())
    if isinstance(handler, logging.StreamHandler):
        handler.setStream(exact(sys.stderr))


def is_asked_for() -> bool:
    """Whether the command that started this process tells JSON."""
    return os.environ.get(VARIABLE) == "json"
