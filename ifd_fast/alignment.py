"""Memory: arrays that begin where the CPU's caches like it, and what is free given back."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["give_back_free", "place_zeros"]

PAGE_BYTES: Final = 4096
LINE_BYTES: Final = 64


def place_zeros(count: int, dtype: DTypeLike, line: int = 0) -> NDArray[Any]:
    """Return `count` zeroed entries that begin `line` cache lines after the start of a page.

    NumPy's own arrays begin 16 bytes after one: entries of 64 bytes would lie on two lines each,
    and columns that are read side by side would compete for the same few lines of a cache.
    """
    taken = count * np.dtype(dtype).itemsize
    memory = np.zeros(taken + PAGE_BYTES, np.uint8)
    start = (line * LINE_BYTES - memory.ctypes.data) % PAGE_BYTES
    return memory[start : start + taken].view(dtype)


def give_back_free() -> None:
    """Have the C library give free pages back to the system, where it can (glibc).

    Once it has freed an array of some size, it keeps all smaller ones on a heap that shrinks only
    at its end: what a thousand instruments more copied and freed there would stay for good.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
