"""Operations on whole weight rows, sixteen lanes at a time: what a training step spends its time on.

They are written as LLVM code, because Numba neither keeps the sums of a row in registers nor leaves small loops
rolled. `dims` is a multiple of 16. A row is given by the index at which it begins in a flat float32 array.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pipeline.kernels import lanes
from pipeline.kernels.bits import emit_prefetch
from pipeline.kernels.compile import kernel
from pipeline.kernels.lanes import (
    I64,
    LANES,
    VECTOR,
    Loop,
    emit_fma,
    emit_load,
    emit_splat,
    emit_store,
    emit_totals,
    emit_zero,
    lanes_type,
    pointer,
    switch,
)

Array = tuple[Any, Any]
"""(Numba's type, LLVM value) of an array: two parameters of `pointer`, `_load_number` and `emit_prefetch`."""


def _load_number(context, builder, array_type, array, index, step):
    data = context.make_array(array_type)(context, builder, array).data
    step = ir.Constant(I64, step) if isinstance(step, int) else step
    return builder.load(builder.gep(data, [builder.add(index, step)]))


@intrinsic
def prefetch(typing_context, array, at, dims):
    """Prefetch the cache lines of array[at : at + dims]."""

    def generate(context, builder, signature, args):
        array, at, dims = args
        loop = Loop(builder, dims, LANES, [], rolled=True)
        emit_prefetch(context, builder, signature.args[0], array, builder.add(at, loop.index))
        loop.close([])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate


PANEL = 8
"""At most so many vectors of a row are held in registers at a time."""
SMALL_PANEL = 4
"""The same where other vectors need registers too: AVX2 has sixteen, and a vector of ours takes two."""


def _over_panels(builder, dims, emit, most=PANEL):
    """Cut `dims` into panels of n <= most vectors, as few and as even as possible; emit(q, n) for each, from dim q."""
    vectors = builder.lshr(dims, ir.Constant(I64, LANES.bit_length() - 1))
    panels = builder.udiv(builder.add(vectors, ir.Constant(I64, most - 1)), ir.Constant(I64, most))
    width = builder.udiv(builder.add(vectors, builder.sub(panels, ir.Constant(I64, 1))), panels)
    loop = Loop(builder, panels, 1, [], rolled=True)
    first = builder.mul(loop.index, width)
    left = builder.sub(vectors, first)
    n = builder.select(builder.icmp_unsigned("<", left, width), left, width)
    q = builder.mul(first, ir.Constant(I64, LANES))
    switch(builder, n, {n: functools.partial(emit, q, n) for n in range(1, most + 1)})
    loop.close([])


def _at(builder, q, i):
    return builder.add(q, ir.Constant(I64, i * LANES))


@intrinsic
def mean(typing_context, to, to_at, rows, at, first, count, share, dims):
    """to[to_at : to_at + dims] = share * (sum, in order, of the rows that begin at rows[at[first + i]], i < count)"""

    def generate(context, builder, signature, args):
        to, to_at, rows, at, first, count, share, dims = args
        t = signature.args
        share = emit_splat(builder, share)

        def emit(q, n):
            loop = Loop(builder, count, 1, [emit_zero()] * n, rolled=True)
            row = builder.add(_load_number(context, builder, t[3], at, first, loop.index), q)
            values = [emit_load(builder, pointer(context, builder, t[2], rows, _at(builder, row, i))) for i in range(n)]
            totals = loop.close([builder.fadd(total, value) for total, value in zip(loop.values, values)])
            for i, total in enumerate(totals):
                place = pointer(context, builder, t[0], to, _at(builder, builder.add(to_at, q), i))
                emit_store(builder, builder.fmul(total, share), place)
            return []

        _over_panels(builder, dims, emit)
        return context.get_dummy_value()

    i64 = types.intp
    return types.void(to, i64, rows, at, i64, i64, types.float32, i64), generate


@intrinsic
def sum_of_run(typing_context, to, rows, at, count, dims):
    """to[:dims] = sum, from +0 and in order, of `count` rows that follow each other from rows[at] on"""

    def generate(context, builder, signature, args):
        to, rows, at, count, dims = args
        t = signature.args

        def emit(q, n):
            loop = Loop(builder, count, 1, [emit_zero()] * n, rolled=True)
            row = builder.add(builder.add(at, q), builder.mul(loop.index, dims))
            values = [emit_load(builder, pointer(context, builder, t[1], rows, _at(builder, row, i))) for i in range(n)]
            totals = loop.close([builder.fadd(total, value) for total, value in zip(loop.values, values)])
            for i, total in enumerate(totals):
                emit_store(builder, total, pointer(context, builder, t[0], to, _at(builder, q, i)))
            return []

        _over_panels(builder, dims, emit)
        return context.get_dummy_value()

    i64 = types.intp
    return types.void(to, rows, i64, i64, i64), generate


@intrinsic
def add_to_each(typing_context, to, at, first, count, row, dims):
    """to[a : a + dims] += row[:dims] for a = at[first + i], i < count"""

    def generate(context, builder, signature, args):
        to, at, first, count, row, dims = args
        t = signature.args

        def emit(q, n):
            values = [emit_load(builder, pointer(context, builder, t[4], row, _at(builder, q, i))) for i in range(n)]
            loop = Loop(builder, count, 1, [], rolled=True)
            begin = builder.add(_load_number(context, builder, t[1], at, first, loop.index), q)
            for i, value in enumerate(values):
                place = pointer(context, builder, t[0], to, _at(builder, begin, i))
                emit_store(builder, builder.fadd(emit_load(builder, place), value), place)
            loop.close([])
            return []

        _over_panels(builder, dims, emit)
        return context.get_dummy_value()

    i64 = types.intp
    return types.void(to, at, i64, i64, row, i64), generate


@intrinsic
def add(typing_context, to, at, row, row_at, dims):
    """to[at : at + dims] += row[row_at : row_at + dims]"""

    def generate(context, builder, signature, args):
        to, at, row, row_at, dims = args
        t = signature.args
        loop = Loop(builder, dims, LANES, [], rolled=True)
        target = pointer(context, builder, t[0], to, builder.add(at, loop.index))
        value = emit_load(builder, pointer(context, builder, t[2], row, builder.add(row_at, loop.index)))
        emit_store(builder, builder.fadd(emit_load(builder, target), value), target)
        loop.close([])
        return context.get_dummy_value()

    i64 = types.intp
    return types.void(to, i64, row, i64, i64), generate


MOST_OUTPUTS = 8
"""Outputs whose vectors are held in registers at a time: a group. Code is generated for each number from 2 on."""
FEWEST_OF_MANY = 4
"""More than MOST_OUTPUTS outputs are split evenly into groups, which then have at least so many."""


def _dots(contexts):
    @intrinsic
    def dots(typing_context, width, x, x_at, a, y, y_at, k, dims):
        def generate(context, builder, signature, args):
            width, x, x_at, a, y, y_at, k, dims = args
            t = signature.args

            def emit(outputs):
                rows_x = [_load_number(context, builder, t[2], x_at, a, i) for i in range(contexts)]
                rows_y = [_load_number(context, builder, t[5], y_at, k, j) for j in range(outputs)]
                loop = Loop(builder, dims, LANES, [emit_zero()] * (contexts * outputs))
                q = loop.index

                def at(array_type, array, row):
                    return emit_load(builder, pointer(context, builder, array_type, array, builder.add(row, q)))

                xs = [at(t[1], x, row) for row in rows_x]
                sums = list(loop.values)
                for j, row in enumerate(rows_y):
                    value = at(t[4], y, row)
                    for i in range(contexts):
                        sums[i * outputs + j] = emit_fma(builder, xs[i], value, sums[i * outputs + j])
                sums = loop.close(sums)
                return [emit_totals(builder, sums + [emit_zero()] * (LANES - len(sums)))]

            cases = {n: functools.partial(emit, n) for n in range(2, MOST_OUTPUTS + 1)}
            return switch(builder, width, cases)[0]

        i64 = types.intp
        return lanes_type(i64, x, x_at, i64, y, y_at, i64, i64), generate

    return dots


dots_of_one, dots_of_two = _dots(1), _dots(2)
"""dots_of_two(width, x, x_at, a, y, y_at, k, dims): the dot products of the rows that begin at
x[x_at[a + i]], i = 0, 1, with those at y[y_at[k + j]], j = 0..width-1, in lane i * width + j."""

WHOLE, GROUP = 0, 16
"""Whether a call of `gradients` handles all outputs of a target, or one group of them."""
FIRST, LAST = 1, 2
"""Flags of a group: it is the target's first; it is the last."""


def _prefetch_rows(context: Any, builder: Any, array: Array, offsets: Array, at: Any, q: Any, count: int) -> None:
    """Prefetch the lanes at q of the rows of `array` that begin at offsets[at + j], j < count."""
    for j in range(count):
        row = _load_number(context, builder, *offsets, at, j)
        emit_prefetch(context, builder, *array, builder.add(row, q))


def _fields(builder: Any, kinds: Any, values: Any) -> dict[str, Array]:
    """The fields of a named tuple by name, each with its type."""
    return {name: (kind, builder.extract_value(values, i)) for i, (name, kind) in enumerate(zip(kinds.fields, kinds))}


def _place(context: Any, builder: Any, own: dict[str, Array], k: Any, q: Any) -> Callable[[int, Any], None]:
    """place(i, gradient): to[k] = fma(factor[k], +0 + gradient, base[k]) for the i-th vector of lanes from q on.

    `to` and `base` hold addresses.
    """
    to, base, factor = (_load_number(context, builder, *own[name], k, 0) for name in ("to", "base", "factor"))
    offset, factor = builder.mul(q, ir.Constant(I64, 4)), emit_splat(builder, factor)
    to, base = (builder.inttoptr(builder.add(row, offset), VECTOR.as_pointer()) for row in (to, base))

    def place(i: int, gradient: Any) -> None:
        # +0 + gradient turns -0 into +0, as each sum of the definition does, which starts from +0. So a gradient that
        # needs no sum gets the same bits.
        gradient = builder.fadd(emit_zero(), gradient)
        to_i, base_i = (builder.gep(row, [ir.Constant(I64, i)]) for row in (to, base))
        emit_store(builder, emit_fma(builder, factor, gradient, emit_load(builder, base_i)), to_i)

    return place


@intrinsic
def gradients(typing_context, kind, flags, width, x_from, m, k, g_at, soon, weights, own):
    """Gradient rows of one target, for `width` of its outputs and all its m contexts.

    `kind` is WHOLE, or GROUP with `flags`. Context c is the row x of weights.w_in that begins at own.x_at[x_from + c],
    output j the row y of weights.w_out that begins at own.y_at[k + j]; names below without `weights` are in `own`.

    output j: sum over contexts c of g[g_at + c width + j] * x row c, from +0, in order, stored by `_place` k + j
    e_c     : sum over j of g[...] * y row j, in order, from +0 in the first group, else from
              e[c dims:], where the group before has left it
    tile[tile_at[x_from + c]:] += e_c in the last group, else e[c dims:] = e_c

    Rows that begin at y_at[soon + j] are prefetched on the way.

    Args:
      weights: `Weights`; own: `Scratch`; the others are integers.
    """

    def generate(context, builder, signature, args):
        kind, flags, width, x_from, m, k, g_at, soon, *_ = args
        weights, own = (_fields(builder, *pair) for pair in zip(signature.args[-2:], args[-2:]))
        dims = weights["dims"][1]

        def is_set(flag):
            return builder.icmp_signed("!=", builder.and_(flags, ir.Constant(I64, flag)), ir.Constant(I64, 0))

        def emit(outputs, whole):
            first, last = is_set(FIRST), is_set(LAST)
            rows_y = [_load_number(context, builder, *own["y_at"], k, j) for j in range(outputs)]

            def at(array: Array, index: Any) -> Any:
                return pointer(context, builder, *array, index)

            # The outer loop is over lanes, the inner one over contexts: so the sums of all outputs stay in registers
            # until they are stored. The order of the sums is the definition's either way: lanes are independent.
            over_dims = Loop(builder, dims, LANES, [])
            q = over_dims.index
            ys = [emit_load(builder, at(weights["w_out"], builder.add(row, q))) for row in rows_y]
            _prefetch_rows(context, builder, weights["w_out"], own["y_at"], soon, q, outputs)
            over_contexts = Loop(builder, m, 1, [emit_zero()] * outputs)
            c = over_contexts.index
            c_at = builder.add(x_from, c)
            row_x = _load_number(context, builder, *own["x_at"], c_at, 0)
            value = emit_load(builder, at(weights["w_in"], builder.add(row_x, q)))
            place = builder.add(builder.mul(c, dims), q)
            gradient = emit_zero()
            if not whole:
                gradient = builder.select(first, gradient, emit_load(builder, at(own["e"], place)))
            weights_at = builder.add(g_at, builder.mul(c, ir.Constant(I64, outputs)))
            sums = []
            for j in range(outputs):
                weight = emit_splat(builder, _load_number(context, builder, *own["g"], weights_at, j))
                sums.append(emit_fma(builder, weight, value, over_contexts.values[j]))
                gradient = emit_fma(builder, weight, ys[j], gradient)
            row = _load_number(context, builder, *own["tile_at"], c_at, 0)
            sum_at = at(own["tile"], builder.add(row, q))
            added = builder.fadd(emit_load(builder, sum_at), gradient)
            if not whole:
                added = builder.select(last, added, gradient)
                sum_at = builder.select(last, sum_at, at(own["e"], place))
            emit_store(builder, added, sum_at)
            sums = over_contexts.close(sums)
            for j in range(outputs):
                _place(context, builder, own, builder.add(k, ir.Constant(I64, j)), q)(0, sums[j])
            over_dims.close([])
            return []

        cases = {WHOLE + n: functools.partial(emit, n, True) for n in range(2, MOST_OUTPUTS + 1)}
        cases |= {GROUP + n: functools.partial(emit, n, False) for n in range(FEWEST_OF_MANY, MOST_OUTPUTS + 1)}
        switch(builder, builder.add(kind, width), cases)
        return context.get_dummy_value()

    i64 = types.intp
    return types.void(i64, i64, i64, i64, i64, i64, i64, i64, weights, own), generate


@intrinsic
def gradients_of_mean(typing_context, width, h_at, y_from, k, g_at, soon, weights, own):
    """CBOW: gradient rows of one target, for `width` of its outputs from the k-th on.

    Output j is the row y of weights.w_out that begins at own.y_at[y_from + j]; other names are in `own`.

    output j: g[g_at + j] * h[h_at:], stored by `_place` y_from + j
    e       : sum over j of g[g_at + j] * y row j, in order, from +0 for k = 0, else from e, where the
              group before has left it

    Rows that begin at y_at[soon + j] are prefetched on the way.

    Args:
      weights: `Weights`; own: `Scratch`; the others are integers.
    """

    def generate(context, builder, signature, args):
        width, h_at, y_from, k, g_at, soon, *_ = args
        weights, own = (_fields(builder, *pair) for pair in zip(signature.args[-2:], args[-2:]))
        begins = builder.icmp_signed("==", k, ir.Constant(I64, 0))

        def at(array: Array, q: Any, i: int) -> Any:
            return pointer(context, builder, *array, _at(builder, q, i))

        # The outer loop is over panels of lanes, the inner one over outputs: so the gradient stays in registers, and
        # where an output's rows are is looked up once a panel.
        def emit(q, n):
            before = [builder.select(begins, emit_zero(), emit_load(builder, at(own["e"], q, i))) for i in range(n)]
            loop = Loop(builder, width, 1, before, rolled=True)
            j, e = loop.index, list(loop.values)
            output = builder.add(y_from, j)
            row, next_row = (
                builder.add(_load_number(context, builder, *own["y_at"], first, j), q) for first in (y_from, soon)
            )
            factor = emit_splat(builder, _load_number(context, builder, *own["g"], g_at, j))
            place = _place(context, builder, own, output, q)
            for i in range(n):
                emit_prefetch(context, builder, *weights["w_out"], _at(builder, next_row, i))
                e[i] = emit_fma(builder, factor, emit_load(builder, at(weights["w_out"], row, i)), e[i])
                mean = emit_load(builder, at(own["h"], builder.add(h_at, q), i))
                place(i, emit_fma(builder, factor, mean, emit_zero()))
            for i, gradient in enumerate(loop.close(e)):
                emit_store(builder, gradient, at(own["e"], q, i))
            return []

        _over_panels(builder, weights["dims"][1], emit, SMALL_PANEL)
        return context.get_dummy_value()

    i64 = types.intp
    return types.void(i64, i64, i64, i64, i64, i64, weights, own), generate


@kernel(allocates=False)
def squares(array, at, dims):
    """Squared length of the row at array[at:], in the order of the definition's `dot`."""
    sums = lanes.zero()
    for q in range(0, dims, LANES):
        value = lanes.load(array, at + q)
        sums = lanes.fma(value, value, sums)
    return lanes.total(sums)
