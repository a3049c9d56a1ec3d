"""Instructions on words that neither Python nor Numba has a name for."""

from __future__ import annotations

from typing import Any, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

__all__ = ["fold_product", "last_equal", "last_greater", "opaque", "put_word", "word_at"]

if cast("Any", numba.config).DISABLE_JIT:

    def word_at(array: Any, index: Any) -> int:
        """Return the u32 word at `index` of the memory of `array`."""
        return int(array.view(np.uint32)[index])

    def put_word(array: Any, index: Any, word: Any) -> None:
        """Write the u32 word at `index` of the memory of `array`."""
        array.view(np.uint32)[index] = word

    def opaque(number: Any) -> Any:
        """Return `number`."""
        return number

    def fold_product(one: Any, other: Any) -> int:
        """Return the halves of the 128-bit product of two u64, laid over each other by xor."""
        product = int(one) * int(other)
        return (product >> 64) ^ (product & (2**64 - 1))

    def last_greater(array: Any, start: Any, bound: Any) -> int:
        """Return how many of the eight words from `start` on are > `bound`, from the last back."""
        count = 0
        while count < 8 and array[start + 7 - count] > bound:
            count += 1
        return count

    def last_equal(array: Any, start: Any, wanted: Any) -> int:
        """Return how far from the last of the eight words from `start` on `wanted` is; else 8."""
        back = 0
        while back < 8 and array[start + 7 - back] != wanted:
            back += 1
        return back

else:

    def _word_pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        position = context.cast(builder, args[1], signature.args[1], types.intp)
        return builder.gep(builder.bitcast(view.data, ir.IntType(32).as_pointer()), [position])

    @intrinsic
    def word_at(_typingctx: Any, array: Any, index: Any) -> Any:
        """Return the u32 word at `index` of the memory of `array`, whatever its type."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = builder.load(_word_pointer(context, builder, signature, args), align=4)
            return builder.zext(word, ir.IntType(64))

        return types.int64(array, index), codegen

    @intrinsic
    def put_word(_typingctx: Any, array: Any, index: Any, word: Any) -> Any:
        """Write the u32 word at `index` of the memory of `array`, whatever its type."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = context.cast(builder, args[2], signature.args[2], types.uint32)
            builder.store(value, _word_pointer(context, builder, signature, args), align=4)
            return context.get_dummy_value()

        return types.void(array, index, word), codegen

    @intrinsic
    def fold_product(_typingctx: Any, one: Any, other: Any) -> Any:
        """Return the halves of the 128-bit product of two u64, laid over each other by xor.

        A hash of three instructions: every bit of one factor reaches the low bits.
        """

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word, wide = ir.IntType(64), ir.IntType(128)
            factors = [
                builder.zext(context.cast(builder, arg, given, types.uint64), wide)
                for arg, given in zip(args, signature.args, strict=True)
            ]
            product = builder.mul(*factors)
            high = builder.trunc(builder.lshr(product, wide(64)), word)
            return builder.xor(high, builder.trunc(product, word))

        return types.uint64(one, other), codegen

    def _compare_eight(builder: Any, context: Any, signature: Any, args: Any, sign: str) -> Any:
        """Compare `array[start:start + 8]` with a word at once; the last one's is the high bit."""
        view = context.make_array(signature.args[0])(context, builder, args[0])
        position = context.cast(builder, args[1], signature.args[1], types.intp)
        limit = context.cast(builder, args[2], signature.args[2], types.int64)
        lanes = ir.VectorType(ir.IntType(64), 8)
        pointer = builder.bitcast(builder.gep(view.data, [position]), lanes.as_pointer())
        words = builder.load(pointer, align=8)
        limits = ir.Constant(lanes, ir.Undefined)
        for lane in range(8):
            limits = builder.insert_element(limits, limit, ir.IntType(32)(lane))
        return builder.bitcast(builder.icmp_signed(sign, words, limits), ir.IntType(8))

    def _leading_zeros(builder: Any, byte: Any) -> Any:
        """Return how many of a byte's bits, from the high one down, are 0: at most eight."""
        wide = builder.zext(byte, ir.IntType(64))
        marked = builder.or_(builder.shl(wide, wide.type(1)), wide.type(1))
        leading = builder.ctlz(marked, ir.IntType(1)(1))
        return builder.sub(leading, leading.type(55))

    @intrinsic
    def last_greater(_typingctx: Any, array: Any, start: Any, bound: Any) -> Any:
        """Return how many of the eight words from `start` on are > `bound`, from the last back.

        One comparison of vectors; LLVM makes a loop over the eight 45 instructions, none of them
        of vectors, where this is ten.
        """

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            greater = _compare_eight(builder, context, signature, args, ">")
            return _leading_zeros(builder, builder.not_(greater))

        return types.int64(array, start, bound), codegen

    @intrinsic
    def last_equal(_typingctx: Any, array: Any, start: Any, wanted: Any) -> Any:
        """Return how far from the last of the eight words from `start` on `wanted` is; else 8."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _leading_zeros(builder, _compare_eight(builder, context, signature, args, "=="))

        return types.int64(array, start, wanted), codegen

    @intrinsic
    def opaque(_typingctx: Any, number: Any) -> Any:
        """Return `number`, an int64 of which the compiler learns nothing.

        LLVM makes a choice between two numbers a branch where one of them has to be read first,
        and the branch is guessed wrong as often as not: masks made of an opaque word stay masks.
        """

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = ir.IntType(64)
            value = context.cast(builder, args[0], signature.args[0], types.int64)
            same = ir.FunctionType(word, [word])
            return builder.asm(same, "", "=r,0", [value], side_effect=False)

        return types.int64(number), codegen
