"""Sixteen float32 lanes: the vector type of the training step, for Numba kernels.

Lane l of a dot product takes dims l, l+16, ...; the order of every addition is
written out here, so that AVX2, AVX-512 and the plain definition agree in every
bit. LLVM splits a vector in halves or quarters where the CPU has narrower ones.
"""

from __future__ import annotations

import functools
import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16
_F32 = ir.FloatType()
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_VECTOR = ir.VectorType(_F32, LANES)
_X86 = platform.machine().lower() in ("x86_64", "amd64")


class _Lanes(types.Type):
    def __init__(self):
        super().__init__(name="Lanes16")


lanes_type = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, frontend_type):
        super().__init__(manager, frontend_type, _VECTOR)


def _pointer(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


def _load(builder, pointer):
    value = builder.load(pointer)
    value.align = 4
    return value


def _store(builder, value, pointer):
    builder.store(value, pointer).align = 4


def _broadcast(builder, scalar):
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))


def _fma(builder, a, b, c):
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), "llvm.fma.v16f32"
    )
    return builder.call(function, [a, b, c])


def _shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, LANES), lanes))


def _zero():
    return ir.Constant(_VECTOR, [0.0] * LANES)


@intrinsic
def load(typing_context, array, index):
    """array[index : index+16]"""

    def generate(context, builder, signature, args):
        return _load(builder, _pointer(context, builder, signature.args[0], args[0], args[1]))

    return lanes_type(array, types.intp), generate


@intrinsic
def store(typing_context, array, index, value):
    """array[index : index+16] = value"""

    def generate(context, builder, signature, args):
        _store(builder, args[2], _pointer(context, builder, signature.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes_type), generate


@intrinsic
def splat(typing_context, scalar):
    """The same float32 in every lane."""
    return lanes_type(types.float32), lambda context, builder, signature, args: _broadcast(builder, args[0])


@intrinsic
def zero(typing_context):
    """+0 in every lane."""
    return lanes_type(), lambda context, builder, signature, args: _zero()


@intrinsic
def fma(typing_context, a, b, c):
    """a * b + c, rounded once."""
    return (
        lanes_type(lanes_type, lanes_type, lanes_type),
        lambda context, builder, signature, args: _fma(builder, *args),
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
        low = builder.fsub(_zero(), limit)
        value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
        return builder.select(builder.fcmp_ordered(">", value, limit), limit, value)

    return lanes_type(lanes_type, lanes_type), generate


@intrinsic
def total(typing_context, value):
    """Sum of the lanes: l += l+8, l += l+4, l += l+2, then lane 0 + lane 1."""

    def generate(context, builder, signature, args):
        (value,) = args
        width = LANES
        while width > 1:
            width //= 2
            high = _shuffle(builder, value, value, [lane + width if lane < width else 0 for lane in range(LANES)])
            value = builder.fadd(value, high)
        return builder.extract_element(value, ir.Constant(_I32, 0))

    return types.float32(lanes_type), generate


def _totals(builder, values):
    """Sixteen vectors -> one whose lane i is the total of vector i, each added up as `total` does.

    Two vectors share each addition: lower halves of their groups plus upper halves.
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


def _offset(context, builder, array_type, array, index, step):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.load(builder.gep(data, [builder.add(index, ir.Constant(_I64, step))]))


class _Loop:
    """for q in range(0, end, step) with values carried from turn to turn, written as LLVM blocks."""

    def __init__(self, builder, end, step, carried):
        self.builder, self.step = builder, step
        before = builder.block
        self.head, self.body, self.after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
        builder.branch(self.head)
        builder.position_at_end(self.head)
        self.index = builder.phi(_I64)
        self.index.add_incoming(ir.Constant(_I64, 0), before)
        self.values = [builder.phi(value.type) for value in carried]
        for phi, value in zip(self.values, carried):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", self.index, end), self.body, self.after)
        builder.position_at_end(self.body)

    def close(self, values):
        here = self.builder.block
        self.index.add_incoming(self.builder.add(self.index, ir.Constant(_I64, self.step)), here)
        for phi, value in zip(self.values, values):
            phi.add_incoming(value, here)
        self.builder.branch(self.head)
        self.builder.position_at_end(self.after)
        return self.values


def _switch(builder, case, emit_case):
    """Branch on the integer `case`: emit_case maps each value to a function that emits its code.

    The functions return equally many values; those of the branch taken come back.
    Another value of `case` is a mistake of the caller.
    """
    otherwise, after = builder.append_basic_block("otherwise"), builder.append_basic_block("after")
    switch = builder.switch(case, otherwise)
    results = []
    for number, emit in emit_case.items():
        block = builder.append_basic_block(f"case{number}")
        switch.add_case(ir.Constant(_I64, number), block)
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


MOST_OUTPUTS = 8
"""Outputs whose vectors are held in registers at a time; a kernel is made for each number from 2 on."""
FEWEST_OF_MANY = 4
"""When there are more than 8 outputs they are dealt with in parts of at least so many."""


def _dots(contexts):
    @intrinsic
    def dots(typing_context, width, x, x_at, a, y, y_at, k, dims):
        def generate(context, builder, signature, args):
            width, x, x_at, a, y, y_at, k, dims = args
            t = signature.args

            def emit(outputs):
                rows_x = [_offset(context, builder, t[2], x_at, a, i) for i in range(contexts)]
                rows_y = [_offset(context, builder, t[5], y_at, k, j) for j in range(outputs)]
                loop = _Loop(builder, dims, LANES, [_zero()] * (contexts * outputs))
                q = loop.index

                def at(array_type, array, row):
                    return _load(builder, _pointer(context, builder, array_type, array, builder.add(row, q)))

                xs = [at(t[1], x, row) for row in rows_x]
                sums = list(loop.values)
                for j, row in enumerate(rows_y):
                    value = at(t[4], y, row)
                    for i in range(contexts):
                        sums[i * outputs + j] = _fma(builder, xs[i], value, sums[i * outputs + j])
                sums = loop.close(sums)
                return [_totals(builder, sums + [_zero()] * (LANES - len(sums)))]

            cases = {n: functools.partial(emit, n) for n in range(2, MOST_OUTPUTS + 1)}
            return _switch(builder, width, cases)[0]

        i64 = types.intp
        return lanes_type(i64, x, x_at, i64, y, y_at, i64, i64), generate

    return dots


dots_of_one, dots_of_two = _dots(1), _dots(2)
"""dots_of_two(width, x, x_at, a, y, y_at, k, dims): the dot products of the rows that begin at
x[x_at[a + i]], i = 0, 1, with those at y[y_at[k + j]], j = 0..width-1, in lane i * width + j."""

WHOLE, PART = 0, 16
"""Whether a call of `gradients` deals with all outputs of a target, or with a part of them."""
FIRST, LAST = 1, 2
"""Flags of a part: none are before it; none are behind it."""


@intrinsic
def gradients(typing_context, kind, flags, width, x, x_at, m, y, y_at, k, g, g_at, e, tile, tile_at, s, dims):
    """Gradient rows of one target, for `width` of its outputs from k on and all its m contexts.

    `kind` is WHOLE, or PART with `flags`.

    s[(k + j) dims:]  = sum over contexts c of g[g_at + c width + j] * x row c, from +0, in order
    e_c               = sum over j of g[...] * y row k + j, in order, from +0 in the first part,
                        else from e[c dims:], where an earlier part has left it
    tile[tile_at[c]:] += e_c in the last part, else e[c dims:] = e_c
    """

    def generate(context, builder, signature, args):
        kind, flags, width, x, x_at, m, y, y_at, k, g, g_at, e, tile, tile_at, s, dims = args
        t = signature.args[1:]

        def is_set(flag):
            return builder.icmp_signed("!=", builder.and_(flags, ir.Constant(_I64, flag)), ir.Constant(_I64, 0))

        def emit(outputs, whole):
            first, last = is_set(FIRST), is_set(LAST)
            rows_y = [_offset(context, builder, t[6], y_at, k, j) for j in range(outputs)]

            def at(position, array, index):
                return _pointer(context, builder, t[position], array, index)

            over_dims = _Loop(builder, dims, LANES, [])
            q = over_dims.index
            ys = [_load(builder, at(5, y, builder.add(row, q))) for row in rows_y]
            over_contexts = _Loop(builder, m, 1, [_zero()] * outputs)
            c = over_contexts.index
            row_x = _offset(context, builder, t[3], x_at, c, 0)
            value = _load(builder, at(2, x, builder.add(row_x, q)))
            place = builder.add(builder.mul(c, dims), q)
            gradient = _zero()
            if not whole:
                gradient = builder.select(first, gradient, _load(builder, at(10, e, place)))
            weights_at = builder.add(g_at, builder.mul(c, ir.Constant(_I64, outputs)))
            sums = []
            for j in range(outputs):
                weight = _broadcast(builder, _offset(context, builder, t[8], g, weights_at, j))
                sums.append(_fma(builder, weight, value, over_contexts.values[j]))
                gradient = _fma(builder, weight, ys[j], gradient)
            row = _offset(context, builder, t[12], tile_at, c, 0)
            to = at(11, tile, builder.add(row, q))
            added = builder.fadd(_load(builder, to), gradient)
            if not whole:
                added = builder.select(last, added, gradient)
                to = builder.select(last, to, at(10, e, place))
            _store(builder, added, to)
            sums = over_contexts.close(sums)
            for j in range(outputs):
                row = builder.mul(builder.add(k, ir.Constant(_I64, j)), dims)
                _store(builder, sums[j], at(13, s, builder.add(row, q)))
            over_dims.close([])
            return []

        cases = {WHOLE + n: functools.partial(emit, n, True) for n in range(2, MOST_OUTPUTS + 1)}
        cases |= {PART + n: functools.partial(emit, n, False) for n in range(FEWEST_OF_MANY, MOST_OUTPUTS + 1)}
        _switch(builder, builder.add(kind, width), cases)
        return context.get_dummy_value()

    i64 = types.intp
    return types.void(i64, i64, i64, x, x_at, i64, y, y_at, i64, g, i64, e, tile, tile_at, s, i64), generate


@intrinsic
def prefetch(typing_context, array, index):
    """Ask for the cache line of array[index]: a hint, never an access."""

    def generate(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        byte = ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32]), "llvm.prefetch.p0"
        )
        builder.call(function, [builder.bitcast(builder.gep(data, [args[1]]), byte), _I32(0), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


DEFAULT_FLOAT_MODE = 0x1F80
"""x86 MXCSR: round to nearest, denormal numbers on, no traps."""


@intrinsic
def set_float_mode(typing_context, mode):
    """Set this thread's float mode and return the old one; does nothing but on x86.

    A library built with -ffast-math switches denormal numbers off for the whole
    process when it is loaded, which would change the bits of the vectors.
    """

    def generate(context, builder, signature, args):
        if not _X86:
            return args[0]
        slot = cgutils.alloca_once(builder, _I32)
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
