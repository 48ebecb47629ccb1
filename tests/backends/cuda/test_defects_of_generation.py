"""Defects planted in what makes rows: the checks notice every one of them."""

from __future__ import annotations

import contextlib
import functools
import sys
import types

import pytest

from pipeline.backends.cuda.launcher import FOLDER
from tests.backends.cuda.generation_cases import everything, tested
from tools.cuda.emulator.emulation import COMPILER, EmulationError
from tools.cuda.emulator.stand_in_cupy import Device, installed

pytestmark = pytest.mark.skipif(not COMPILER, reason="the emulator needs g++")


@contextlib.contextmanager
def using(file, module):
    before, tested[file] = tested[file], module
    try:
        yield
    finally:
        tested[file] = before


# ---- planted defects

DEFECTS = {
    "sums that count the share itself": ("generate.cu", "totals[i] = before + sum - value", "totals[i] = before + sum"),
    "sums that forget the shares before": (
        "generate.cu",
        "before += __shfl_sync(ALL, sum, WARP - 1);\n  }\n  if (lane",
        "before = __shfl_sync(ALL, sum, WARP - 1);\n  }\n  if (lane",
    ),
    "a lane counts itself": ("generate.cu", "__popc(kept & ((1u << lane) - 1))", "__popc(kept & ((2u << lane) - 1))"),
    "a sum over too few lanes": ("generate.cu", "step < WARP; step *= 2", "step < WARP / 2; step *= 2"),
    "rows of the warp's share not carried on": (
        "generate.cu",
        "    before += __shfl_sync(ALL, sum, WARP - 1);\n  }\n}",
        "  }\n}",
    ),
    "the epoch in other bits": ("generate.cu", "(unsigned)epoch << 16", "(unsigned)epoch << 15"),
    "the position's low half alone": ("generate.cu", "(unsigned)(position >> 32) |", "0u |"),
    "a round too few": ("generate.cu", "round < 10", "round < 9"),
    "the key's halves swapped": ("generate.cu", "c0 = high1 ^ c1 ^ k0", "c0 = high1 ^ c1 ^ k1"),
    "the draws of redraws overlap": ("generate.cu", "REDRAWS * k + i)", "k + i)"),
    "the exact draw of another negative": ("generate.cu", "EXACT_DRAW, (unsigned)k", "EXACT_DRAW, 0"),
    "a token kept below its threshold alone": ("generate.cu", "drawn.x <= keep", "drawn.x < keep"),
    "a word up to its threshold": ("generate.cu", "y < (unsigned)entry", "y <= (unsigned)entry"),
    "an exact draw up to its weight": ("generate.cu", "rest < (u64)weights", "rest <= (u64)weights"),
    "the radius from 0": ("generate.cu", "below(drawn.y, window) + 1", "below(drawn.y, window + 1) + (window == 0)"),
    "a context too many": ("generate.cu", "end - j > radius[i]", "end - j >= radius[i]"),
    "the target among its contexts": ("generate.cu", "other < itself ?", "other <= itself ?"),
    "rows of the token before": ("generate.cu", "i >= own_begin", "i + 1 >= own_begin"),
    "rows of the token behind": ("generate.cu", "i < own_end", "i <= own_end"),
    "an edge belongs to the step before": ("generate.cu", "row_place[middle] < edge", "row_place[middle] <= edge"),
    "a negative past an odd number": ("generate.cu", "2 * j + 1 < count", "2 * j + 1 <= count"),
    "distinct from the target alone": ("generate.cu", "if (policy == DISTINCT)", "if (policy > DISTINCT)"),
    "a redraw too few": ("generate.cu", "i < REDRAWS &&", "i < REDRAWS - 1 &&"),
    "a sampled row too few": ("generate.cu", "row < bounds[step + 1]", "row + 1 < bounds[step + 1]"),
    "tiles side by side": ("generate.cu", "(TILE * LOSS_TILES)", "(TILE * LOSS_TILES / 2)"),
    "offsets of the block": ("generate.cu", " - context_begin;", ";"),
    "the last offset left out": ("generate.cu", "i <= rows;", "i < rows;"),
    "nobody waits for the rows": ("generation.py", "slot.ready.synchronize()", "pass"),
    "one slot for all blocks": ("generation.py", "number % 2", "0"),
    "rows are ready before they are": (
        "generation.py",
        "            slot.downloads[:length].get(stream=stream, out=slot.host_downloads[:length], blocking=False)\n"
        "            slot.ready.record(stream)",
        "            slot.ready.record(stream)\n"
        "            slot.downloads[:length].get(stream=stream, out=slot.host_downloads[:length], blocking=False)",
    ),
    "sentences cut at the step": ("token_ranges.py", 'offset, side="right")) - 1', 'offset, side="right"))'),
    "the halo of the last step left out": (
        "token_ranges.py",
        "behind = min(behind, len(sentences) - 1)",
        "behind = max(begin, behind - 1)",
    ),
    "positions of the shard": ("token_ranges.py", "position + low, step, last", "position, step, last"),
}
"""Name -> file, what stands there, what is put in its place."""
FAST = ["sums that count the share itself", "the epoch in other bits", "a token kept below its threshold alone"]


def is_noticed(file, right, wrong):
    """Watched, since a defect may touch what is not there."""
    text = (FOLDER / file).read_text()
    assert text.count(right) == 1, f"{right!r} stands {text.count(right)} times in {file}"
    if file == "generate.cu":
        ways, use = ["late"], contextlib.nullcontext
    else:
        ways, module = ["late", "eager-3", "random"], types.ModuleType("planted")
        sys.modules["planted"] = module  # where dataclasses look for types
        exec(compile(text.replace(right, wrong), "planted", "exec"), module.__dict__)
        use = functools.partial(using, file, module)
    for policy in ways:
        edit = (lambda code: code.replace(right, wrong)) if file == "generate.cu" else (lambda code: code)
        with installed(Device(schedule=2, policy=policy, watched=True, edit=edit)), use():
            try:
                everything()
            except (AssertionError, EmulationError, ValueError, IndexError):
                return True
    return False


def test_without_a_defect_nothing_is_noticed():
    assert not is_noticed("generate.cu", "// ---- rows", "// ---- no rows")


@pytest.mark.parametrize("name", FAST)
def test_defects_are_noticed(name):
    assert is_noticed(*DEFECTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFECTS)
def test_all_defects_are_noticed(name):
    assert is_noticed(*DEFECTS[name])
