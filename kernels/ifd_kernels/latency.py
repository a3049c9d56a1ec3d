"""Waiting times counted in log-linear buckets: any time, one share of error, few bytes.

Below 64 ns a bucket is one ns wide; from there on each power of two has 32 buckets, so that a
bucket's upper edge is at most 1/32 over any time in it. The form is that of HdrHistogram.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel, leaf
from ifd_kernels.layout import Integer

__all__ = ["BUCKETS", "LONGEST", "LONGEST_NS", "NEGATIVE", "SUB_BITS", "TALLIES", "count_waits"]

SUB_BITS: Final = 5
LONGEST_BITS: Final = 43
LONGEST_NS: Final = 2**LONGEST_BITS - 1  # 2.4 hours; what is longer counts as that
BUCKETS: Final = (LONGEST_BITS - SUB_BITS + 1) << SUB_BITS
LONGEST: Final = 0  # places in the tallies: the longest wait, ns, as it was
NEGATIVE: Final = 1  # weights of waits below 0: two clocks that don't agree; counted as 0
TALLIES: Final = 2


@leaf
def find_bucket(wait_ns: Integer) -> Integer:
    """Return the bucket of a time of 0 to LONGEST_NS. O(bits)."""
    shift = np.int64(0)
    rest = np.int64(wait_ns) >> (SUB_BITS + 1)
    while rest > 0:
        shift += 1
        rest >>= 1
    return (shift << SUB_BITS) + (np.int64(wait_ns) >> shift)


@kernel
def count_waits(
    waits: NDArray[np.int64], count: int, counts: NDArray[np.int64], tallies: NDArray[np.int64]
) -> Integer:
    """Count `waits` (n, 2), rows of (ns, weight) up to `count`, into (BUCKETS,) and (TALLIES,).

    Returns the sum of weights. O(count).
    """
    weights = np.int64(0)
    for row in range(count):
        wait_ns, weight = waits[row, 0], waits[row, 1]
        if wait_ns < 0:
            tallies[NEGATIVE] += weight
            wait_ns = np.int64(0)
        tallies[LONGEST] = max(tallies[LONGEST], wait_ns)
        counts[find_bucket(min(wait_ns, np.int64(LONGEST_NS)))] += weight
        weights += weight
    return weights
