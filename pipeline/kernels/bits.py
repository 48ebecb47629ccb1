"""Operations on 64 or 8 bytes at a time, and bit operations that Numba lacks.

Bit j of a mask (uint64) stands for byte `i + j` of an array. LLVM turns each mask into a few vector instructions on
any processor. Nothing is checked here: callers make sure that all bytes read or written are inside the array.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
_BLOCK = ir.VectorType(_BYTE, 64)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, to: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), to.as_pointer())


def _block(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    block = builder.load(_pointer(context, builder, array_type, array, index, _BLOCK))
    block.align = 1
    return block


def _splat(value: int) -> ir.Constant:
    return ir.Constant(_BLOCK, [value] * 64)


@intrinsic
def load_word(typing_context, array, index):
    """The 8 bytes array[index : index + 8] as one uint64, the first byte lowest."""

    def generate(context, builder, signature, args):
        word = builder.load(_pointer(context, builder, signature.args[0], args[0], args[1], _WORD))
        word.align = 1
        return word

    return types.uint64(array, types.intp), generate


@intrinsic
def store_word(typing_context, array, index, word):
    """Write a uint64 to the 8 bytes array[index : index + 8], the lowest byte first."""

    def generate(context, builder, signature, args):
        builder.store(args[2], _pointer(context, builder, signature.args[0], args[0], args[1], _WORD)).align = 1
        return context.get_dummy_value()

    return types.void(array, types.intp, types.uint64), generate


@intrinsic(prefer_literal=True)
def mask_range(typing_context, array, index, first, count):
    """Mask of those among 64 bytes, from `index` on, whose value is in first..first + count - 1 (both literals)."""
    low, number = first.literal_value, count.literal_value

    def generate(context, builder, signature, args):
        block = builder.sub(_block(context, builder, signature.args[0], args[0], args[1]), _splat(low))
        # Unsigned: a byte below `low` wraps around to a large number, so one comparison tests both ends.
        inside = builder.icmp_unsigned("<=", block, _splat(number - 1))
        return builder.bitcast(inside, _WORD)

    return types.uint64(array, types.intp, first, count), generate


@intrinsic
def trailing_zeros(typing_context, value):
    """Index of the lowest bit set; 64 where there is none."""

    def generate(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.intp(types.uint64), generate


@intrinsic
def count_ones(typing_context, value):
    """Number of bits set."""

    def generate(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.intp(types.uint64), generate


@intrinsic
def fold_product(typing_context, left, right):
    """High half xor low half of the 128-bit product: one multiplication that mixes all bits (as in wyhash)."""

    def generate(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), _WORD)
        return builder.xor(high, builder.trunc(product, _WORD))

    return types.uint64(types.uint64, types.uint64), generate


def emit_prefetch(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> None:
    """LLVM code that prefetches the cache line of array[index]."""
    place = _pointer(context, builder, array_type, array, index, _BYTE)
    number = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [place, number(0), number(3), number(1)])  # for reading, into all caches, data


@intrinsic
def prefetch(typing_context, array, index):
    """Prefetch the cache line of array[index]; a hint to the CPU, without effect on results."""

    def generate(context, builder, signature, args):
        emit_prefetch(context, builder, signature.args[0], *args)
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
