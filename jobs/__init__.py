"""The commands: each parses options, builds a Beam graph from transforms, and runs it."""

import logging


def _is_no_news(record: logging.LogRecord) -> bool:
    """Beam warns on import about clients of services that nobody here asked for."""
    return "apitools not found" not in record.getMessage()


logging.getLogger().addFilter(_is_no_news)
