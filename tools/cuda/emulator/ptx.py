"""PTX, what NVIDIA's compiler makes of CUDA, as C++ that g++ compiles on top of the emulator.

So what runs is the compiler's own output, before it gets its registers: each
instruction becomes a statement (ptx.h), each register a variable, each label a label.
The instructions are those that the kernels' builds have; another one is an error
that names it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from pipeline.backends.cuda.launcher import Parameter

_C_NAMES = {
    "int32": "int",
    "uint32": "unsigned",
    "float32": "float",
    "int64": "long long",
    "uint64": "unsigned long long",
}
SPECIAL = {
    "%tid.x": "thread_index().x",
    "%ctaid.x": "block_index().x",
    "%ntid.x": "block_dim().x",
    "%nctaid.x": "grid_dim().x",
}
_ENTRY = re.compile(r"\.visible \.entry (\w+)\(")
_REGISTERS = re.compile(r"\.reg \.(\w+)\s+(%\w+)<(\d+)>;")
_SHARED = re.compile(r"\.shared \.align \d+ \.b8 (\w+)\[(\d+)\];")
_SCOPE = re.compile(r"\{ \.reg \.b32 (\w+); (.*;) \}")  # with a register of its own, which nobody reads
_STATEMENT = re.compile(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*(.*);")
_ADDRESS = re.compile(r"\[([^]+]+)(?:\+(-?\d+))?\]")
_COMPARE = {
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "lo": "<",
    "ls": "<=",
    "hi": ">",
    "hs": ">=",
}
_INFIX = {"add": "+", "sub": "-", "and": "&", "or": "|", "xor": "^", "div": "/", "rem": "%"}
_SHUFFLE = {
    "bfly": "lane ^ ({b})",
    "idx": "({b}) & 31",
    "up": "lane >= (int)({b}) ? lane - (int)({b}) : lane",
    "down": "lane + (int)({b}) < 32 ? lane + (int)({b}) : lane",
}


@dataclasses.dataclass
class Block:
    """A basic block: instructions that are done together or not at all."""

    kernel: str
    lines: list[int] = dataclasses.field(default_factory=list)
    """of the PTX, one an instruction"""
    opcodes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Program:
    """A translated module."""

    code: str
    """C++; kernels have the names and parameters that they have in CUDA"""
    blocks: tuple[Block, ...]
    """in the order of the numbers that they are counted by"""


def c_type(parameter: Parameter) -> str:
    """What stands before the name of a kernel's parameter in C++."""
    return f"{_C_NAMES[parameter.dtype.name]} {'*' if parameter.pointer else ''}"


def translate(ptx: str, parameters: Mapping[str, Sequence[Parameter]], timed: bool = False) -> Program:
    """PTX as C++ for the emulator.

    Args:
      parameters: of each kernel, as `launcher.signatures` finds them.
      timed: threads know when each of their instructions could be issued.

    Raises:
      NotImplementedError: an instruction is not known here.
    """
    lines, blocks, out = ptx.splitlines(), list[Block](), ['#include "ptx.h"', "using namespace emulator;"]
    for begin, line in enumerate(lines):
        if found := _ENTRY.match(line):
            kernel = found[1]
            end = next(i for i in range(begin, len(lines)) if lines[i] == "}")
            out += _Kernel(kernel, parameters[kernel], blocks, timed).translated(lines, begin, end)
    return Program("\n".join(out), tuple(blocks))


class _Kernel:
    def __init__(self, name: str, parameters: Sequence[Parameter], blocks: list[Block], timed: bool):
        self.name, self.parameters, self.blocks, self.timed = name, parameters, blocks, timed
        self.shared: dict[str, int] = {}
        self.shared_bytes = 0

    def translated(self, lines: Sequence[str], begin: int, end: int) -> list[str]:
        declared, body = list[str](), list[str]()
        fresh = True
        for number in range(begin, end):
            line, scope = lines[number].strip(), "{done}"
            if found := _SCOPE.fullmatch(line):
                line, scope = found[2], f"{{{{ u32 r_{found[1]}; {{done}} }}}}"
            if found := _REGISTERS.search(line):
                kind, name, count = found[1], found[2].lstrip("%"), int(found[3])
                of_register = "bool" if kind == "pred" else f"u{kind[1:]}"
                declared.append(f"  {of_register} " + ", ".join(f"r_{name}{i}{{}}" for i in range(count)) + ";")
                if self.timed:
                    declared.append("  double " + ", ".join(f"t_{name}{i}{{}}" for i in range(count)) + ";")
            elif found := _SHARED.search(line):
                self.shared[found[1]] = self.shared_bytes
                self.shared_bytes += -(-int(found[2]) // 16) * 16
            elif line.startswith("$"):
                body.append(f"{line.strip('$:')}: ;")
                fresh = True
            elif found := _STATEMENT.fullmatch(line):
                if fresh:
                    body.append(f"  COUNT({len(self.blocks)});")
                    self.blocks.append(Block(self.name))
                negated, predicate, opcode, operands = found.groups()
                self.blocks[-1].lines.append(number + 1)
                self.blocks[-1].opcodes.append(opcode)
                done = self.statement(opcode, _split(operands), number + 1)
                done = scope.format(done=done)
                if self.timed:
                    body.append(_issued(opcode, predicate or "", operands))
                    done += _ready(opcode, operands)
                body.append(f"  if ({negated}{_register(predicate)}) {{ {done} }}" if predicate else f"  {done}")
                fresh = opcode.startswith(("bra", "ret"))
            elif line.endswith((";", "; }")) and not line.startswith("."):
                raise NotImplementedError(f"line {number + 1} of {self.name}: {line}")
        given = ", ".join(f"{c_type(parameter)}param_{i}" for i, parameter in enumerate(self.parameters))
        start = [f"static void {self.name}({given}) {{", "  const int lane = thread_index().x & 31; (void)lane;"]
        if self.timed:
            start.append("  double &now = cycles();")
        if self.shared_bytes:
            start.append(f'  const u64 shared = (u64)shared_array(Site{{0, 0, ""}}, {self.shared_bytes});')
        return [*start, *declared, *body, "}"]

    def value(self, operand: str, kind: str) -> str:
        """An operand as a number of a type of PTX."""
        if kind == "pred":
            return _register(operand) if operand.startswith("%") else str(bool(int(operand))).lower()
        if operand in SPECIAL:
            return f"(u32){SPECIAL[operand]}"
        if operand in self.shared:
            return f"{self.shared[operand]}u"  # shared addresses are counted from 0, in 32 or 64 bits
        if operand.startswith("0f"):
            raw = f"0x{operand[2:]}u"
        elif operand.startswith("%"):
            raw = _register(operand)
        else:
            raw = f"{operand}ll"
        return f"f32({raw})" if kind == "f32" else f"({_c_type(kind)}){raw}"

    def assigned(self, target: str, expression: str, kind: str) -> str:
        """A statement: a register gets a number of a type of PTX."""
        target = _register(target)
        if kind == "f32":
            return f"{target} = bits({expression});"
        return f"{target} = {expression};"  # what is signed is extended by its sign

    def address(self, operand: str, space: str) -> str:
        found = _ADDRESS.fullmatch(operand)
        assert found, operand
        base = str(self.shared[found[1]]) if found[1] in self.shared else _register(found[1])
        if space == "shared":  # modulo 2 ** 32: what stands in the register may be below 0
            return f"shared + (u32)({base} + {found[2] or 0}ll)"
        return f"(u64){base} + {found[2] or 0}ll"

    def statement(self, opcode: str, operands: list[str], line: int) -> str:
        name, *parts = opcode.split(".")
        kind = parts[-1] if parts else ""
        site = f'Site{{{line}, {line}, "the PTX"}}'
        if name in ("ld", "st", "atom"):
            return self.memory(name, parts, operands, line)
        if name == "bra":
            return f"goto {operands[0].strip('$')};"
        if name == "ret":
            return "return;"
        if opcode == "bar.sync":
            return f"meet_block({site});"
        if opcode == "bar.warp.sync":
            return f"meet_warp({site});"
        if name == "shfl":
            return self.shuffle(parts[1], operands, site)
        if opcode in ("vote.sync.ballot.b32", "match.any.sync.b32"):
            how, mask = ("BALLOT", operands[-1]) if name == "vote" else ("MATCH", operands[-1])
            value = self.value(operands[1], "pred" if name == "vote" else "u32")
            return f"{_register(operands[0])} = exchange({how}, {value}, 0, {self.value(mask, 'u32')}, {site});"
        if name == "mov":
            return self.move(operands, kind)
        if name == "cvt":
            to, of = parts[-2], parts[-1]
            return self.assigned(operands[0], f"({_c_type(to)})({self.value(operands[1], of)})", to)
        if name == "cvta":
            return self.assigned(operands[0], self.value(operands[1], "u64"), "u64")
        if name == "setp":
            if parts[0].removesuffix("u") not in _COMPARE or len(parts) != 2:
                raise NotImplementedError(f"line {line} of {self.name}: {opcode}")
            return f"{_register(operands[0])} = {self.compare(parts[0], kind, operands)};"
        kind = "s32" if opcode == "mad.lo.s32" else kind
        expression = self.expression(name, parts, operands, kind)
        if expression is None:
            raise NotImplementedError(f"line {line} of {self.name}: {opcode} {', '.join(operands)}")
        return self.assigned(operands[0], expression, kind)

    def expression(self, name: str, parts: list[str], operands: list[str], kind: str) -> str | None:
        values = [self.value(operand, kind) for operand in operands[1:]]
        if kind == "f32":
            if parts[:-1] not in (["rn"], []) or "ftz" in parts:
                return None
            found = {
                "add": "{0} + {1}",
                "sub": "{0} - {1}",
                "mul": "{0} * {1}",
                "div": "{0} / {1}",
                "fma": "__builtin_fmaf({0}, {1}, {2})",
                "sqrt": "sqrtf({0})",
                "neg": "-{0}",
            }.get(name)
            if name == "selp":
                return f"{self.value(operands[3], 'pred')} ? {values[0]} : {values[1]}"
            return found and found.format(*values)
        bits = int(kind[1:]) if kind != "pred" else 1
        unsigned, wide = f"u{bits}", f"{kind[0]}{2 * bits}"
        raw = [self.value(operand, "pred" if kind == "pred" else unsigned) for operand in operands[1:]]
        if name in ("div", "rem"):
            return f"{values[0]} {_INFIX[name]} {values[1]}"
        if kind == "pred" and name in _INFIX:
            return f"{raw[0]} {_INFIX[name]} {raw[1]}"
        if name in _INFIX:  # modulo 2 ** bits, whatever the sign
            return f"({_c_type(kind)})({raw[0]} {_INFIX[name]} {raw[1]})"
        if name in ("mul", "mad"):
            product = f"({unsigned})({raw[0]} * {raw[1]})"
            if parts[0] == "wide":
                return f"({wide}){values[0]} * ({wide}){values[1]}"
            if parts[0] == "hi":
                double = {"s64": "__int128", "u64": "unsigned __int128"}.get(kind, wide)
                return f"({kind})((({double}){values[0]} * ({double}){values[1]}) >> {bits})"
            return product if name == "mul" else f"({unsigned})({product} + {raw[2]})"
        by = self.value(operands[2], "u32") if name in ("shl", "shr") else ""
        simple = {
            "neg": f"({unsigned})-{raw[0]}",
            "not": "!" + raw[0] if kind == "pred" else f"({unsigned})~{raw[0]}",
            "shl": f"shl({raw[0]}, {by})",
            "shr": f"shr({values[0]}, {by})",
            "popc": f"__builtin_popcountll({raw[0]})",
            "brev": f"reversed({raw[0]})",
            "bfind": f"{'shift_to_highest' if 'shiftamt' in parts else 'highest'}({raw[0]})",
            "clz": f"({raw[0]} ? __builtin_clzll({raw[0]}) - {64 - bits} : {bits})",
        }
        if name in simple:
            return simple[name]
        if name in ("min", "max"):
            return f"{values[0]} {'<' if name == 'min' else '>'} {values[1]} ? {values[0]} : {values[1]}"
        if name == "selp":
            return f"{self.value(operands[3], 'pred')} ? {raw[0]} : {raw[1]}"
        if name == "prmt":
            return f"permuted({', '.join(raw)})"
        if name == "bfi":
            return f"({unsigned})insert({', '.join(raw)})"
        return None

    def compare(self, how: str, kind: str, operands: list[str]) -> str:
        a, b = (self.value(operand, kind) for operand in operands[1:3])
        if kind == "f32" and how.endswith("u"):  # or one of them is no number
            return {
                "lt": f"!({a} >= {b})",
                "le": f"!({a} > {b})",
                "gt": f"!({a} <= {b})",
                "ge": f"!({a} < {b})",
                "eq": f"!({a} < {b} || {a} > {b})",
                "ne": f"!({a} == {b})",
            }[how[:-1]]
        if kind == "f32" and how == "ne":
            return f"({a} < {b} || {a} > {b})"
        return f"{a} {_COMPARE[how]} {b}"

    def move(self, operands: list[str], kind: str) -> str:
        target, source = operands
        if target.startswith("{"):
            wanted = [(i, _register(half)) for i, half in enumerate(_parts(target)) if half != "_"]
            return " ".join(f"{half} = {_register(source)} >> {32 * i};" for i, half in wanted)
        if source.startswith("{"):
            low, high = (self.value(half, "u32") for half in _parts(source))
            return f"{_register(target)} = (u64){high} << 32 | {low};"
        return self.assigned(target, self.value(source, kind), kind)

    def shuffle(self, how: str, operands: list[str], site: str) -> str:
        target, _, predicate = operands[0].partition("|")
        given, by, mask = (self.value(operands[i], "u32") for i in (1, 2, 4))
        source = _SHUFFLE[how].format(b=by)
        done = f"{_register(target)} = exchange(SHUFFLE, {given}, {source}, {mask}, {site});"
        if predicate:
            inside = {"up": f"lane >= (int)({by})", "down": f"lane + (int)({by}) < 32"}.get(how, "true")
            return f"{_register(predicate)} = {inside}; {done}"
        return done

    def memory(self, name: str, parts: list[str], operands: list[str], line: int) -> str:
        parts = [part for part in parts if part not in ("volatile", "relaxed", "gpu", "cta")]
        space, kind = parts[0], parts[-1]
        if space == "param":
            number = int(operands[1].strip("[]").rpartition("_")[2])
            return f"{_register(operands[0])} = {'(s32)' if kind == 's32' else ''}bits(param_{number});"
        if space not in ("global", "shared"):
            raise NotImplementedError(f"line {line} of {self.name}: {name}.{'.'.join(parts)}")
        vector = next((int(part[1:]) for part in parts if part in ("v2", "v4")), 1)
        size = _bits(kind) // 8
        address = self.address(operands[0 if name == "st" else 1], space)
        note = f"note({line}, at" if space == "global" else "note_shared(at"
        how = f"{str(name != 'ld').lower()}, {str(name == 'atom').lower()}"
        start = f"const u64 at = {address}; {note}, {vector * size}, {how});"
        if name == "atom":
            if parts[1:] != ["add", "u32"]:
                raise NotImplementedError(f"line {line} of {self.name}: {name}.{'.'.join(parts)}")
            added = f"__atomic_fetch_add((u32 *)at, {self.value(operands[2], 'u32')}, __ATOMIC_RELAXED)"
            return f"{{ {start} {_register(operands[0])} = {added}; }}"
        registers = _parts(operands[1 if name == "st" else 0])
        if vector > 1:
            assert size == 4
            whole = {2: "Two", 4: "Four"}[vector]
            if name == "ld":
                wanted = [(i, _register(register)) for i, register in enumerate(registers) if register != "_"]
                taken = " ".join(f"{register} = all.x[{i}];" for i, register in wanted)
                return f"{{ {start} {whole} all = load<{whole}>(at); {taken} }}"
            given = ", ".join(_raw(register) for register in registers)
            return f"{{ {start} store(at, {whole}{{{given}}}); }}"
        stored = f"{'s' if kind[0] == 's' else 'u'}{_bits(kind)}"
        if name == "ld":
            return f"{{ {start} {_register(registers[0])} = load<{stored}>(at); }}"
        return f"{{ {start} store(at, ({stored}){_raw(registers[0])}); }}"


CYCLES = {"div": 40, "sqrt": 40, "rem": 40, "shfl": 24, "vote": 24, "match": 24, "bar": 20, "atom": 60}
"""Until a result is there, by instruction; of most it is `_CYCLES`."""
_CYCLES, _SHARED_CYCLES = 5, 30
_NAMED = re.compile(r"%([a-z]+\d+)")


def _read_and_written(opcode: str, operands: str) -> tuple[list[str], list[str]]:
    """Registers that an instruction reads, and those that it writes."""
    parts, name = _split(operands), opcode.partition(".")[0]
    writes = 0 if name in ("st", "bra", "ret", "bar") else 1
    return _NAMED.findall(" ".join(parts[writes:])), _NAMED.findall(" ".join(parts[:writes]))


def _issued(opcode: str, predicate: str, operands: str) -> str:
    """A statement: the instruction is issued when what it reads is there. A predicate is read in any case."""
    reads = [f"t_{name}" for name in _NAMED.findall(predicate) + _read_and_written(opcode, operands)[0]]
    return f"  now = latest({', '.join(['now', *reads])}) + 1;"


def _ready(opcode: str, operands: str) -> str:
    """Statements: when the registers that it writes are there."""
    written, name = _read_and_written(opcode, operands)[1], opcode.partition(".")[0]
    if name == "ld" and ".global" in opcode:
        found = _ADDRESS.fullmatch(_split(operands)[1])
        assert found
        taken = f"load_cycles((u64){_register(found[1])} + {found[2] or 0}ll)"
    else:
        taken = str(_SHARED_CYCLES if ".shared" in opcode else CYCLES.get(name, _CYCLES))
    return f" {{ double took = now + {taken}; {' '.join(f't_{name} = took;' for name in written)} }}" if written else ""


def _bits(kind: str) -> int:
    return int(kind[1:])


def _c_type(kind: str) -> str:
    return {"b": "u"}.get(kind[0], kind[0]) + kind[1:] if kind != "f32" else "float"


def _register(operand: str) -> str:
    return "r_" + operand.strip().lstrip("%")


def _raw(operand: str) -> str:
    """A register's bits, or those of a constant."""
    if operand.startswith("0f"):
        return f"0x{operand[2:]}u"
    return _register(operand) if operand.startswith("%") else f"(u32){operand}ll"


def _parts(operand: str) -> list[str]:
    return [part.strip() for part in operand.strip("{}").split(",")]


def _split(operands: str) -> list[str]:
    """By commas that are not within braces."""
    return [part.strip() for part in re.split(r",(?![^{]*\})", operands)] if operands else []
