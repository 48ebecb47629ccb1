"""What of a series is kept: the log and the manifests for ever, and of the generations a few.

Kept are the current one, its parent, all that were promoted within --keep_days of the last promotion, and three at
least. The days are those between entries of the log, not those of this machine's clock: where nothing comes for a
month, nothing is removed, and a clock that is wrong removes no more than all but three.
"""

from __future__ import annotations

import itertools

from pipeline.runtime.process import each
from pipeline.series.state import OPEN, PROMOTED, REFUSED, WITHDRAWN, Generation, State
from pipeline.storage.open_storage import is_remote
from pipeline.storage.storage import Storage

GENERATIONS, UPDATES, CHECKS = "generations", "updates", "checks"
"""Folders of runs: generations; the first halves of retrains; text that is looked at before training."""
FEWEST = 3
_DAY = 86_400.0
IDENTITY = "run.json"


def kept(state: State) -> set[str]:
    """Folders of the generations that stay."""
    chain = list(state.chain())
    if state.policy and state.policy.forget:
        before = itertools.takewhile(lambda one: one.decided.forget == state.policy.forget, chain)  # type: ignore[union-attr]
        chain = list(before) or chain
    stay = {generation.folder for generation in chain[:FEWEST]}
    if chain and chain[0].decided.parent and len(chain) > 1:
        stay.add(chain[0].decided.parent.folder)
    last = chain[0].at if chain else 0.0
    days = state.policy.keep_days if state.policy else 0
    for generation in state.generations.values():
        is_recent = generation.at >= last - days * _DAY
        if generation.status == OPEN or (is_recent and _may_stay(generation, state, chain)):
            stay.add(generation.folder)
    return stay


def _may_stay(generation: Generation, state: State, chain: list[Generation]) -> bool:
    if generation.status == PROMOTED:
        return generation in chain
    held = state.partitions.get(generation.decided.partition)
    is_newest = held is not None and held.folder == generation.folder
    forgets = state.policy is not None and generation.decided.forget != state.policy.forget
    return generation.status in (REFUSED, WITHDRAWN) and is_newest and not forgets


def prune(series: Storage, state: State) -> list[str]:
    """Removes the other generations; returns their folders. Their run.json goes first, so none is read in part."""
    stay = kept(state)
    remote = is_remote(series.root)
    removed = []
    for top in (GENERATIONS, UPDATES, CHECKS):
        for name in series.folders(top):
            generation = f"{GENERATIONS}/{name}"
            if generation in stay and (top != CHECKS or state.generations[generation].status == OPEN):
                continue
            folder = f"{top}/{name}"
            series.delete(f"{folder}/{IDENTITY}")
            each(series.delete, [info.path for info in series.walk(folder)], remote)
            if top == GENERATIONS:
                removed.append(folder)
    return removed
