"""Reports of tests show principal components, unless a test asks for t-SNE, which takes seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pipeline.analysis import neighbor_map

_is_possible = neighbor_map.is_possible
neighbor_map.is_possible = lambda: False


@contextlib.contextmanager
def maps_of_neighbors() -> Iterator[None]:
    """While open, reports are as users have them."""
    plain, neighbor_map.is_possible = neighbor_map.is_possible, _is_possible
    try:
        yield
    finally:
        neighbor_map.is_possible = plain
