"""Memory: where arrays begin, how they grow, and what is free given back."""

from __future__ import annotations

import ctypes
import math
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = [
    "give_back_compiler",
    "give_back_free",
    "grow_rows",
    "keep_heap_whole",
    "owner_of",
    "place_zeros",
]

PAGE_BYTES: Final = 4096
LINE_BYTES: Final = 64
HUGE_BYTES: Final = 1 << 21
ROOM: Final = 32  # times the rows of its first growth: as far as an array grows where it stands
SMALL_BYTES: Final = 1 << 15  # what a few pages hold is copied
HEAP_BYTES: Final = 1 << 18  # bigger arrays have pages of their own
M_MMAP_THRESHOLD: Final = -3  # of glibc's malloc.h
MADV_DONTNEED: Final = 4  # of Linux
HAS_MMAP: Final = hasattr(mmap, "MAP_ANONYMOUS")


class _Room(mmap.mmap):
    """Address space; its pages are taken as they are first written to."""

    rows = 0  # used so far, by the newest array that stands here


def place_zeros(count: int, dtype: DTypeLike, line: int = 0) -> NDArray[Any]:
    """Return `count` zeroed entries that begin `line` cache lines after the start of a page.

    NumPy's own arrays begin 16 bytes after one: entries of 64 bytes would lie on two lines each,
    and columns that are read side by side would compete for the same few lines of a cache.
    """
    taken = count * np.dtype(dtype).itemsize
    memory = np.zeros(taken + PAGE_BYTES, np.uint8)
    start = (line * LINE_BYTES - memory.ctypes.data) % PAGE_BYTES
    return memory[start : start + taken].view(dtype)


def grow_rows(old: NDArray[Any], rows: int, fill: object = 0) -> NDArray[Any]:
    """Return `old` (n, ...) with `rows` >= n rows, of which the new ones are `fill`; 0 costs none.

    The first growth moves it to where there is room, so that a later one copies nothing: old and
    new array are never there at once, and leave no holes in the heap. Take `old` for gone.
    """
    owner, count = owner_of(old), len(old)
    row_bytes = old.itemsize * math.prod(old.shape[1:])
    room = owner if isinstance(owner, _Room) else None
    fits = room is not None and room.rows == count and rows * row_bytes <= len(room)
    if not fits:
        room = _reserve(rows * row_bytes)
    if room is None:
        whole = np.zeros((rows, *old.shape[1:]), old.dtype)
    else:
        room.rows = rows
        _advise(room, rows * row_bytes)
        memory = np.frombuffer(room, np.uint8, rows * row_bytes)
        whole = memory.view(old.dtype).reshape(rows, *old.shape[1:])
    if not fits:
        whole[:count] = old
    if isinstance(fill, np.void) or fill != 0:
        whole[count:] = fill
    return whole


def owner_of(array: NDArray[Any]) -> object:
    """Return the object whose memory the array is a view of, however many views lie between."""
    base: object = array
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base


def _reserve(taken_bytes: int) -> _Room | None:
    if taken_bytes < SMALL_BYTES or not HAS_MMAP:
        return None
    return _Room(-1, ROOM * taken_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _advise(room: _Room, taken_bytes: int) -> None:
    """Have what is taken lie in huge pages where it fills them, as NumPy's arrays do."""
    whole = taken_bytes // HUGE_BYTES * HUGE_BYTES
    if whole and hasattr(mmap, "MADV_HUGEPAGE"):
        room.madvise(mmap.MADV_HUGEPAGE, 0, whole)


def keep_heap_whole() -> None:
    """Have the C library give big arrays pages of their own, and back when they end (glibc).

    By itself it raises the bound to the biggest array it has freed, up to 32 MB, and keeps all
    smaller ones on a heap that shrinks only at its end. It holds for the process.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(M_MMAP_THRESHOLD, HEAP_BYTES)


def give_back_free() -> None:
    """Have the C library give free pages of its heap back to the system, where it can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def give_back_compiler() -> None:
    """Let go of the pages of the compiler's library (70 MB) that are as in its file (Linux).

    Loading compiled kernels touches most of it, running them nothing. Whatever is needed again
    comes back by itself, from the file.
    """
    try:
        lines = Path("/proc/self/smaps").read_text().splitlines()
    except OSError:
        return
    place = None
    for line in lines:
        name, *words = line.split()
        if not name.endswith(":"):
            first, end = (int(address, 16) for address in name.split("-"))
            is_code = words[-1].rpartition("/")[2].startswith("libllvmlite") and "w" not in words[0]
            place = (first, end - first) if is_code else None
        elif place is not None and name == "Anonymous:" and words[0] == "0":  # none was written to
            start, length = (ctypes.c_size_t(number) for number in place)
            ctypes.CDLL(None).madvise(start, length, MADV_DONTNEED)
