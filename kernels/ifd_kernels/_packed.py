"""Tuples of arrays, packed once into the words that a kernel's call passes, and given by address.

Taking a tuple of arrays from Python costs a kernel some 0.1 us an array at each call: an engine
has over a hundred of them, and a live read of ten records took 13 us before its first byte was
looked at. A `Packed` is one argument however much it holds.

The words hold the addresses of the arrays: whoever packs keeps the arrays, and packs anew when one
of them is another. Kernels count no references (`_jit`), so none is counted for a packed array.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

from ifd_kernels._jit import kernel

__all__ = ["Packed", "unpack"]

T = TypeVar("T")

_CONFIG: Final = cast("Any", numba.config)  # has no static attributes
_TYPES: Final = cast("Any", types)
_MODELS: Final = cast("Any", models)
_CODE_TYPE: Final = cast("Any", numba.typeof)
_EXTENDING: Final = cast("Any", extending)


class _PackedType(_TYPES.Type):  # type: ignore[misc, name-defined]  # numba has no types
    """The type of a `Packed`: that of what it holds."""

    def __init__(self, held: Any) -> None:
        self.held = held
        super().__init__(name=f"Packed({held})")


@register_model(_PackedType)
class _PackedModel(_MODELS.PrimitiveModel):  # type: ignore[misc, name-defined]  # nor here
    """In a kernel it is the address of the first word."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.IntType(64))


class Packed(Generic[T]):
    """What a kernel takes as one argument and opens with `unpack`.

    Parameters
    ----------
    held
        A tuple, or tuple of tuples, of arrays and numbers.
    """

    __slots__ = ("_numba_type_", "address", "held", "words")

    def __init__(self, held: T) -> None:
        """Pack `held` and keep it; without the compiler it is just kept."""
        self.held = held
        self.words = np.zeros(0, np.int64)
        self.address = 0
        if _CONFIG.DISABLE_JIT:
            return
        self.words = np.zeros(int(pack_words(held, self.words)), np.int64)
        pack_words(held, self.words)
        self.address = int(self.words.ctypes.data)
        self._numba_type_ = _PackedType(_CODE_TYPE(held))


@_EXTENDING.unbox(_PackedType)  # type: ignore[untyped-decorator]  # nor has this
def _unbox_packed(_kind: Any, packed: Any, context: Any) -> Any:
    """Take the address out of a `Packed`; it always has one."""
    number = context.pyapi.object_getattr_string(packed, "address")
    address = context.pyapi.long_as_longlong(number)
    context.pyapi.decref(number)
    return _EXTENDING.NativeValue(address)


if _CONFIG.DISABLE_JIT:

    def _store(_held: Any, _words: Any) -> int:
        """Do nothing: without the compiler a `Packed` is the tuple itself."""
        return 0

    def unpack(packed: Packed[T]) -> T:
        """Return what was packed."""
        return packed.held

else:

    @intrinsic
    def _store(_typingctx: Any, held: Any, words: Any) -> Any:
        """Put what a call would pass of `held` into `words` if there is room; return how many."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            passed = context.get_arg_packer([signature.args[0]])
            values = passed.as_arguments(builder, [args[0]])
            array = context.make_array(signature.args[1])(context, builder, args[1])
            count = ir.Constant(ir.IntType(64), len(values))
            with builder.if_then(builder.icmp_signed(">=", array.nitems, count)):
                for number, value in enumerate(values):
                    place = _word(builder, array.data, number, value.type)
                    builder.store(value, place)
            return count

        return types.int64(held, words), codegen

    @intrinsic
    def _load(_typingctx: Any, packed: Any) -> Any:
        """Return what was packed, from its words."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            passed = context.get_arg_packer([signature.return_type])
            first = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
            values = [
                builder.load(_word(builder, first, number, kind))
                for number, kind in enumerate(passed.argument_types)
            ]
            return passed.from_arguments(builder, tuple(values))[0]

        return packed.held(packed), codegen

    unpack = cast("Any", _load)

    def _word(builder: Any, first: Any, number: int, kind: Any) -> Any:
        """Return the place of word `number` as that of a value of LLVM type `kind`."""
        place = builder.gep(first, [ir.Constant(ir.IntType(64), number)])
        return builder.bitcast(place, kind.as_pointer())


@kernel
def pack_words(held: Any, words: Any) -> int:
    """Pack `held` into `words` (n,) int64 if they are enough; return how many it takes."""
    return _store(held, words)
