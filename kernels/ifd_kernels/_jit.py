"""The one decorator that compiles a kernel, with a cache that cannot serve stale code.

Numba's on-disk cache stamps a compiled function with the bytes of its own file only: after an
edit to a *called* kernel, or an upgrade of the package, it silently answers with the old code,
and bounds checking is not part of its key at all. Here the cache folder is named by a digest of
every kernel source, the versions of Numba and llvmlite, and the bounds-check setting, so each
state of the kernels has a folder of its own.

A kernel is compiled in one of two ways. What Python calls gets machine code, a wrapper and a
place in the cache, with all that it calls inside. What a kernel calls is a part: LLVM code that
its callers take in, and nothing else. Numba's own way, everything everywhere, optimizes a leaf
once more in each of its callers: a replay's kernels took 50 s of CPU to compile, and take 22 so.
"""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar, cast

import llvmlite
import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.extending import intrinsic

__all__ = [
    "address_of",
    "cache_folder",
    "call_at",
    "is_kept",
    "kernel",
    "kernels",
    "leaf",
    "load_i64",
    "load_u32",
    "load_u64",
    "loaded",
    "natural",
    "parts",
    "prefetch",
    "stay_apart",
]

P = ParamSpec("P")
R = TypeVar("R")

_CONFIG: Final = cast("Any", numba.config)  # has no static attributes
# No reference counts (`_nrt`): kernels allocate nothing, and each call that passed a book of eight
# arrays counted them up and down atomically: 527 ns an event with, 156 without.
_OPTIONS: Final = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": False,
    "boundscheck": None,
    "_nrt": False,
    "no_cfunc_wrapper": True,
}
_COMPILE: Final = cast("Any", numba.njit)  # its stub knows not all of its options
_CODE: Final = cast("Any", cgutils)
_TYPES: Final = cast("Any", types)
_CODE_TYPE: Final = cast("Any", numba.typeof)
_KEPT_CACHES: Final = 4
_registry: dict[str, Callable[..., object]] = {}
_parts: dict[str, Any] = {}


def sources_digest() -> str:
    """Return the digest of all kernel sources and of what compiles them, 16 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    bounds = os.environ.get("NUMBA_BOUNDSCHECK", "")
    digest.update(f"{numba.__version__}|{llvmlite.__version__}|{bounds}".encode())
    return digest.hexdigest()[:16]


def _cache_home() -> Path:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen) / "ifd-fast"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "ifd-fast"


def _open_cache() -> Path | None:
    folder = _cache_home() / sources_digest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        warnings.warn(
            f"Kernel cache folder {folder} can't be written ({error}); compiling at each start. "
            "Set NUMBA_CACHE_DIR to a writable folder.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    _drop_old_caches(folder)
    return folder


def _drop_old_caches(folder: Path) -> None:
    """Remove all but the newest few sibling caches; a day's grace for other checkouts."""
    siblings = sorted(folder.parent.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in siblings[_KEPT_CACHES:]:
        if old == folder or not old.is_dir() or time.time() - old.stat().st_mtime < 86_400:
            continue
        for path in sorted(old.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        old.rmdir()


_folder: Final = None if _CONFIG.DISABLE_JIT else _open_cache()


def cache_folder() -> Path | None:
    """Return the folder of the compiled kernels, or None if they are not cached."""
    return _folder


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` lazily, without the interpreter lock, cached by all kernel sources.

    The type is that of `function`, so that type checkers see every call of a kernel.
    """
    return _compile(function, {"forceinline": False})


def leaf(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` like a kernel and put its body into each caller.

    For what runs at every event: a call would pass each array as seven words on the stack.
    """
    return _compile(function, {"forceinline": True})


class _PartLibrary(JITCodeLibrary):
    """Code for callers to take in: not optimized by itself, never machine code, no address."""

    @property
    def codegen(self) -> Any:
        """The library itself, in place of a code generator: only `set_env` is asked of it."""
        return self

    def set_env(self, *_: object) -> None:
        """Do nothing: without an address there is no environment to put anywhere."""

    def get_pointer_to_function(self, _name: str) -> int:
        """Return null; no name of this library has code."""
        return 0

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True


_PARTS: Final = cast("Any", _PartLibrary)


class _PartCompiler(Compiler):
    """Numba's compiler, into a library of parts."""

    def compile_extra(self, func: Any) -> Any:
        """Compile `func` and return numba's result."""
        library: Any = _PARTS(self.state.targetctx.codegen(), func.__qualname__)
        library.enable_object_caching()
        self.state.library = library
        compiler: Any = super()
        return compiler.compile_extra(func)


def _widen(argument: Any) -> Any:
    """Return the type under which a part is compiled: literals and short integers are int64.

    Else each constant at a call, and each index read from an array, would compile it once more.
    """
    plain = _TYPES.unliteral(argument)
    return types.int64 if isinstance(plain, _TYPES.Integer) and plain.signed else plain


def _add_part(compiled: Any, function: Callable[P, R], options: dict[str, bool]) -> Any:
    """Have kernels that call `compiled` take in a part; what Python calls stays as it is."""
    part = _COMPILE(**_OPTIONS, **options, no_cpython_wrapper=True, pipeline_class=_PartCompiler)(
        function
    )

    def get_call_template(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        named = {name: _widen(one) for name, one in keywords.items()}
        return part.get_call_template(tuple(map(_widen, arguments)), named)

    compiled.get_call_template = get_call_template
    compiled.get_overload = part.get_overload
    return part


def _compile(function: Callable[P, R], options: dict[str, bool]) -> Callable[P, R]:
    name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
    compiled = _COMPILE(**_OPTIONS, **options)(function)
    if not _CONFIG.DISABLE_JIT:
        _parts[name] = _add_part(compiled, function, options)
    if _folder is not None:
        previous = _CONFIG.CACHE_DIR
        _CONFIG.CACHE_DIR = str(_folder)
        try:
            compiled.enable_caching()
        finally:
            _CONFIG.CACHE_DIR = previous
    _registry[name] = compiled
    return cast("Callable[P, R]", compiled)


def kernels() -> dict[str, Callable[..., object]]:
    """Return every kernel by `module.name`, in order of definition."""
    return dict(_registry)


def parts() -> dict[str, Any]:
    """Return the dispatchers of what kernels take in, by `module.name`; empty without compiler."""
    return dict(_parts)


def loaded() -> int:
    """Return how many compiled versions of kernels this process has loaded; 0 without compiler."""
    compiled: list[Any] = [*_registry.values()]
    return 0 if _CONFIG.DISABLE_JIT else sum(len(one.overloads) for one in compiled)


def is_kept(compiled: Callable[..., object]) -> bool:
    """Tell whether the cache folder holds some version of the kernel `compiled`."""
    one = cast("Any", compiled)
    name = f"{one.py_func.__module__.rpartition('.')[2]}.{one.py_func.__qualname__}-*.nbi"
    return _folder is not None and any(_folder.rglob(name))


def address_of(compiled: Callable[..., object], arguments: tuple[Any, ...]) -> int:
    """Return the address of the machine code of a kernel for such arguments, for `call_at`.

    It is taken from the cache or compiled. Without compiler: 1, which says that it was asked for.

    Raises
    ------
    TypeError
        If the kernel doesn't return an int64, which is what `call_at` expects.
    """
    if _CONFIG.DISABLE_JIT:
        return 1
    one = cast("Any", compiled)
    signature = tuple(map(_CODE_TYPE, arguments))
    one.compile(signature)
    found = one.overloads[signature]
    if found.signature.return_type != types.int64:
        raise TypeError(f"{one.__qualname__} returns {found.signature.return_type}, not an int64")
    return int(found.library.get_pointer_to_function(found.fndesc.llvm_func_name))


def _loader(bits: int, numba_type: Any) -> Any:
    """Build an intrinsic that reads one unaligned little-endian integer from a byte array."""

    @intrinsic
    def load(_typingctx: Any, buffer: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, args[0])
            index = context.cast(builder, args[1], signature.args[1], types.intp)
            pointer = builder.gep(array.data, [index])
            word = builder.bitcast(pointer, ir.IntType(bits).as_pointer())
            return builder.load(word, align=1)

        return numba_type(buffer, offset), codegen

    return load


# Records of DBN v1 and v2 start at addresses that are no multiple of 8; an aligned view would
# need a copy of the whole chunk first. x86 and arm64 read unaligned words at full speed.
if _CONFIG.DISABLE_JIT:

    def load_u64(buffer: Any, offset: int) -> int:
        """Return the little-endian u64 at byte `offset` of `buffer`."""
        return int.from_bytes(bytes(buffer[offset : offset + 8]), "little")

    def load_i64(buffer: Any, offset: int) -> int:
        """Return the little-endian i64 at byte `offset` of `buffer`."""
        return int.from_bytes(bytes(buffer[offset : offset + 8]), "little", signed=True)

    def load_u32(buffer: Any, offset: int) -> int:
        """Return the little-endian u32 at byte `offset` of `buffer`."""
        return int.from_bytes(bytes(buffer[offset : offset + 4]), "little")

    def prefetch(array: Any, index: Any) -> None:
        """Do nothing: there is no cache to warm without the compiler."""

    def natural(number: Any) -> Any:
        """Return `number`, an index that is not negative."""
        return number

    def call_at(_address: Any, compiled: Any, arguments: Any) -> Any:
        """Call `compiled` itself: without the compiler nothing has an address."""
        return compiled(*arguments)

    def stay_apart() -> None:
        """Do nothing: nothing is put into its callers without the compiler."""

else:
    load_u64 = _loader(64, types.uint64)
    load_i64 = _loader(64, types.int64)
    load_u32 = _loader(32, types.uint32)

    @intrinsic
    def prefetch(_typingctx: Any, array: Any, index: Any) -> Any:
        """Ask the CPU to bring `array[index]` (1-d, contiguous) into its first cache."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            view = context.make_array(signature.args[0])(context, builder, args[0])
            position = context.cast(builder, args[1], signature.args[1], types.intp)
            pointer = _CODE.get_item_pointer(
                context, builder, signature.args[0], view, [position], wraparound=False
            )
            byte_pointer = ir.IntType(8).as_pointer()
            word = ir.IntType(32)
            function_type = ir.FunctionType(ir.VoidType(), [byte_pointer, word, word, word])
            function = _CODE.get_or_insert_function(
                builder.module, function_type, "llvm.prefetch.p0i8"
            )
            hints = [word(0), word(3), word(1)]
            builder.call(function, [builder.bitcast(pointer, byte_pointer), *hints])
            return context.get_dummy_value()

        return types.void(array, index), codegen

    @intrinsic
    def call_at(_typingctx: Any, _address: Any, compiled: Any, arguments: Any) -> Any:
        """Call the kernel `compiled` at its `address`, for these very types; it returns int64.

        Its code is then no part of the caller: each is compiled by itself, at the same time in
        two processes, and once. A call passes all arrays on the stack: for what is rare.
        """

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            given = signature.args[2].types
            values = [builder.extract_value(args[2], number) for number in range(len(given))]
            shape = context.call_conv.get_function_type(types.int64, given)
            function = builder.inttoptr(args[0], shape.as_pointer())
            status, result = context.call_conv.call_function(
                builder, function, types.int64, given, values
            )
            with _CODE.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
            return result

        return types.int64(types.int64, compiled, arguments), codegen

    @intrinsic
    def stay_apart(_typingctx: Any) -> Any:
        """Keep the kernel that calls this out of its callers: its path is the rare one.

        LLVM puts whatever is called into the loop; the book's grew to 14,000 instructions, most
        of them for what happens once in thousands of events.
        """

        def codegen(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
            builder.function.attributes.add("noinline")
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def natural(_typingctx: Any, number: Any) -> Any:
        """Return `number` as an index that is promised not to be negative.

        Without the promise each use of an int64 index costs three instructions to let a negative
        one count from the end.
        """

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            index = context.cast(builder, args[0], signature.args[0], types.int64)
            function_type = ir.FunctionType(ir.VoidType(), [ir.IntType(1)])
            assume = _CODE.get_or_insert_function(builder.module, function_type, "llvm.assume")
            builder.call(assume, [builder.icmp_signed(">=", index, index.type(0))])
            return index

        return types.int64(number), codegen
