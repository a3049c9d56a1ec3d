"""Counted work of the digest: columns to canonical bytes."""

from __future__ import annotations

import numpy as np

from bench.workloads import Thunk, region
from ifd_kernels.digest import pack_fixed, pack_text

__all__ = ["pack_numbers", "pack_symbols"]

ROWS = 8_192


@region("digest.pack_fixed", events=ROWS)
def pack_numbers() -> Thunk:
    """Pack one column of 64-bit numbers, every sixteenth null."""
    values = np.arange(ROWS * 8, dtype=np.uint8).reshape(ROWS, 8)
    is_null = np.arange(ROWS) % 16 == 0
    cursor, out = np.arange(ROWS) * 9, np.zeros(ROWS * 9, np.uint8)
    return lambda: pack_fixed(values, is_null, cursor, out)


@region("digest.pack_text", events=ROWS)
def pack_symbols() -> Thunk:
    """Pack one column of symbols of eleven bytes."""
    text = np.tile(np.frombuffer(b"NQH6 C21000", np.uint8), ROWS)
    edges, is_null = np.arange(ROWS + 1) * 11, np.zeros(ROWS, np.bool_)
    cursor, out = np.arange(ROWS) * 16, np.zeros(ROWS * 16, np.uint8)
    return lambda: pack_text(text, edges, is_null, cursor, out)
