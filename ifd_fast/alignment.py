"""Arrays that begin where the CPU's caches like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["place_zeros"]

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
