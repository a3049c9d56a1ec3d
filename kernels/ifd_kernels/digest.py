"""Rows to canonical bytes, the input of a digest.

Legend: n rows, w bytes a value. Each value is one byte, 1 for null and 0 else, then, unless null,
its bytes: numbers little endian at their own width, texts as a u32 length and their UTF-8.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel

__all__ = ["pack_fixed", "pack_text"]


@kernel
def pack_fixed(
    values: NDArray[np.uint8],
    is_null: NDArray[np.bool_],
    cursor: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Write row i's value `values[i]` (n, w) at `cursor[i]` of `out` and move the cursor on."""
    for i in range(values.shape[0]):
        at = cursor[i]
        out[at] = 1 if is_null[i] else 0
        at += 1
        if not is_null[i]:
            for j in range(values.shape[1]):
                out[at + j] = values[i, j]
            at += values.shape[1]
        cursor[i] = at


@kernel
def pack_text(
    text: NDArray[np.uint8],
    edges: NDArray[np.int64],
    is_null: NDArray[np.bool_],
    cursor: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Write row i's text `text[edges[i]:edges[i + 1]]` at `cursor[i]` of `out`; move it on."""
    for i in range(is_null.shape[0]):
        at = cursor[i]
        out[at] = 1 if is_null[i] else 0
        at += 1
        if not is_null[i]:
            size = edges[i + 1] - edges[i]
            for j in range(4):
                out[at + j] = (size >> (8 * j)) & 255
            at += 4
            for j in range(size):
                out[at + j] = text[edges[i] + j]
            at += size
        cursor[i] = at
