"""Sixteen float32 lanes: the vector type of the training step, for Numba kernels.

Lane l of a dot product takes dims l, l + 16, ... The order of every addition is written out here, so AVX2, AVX-512 and
the plain definition agree in every bit. LLVM splits a vector into halves or quarters where the CPU has narrower ones.
"""

from __future__ import annotations

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16
_F32 = ir.FloatType()
I32 = ir.IntType(32)
I64 = ir.IntType(64)
VECTOR = ir.VectorType(_F32, LANES)


def rounded_up(count: int) -> int:
    """The next multiple of LANES."""
    return -(-count // LANES) * LANES


_X86 = platform.machine().lower() in ("x86_64", "amd64")


class _Lanes(types.Type):
    def __init__(self):
        super().__init__(name="Lanes16")


lanes_type = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, frontend_type):
        super().__init__(manager, frontend_type, VECTOR)


def pointer(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), VECTOR.as_pointer())


def emit_load(builder, pointer):
    value = builder.load(pointer)
    value.align = 4
    return value


def emit_store(builder, value, pointer):
    builder.store(value, pointer).align = 4


def emit_splat(builder, scalar):
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, LANES), [0] * LANES))


def emit_fma(builder, a, b, c):
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), "llvm.fma.v16f32")
    return builder.call(function, [a, b, c])


def _shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, LANES), lanes))


def emit_zero():
    return ir.Constant(VECTOR, [0.0] * LANES)


@intrinsic
def load(typing_context, array, index):
    """array[index : index+16]"""

    def generate(context, builder, signature, args):
        return emit_load(builder, pointer(context, builder, signature.args[0], args[0], args[1]))

    return lanes_type(array, types.intp), generate


@intrinsic
def store(typing_context, array, index, value):
    """array[index : index+16] = value"""

    def generate(context, builder, signature, args):
        emit_store(builder, args[2], pointer(context, builder, signature.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes_type), generate


@intrinsic
def address(typing_context, array):
    """Where the array begins in memory, in bytes."""

    def generate(context, builder, signature, args):
        return builder.ptrtoint(context.make_array(signature.args[0])(context, builder, args[0]).data, I64)

    return types.intp(array), generate


@intrinsic
def splat(typing_context, scalar):
    """The same float32 in every lane."""
    return lanes_type(types.float32), lambda context, builder, signature, args: emit_splat(builder, args[0])


@intrinsic
def zero(typing_context):
    """+0 in every lane."""
    return lanes_type(), lambda context, builder, signature, args: emit_zero()


@intrinsic
def fma(typing_context, a, b, c):
    """a * b + c, rounded once."""
    return (
        lanes_type(lanes_type, lanes_type, lanes_type),
        lambda context, builder, signature, args: emit_fma(builder, *args),
    )


def _binary(name):
    @intrinsic
    def operation(typing_context, a, b):
        return (
            lanes_type(lanes_type, lanes_type),
            lambda context, builder, signature, args: getattr(builder, name)(*args),
        )

    return operation


add, subtract, multiply, divide = (_binary(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


@intrinsic
def clamp(typing_context, value, limit):
    """Each lane moved into [-limit, limit]."""

    def generate(context, builder, signature, args):
        value, limit = args
        low = builder.fsub(emit_zero(), limit)
        value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
        return builder.select(builder.fcmp_ordered(">", value, limit), limit, value)

    return lanes_type(lanes_type, lanes_type), generate


@intrinsic
def total(typing_context, value):
    """Sum of the lanes: l += l+8, l += l+4, l += l+2, then lane 0 + lane 1."""

    def generate(context, builder, signature, args):
        # The upper half is added onto the lower half, until one lane is left: a few instructions for vectors of any
        # width. This order is the definition's (docs/definition.md, "The training step"); `emit_totals` and the CUDA
        # source keep it too.
        (value,) = args
        width = LANES
        while width > 1:
            width //= 2
            high = _shuffle(builder, value, value, [lane + width if lane < width else 0 for lane in range(LANES)])
            value = builder.fadd(value, high)
        return builder.extract_element(value, ir.Constant(I32, 0))

    return types.float32(lanes_type), generate


def emit_totals(builder, values):
    """Sixteen vectors -> one vector whose lane i is the total of vector i, added up in the order of `total`.

    Each addition serves two vectors: it adds the upper halves of their lanes to the lower halves. So sixteen totals
    take 8 + 4 + 2 + 1 = 15 additions of vectors in place of 16 * 4.
    """
    group = LANES
    while group > 1:
        half = group // 2
        lower = [start + lane for start in range(0, 2 * LANES, group) for lane in range(half)]
        upper = [lane + half for lane in lower]
        values = [
            builder.fadd(_shuffle(builder, u, v, lower), _shuffle(builder, u, v, upper))
            for u, v in zip(values[::2], values[1::2])
        ]
        group = half
    return values[0]


def _no_unrolling(module):
    """Metadata that forbids LLVM to unroll a loop: a node whose first operand is itself, as LLVM wants it.

    The body works on whole vectors already and runs a few times: copies of it would only be more code.
    """
    rolled = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    scalar = module.add_metadata([ir.MetaDataString(module, "llvm.loop.vectorize.width"), I32(1)])
    node = ir.MDValue(module, [rolled], name=str(len(module.metadata)))
    node.operands = (node, rolled, scalar)
    return node


class Loop:
    """for q in range(0, end, step) with values carried from one turn to the next, written as LLVM blocks.

    After the constructor the builder stands in the body, where `index` is q and `values` are those carried. `close`
    ends the body with the next values, and returns what is carried out of the loop.
    """

    def __init__(self, builder, end, step, carried, rolled=False):
        self.builder, self.step, self.rolled = builder, step, rolled
        before = builder.block
        self.head, self.body, self.after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
        builder.branch(self.head)
        builder.position_at_end(self.head)
        self.index = builder.phi(I64)
        self.index.add_incoming(ir.Constant(I64, 0), before)
        self.values = [builder.phi(value.type) for value in carried]
        for phi, value in zip(self.values, carried):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", self.index, end), self.body, self.after)
        builder.position_at_end(self.body)

    def close(self, values):
        body_end = self.builder.block
        self.index.add_incoming(self.builder.add(self.index, ir.Constant(I64, self.step)), body_end)
        for phi, value in zip(self.values, values):
            phi.add_incoming(value, body_end)
        back = self.builder.branch(self.head)
        if self.rolled:
            back.set_metadata("llvm.loop", _no_unrolling(self.builder.module))
        self.builder.position_at_end(self.after)
        return self.values


def switch(builder, case, emit_case):
    """Branch on the integer `case`: emit_case maps each value to a function that emits its code.

    All functions return the same number of values; those of the branch taken are returned. Any other value of `case`
    is undefined behaviour.
    """
    otherwise, after = builder.append_basic_block("otherwise"), builder.append_basic_block("after")
    switch = builder.switch(case, otherwise)
    results = []
    for number, emit in emit_case.items():
        block = builder.append_basic_block(f"case{number}")
        switch.add_case(ir.Constant(I64, number), block)
        builder.position_at_end(block)
        values = emit()
        results.append((builder.block, values))
        builder.branch(after)
    builder.position_at_end(otherwise)
    builder.unreachable()
    builder.position_at_end(after)
    joined = []
    for values in zip(*(values for _, values in results)):
        phi = builder.phi(values[0].type)
        for (block, _), value in zip(results, values):
            phi.add_incoming(value, block)
        joined.append(phi)
    return joined


DEFAULT_FLOAT_MODE = 0x1F80
"""x86 MXCSR: round to nearest, denormal numbers on, no traps."""


@intrinsic
def set_float_mode(typing_context, mode):
    """Set this thread's float mode (x86 MXCSR) and return the old one; does nothing on other processors.

    A library built with -ffast-math switches denormal numbers off when it is loaded, which would change the bits of
    the vectors.
    """

    def generate(context, builder, signature, args):
        if not _X86:
            return args[0]
        slot = cgutils.alloca_once(builder, I32)
        byte = builder.bitcast(slot, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
        read = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.stmxcsr")
        write = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.ldmxcsr")
        builder.call(read, [byte])
        old = builder.load(slot)
        builder.store(args[0], slot)
        builder.call(write, [byte])
        return old

    return types.uint32(types.uint32), generate
