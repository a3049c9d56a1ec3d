"""How long things took, by name: percentiles over a session, and over the last seconds."""

from __future__ import annotations

from typing import Final

import numpy as np

from ifd_kernels.latency import BUCKETS, LONGEST, NEGATIVE, SUB_BITS, TALLIES, count_waits

__all__ = ["Latency"]

_HELD: Final = 1024  # waits between two calls of the kernel
_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
_NS_PER_US: Final = 1_000


def _upper_edges() -> list[int]:
    """Return the longest time of each bucket, ns."""
    edges = []
    for bucket in range(BUCKETS):
        shift = max((bucket >> SUB_BITS) - 1, 0)
        edges.append(((bucket - (shift << SUB_BITS) + 1) << shift) - 1)
    return edges


_UPPER_NS: Final = np.array(_upper_edges())


class Latency:
    """One histogram; adding to it costs a third of a microsecond.

    Percentiles are upper edges of buckets: never less than what they are of, at most 1/32 more.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._waits = np.zeros((_HELD, 2), np.int64)
        self._rows = self._waits.data
        self._held = 0
        self._counts = np.zeros(BUCKETS, np.int64)
        self._before = np.zeros(BUCKETS, np.int64)  # what `recent` has told of
        self._tallies = np.zeros(TALLIES, np.int64)

    def add(self, wait_ns: int, weight: int = 1) -> None:
        """Count that `weight` things waited `wait_ns`."""
        held = self._held
        self._rows[held, 0] = wait_ns
        self._rows[held, 1] = weight
        self._held = held + 1
        if self._held == _HELD:
            self._count()

    def recent_us(self, share: float) -> float | None:
        """Return a percentile of what was added since this was last asked, us; None of nothing."""
        self._count()
        new = self._counts - self._before
        self._before[:] = self._counts
        return _percentile_us(new, share)

    def describe(self) -> dict[str, float]:
        """Return count, percentiles and the longest, us, and how many were negative."""
        self._count()
        found: dict[str, float] = {"count": int(self._counts.sum())}
        for name, share in _SHARES.items():
            wait_us = _percentile_us(self._counts, share)
            if wait_us is not None:
                found[f"{name}_us"] = wait_us
        found["max_us"] = int(self._tallies[LONGEST]) / _NS_PER_US
        found["negative"] = int(self._tallies[NEGATIVE])
        return found

    def _count(self) -> None:
        count_waits(self._waits, self._held, self._counts, self._tallies)
        self._held = 0


def _percentile_us(counts: np.ndarray, share: float) -> float | None:
    total = int(counts.sum())
    if not total:
        return None
    bucket = int(np.searchsorted(np.cumsum(counts), np.ceil(share * total)))
    return float(_UPPER_NS[bucket]) / _NS_PER_US
