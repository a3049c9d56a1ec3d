"""Counted work of latency histograms."""

from __future__ import annotations

import numpy as np

from bench.workloads import Thunk, region
from ifd_kernels.latency import BUCKETS, TALLIES, count_waits

__all__ = ["WAITS", "count_many"]

WAITS = 16_384


@region("latency.count_waits", events=WAITS)
def count_many() -> Thunk:
    """Count waits of 1 us to 1 ms."""
    waits = np.ones((WAITS, 2), np.int64)
    waits[:, 0] = np.random.default_rng(1).lognormal(10, 2, WAITS)
    counts, tallies = np.zeros(BUCKETS, np.int64), np.zeros(TALLIES, np.int64)
    return lambda: count_waits(waits, WAITS, counts, tallies)
