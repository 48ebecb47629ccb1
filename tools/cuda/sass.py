"""Machine code of the kernels by NVIDIA's disassembler: how many instructions of it stand for each line of the PTX.

pip install nvidia-cuda-nvdisasm      (5 MB; it reads the code of any architecture here)
"""

from __future__ import annotations

import collections
import functools
import importlib.util
import pathlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tools.cuda.emulator.ptx import Block, Program

_LINE = re.compile(r'//## File ".*", line (\d+)')
_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+\s+)?([A-Z][\w.]*)(.*)")
_SCATTERED = re.compile(r"WARPSYNC\.COLLECTIVE|CALL\S* .*__cuda_sm70_\w+sync")
"""Collectives of a warp whose threads have not come together. That code stands behind the kernel's end."""
_FP32 = ("FADD", "FMUL", "FFMA")
_ONE_EACH = {"ld.global": "LDG", "st.global": "STG", "fma.rn": "FFMA", "shfl.sync": "SHFL"}
"""PTX of which each instruction is one of machine code."""


class Instruction(NamedTuple):
    line: int
    """of the PTX"""
    opcode: str


class Executed(NamedTuple):
    """Instructions that warps issue."""

    all: float
    fp32: float
    """additions, multiplications and both at once, of float32"""


@functools.cache
def disassembler() -> str | None:
    """nvdisasm, of the CUDA toolkit or of a wheel; None where there is none."""
    found = shutil.which("nvdisasm")
    spec = importlib.util.find_spec("nvidia") if not found else None
    for base in (spec.submodule_search_locations or ()) if spec else ():
        for path in pathlib.Path(base).glob("*/bin/nvdisasm"):
            return str(path)
    return found


def disassemble(cubin: bytes) -> dict[str, list[Instruction]]:
    """Kernel -> its machine code. The build was one with -lineinfo."""
    program = disassembler()
    if program is None:
        raise RuntimeError("nvdisasm is not installed: pip install nvidia-cuda-nvdisasm")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        # of its warnings, one says that graphs of jumps cannot be drawn, which nobody asks for
        done = subprocess.run([program, "-gp", "-c", file.name], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"nvdisasm: {done.stderr.strip()}")
    return read_listing(done.stdout)


def read_listing(text: str) -> dict[str, list[Instruction]]:
    """What nvdisasm prints, without what stands behind the end of a kernel for rare cases: collectives of threads that
    have not come together, divisions with denormal numbers."""
    kernels: dict[str, list[Instruction]] = {}
    for line in text.splitlines():
        if line.startswith(".text."):
            code = kernels.setdefault(line.removeprefix(".text.").rstrip(":"), [])
            at, end, rare = 0, 0, False
        elif line.startswith("$__internal"):
            rare = True
        elif found := _LINE.search(line):
            at = int(found[1])
        elif (found := _INSTRUCTION.search(line)) and not rare:
            predicate, opcode, operands = found.groups()
            if _SCATTERED.match(opcode + operands):
                del code[end:]
                rare = True
            elif opcode != "NOP":
                code.append(Instruction(at, opcode))
                if opcode == "EXIT" and not predicate:
                    end = len(code)
    return kernels


def executed_ptx(program: Program, passes: Sequence[int]) -> dict[str, Executed]:
    """Kernel -> instructions of the PTX that warps issued, by how often they went through each block."""
    sums: dict[str, list[float]] = collections.defaultdict(lambda: [0, 0])
    for block, times in zip(program.blocks, passes):
        fp32 = sum(opcode.endswith(".f32") and opcode[:3] in ("add", "sub", "mul", "fma") for opcode in block.opcodes)
        sums[block.kernel][0] += len(block.opcodes) * times
        sums[block.kernel][1] += fp32 * times
    return {kernel: Executed(*pair) for kernel, pair in sums.items()}


def executed(code: Mapping[str, Sequence[Instruction]], program: Program, passes: Sequence[int]) -> dict[str, Executed]:
    """Kernel -> instructions of machine code that warps issued.

    An instruction is done as often as that of the PTX which it stands for. Where the
    last part of the compiler has unrolled a loop once more, a block stands there several
    times, and each of the copies is passed through that much less often.
    """
    found = {}
    for kernel, instructions in code.items():
        blocks = [(i, block) for i, block in enumerate(program.blocks) if block.kernel == kernel]
        block_of = {line: i for i, block in blocks for line in block.lines}
        copies = {i: _copies(block, instructions) for i, block in blocks}
        weight = {i: passes[i] / copies[i] for i, _ in blocks}
        first = blocks[0][0]
        issued = [(weight[block_of.get(each.line, first)], each.opcode.partition(".")[0]) for each in instructions]
        fp32 = sum(times for times, opcode in issued if opcode in _FP32)
        found[kernel] = Executed(sum(times for times, _ in issued), fp32)
    return found


def _copies(block: Block, instructions: Sequence[Instruction]) -> float:
    wanted = {line: _ONE_EACH.get(".".join(opcode.split(".")[:2])) for line, opcode in zip(block.lines, block.opcodes)}
    counts = collections.Counter(
        each.line for each in instructions if wanted.get(each.line) == each.opcode.partition(".")[0]
    )
    return max(1.0, sum(counts.values()) / len(counts)) if counts else 1.0
