"""Waiting times, kept one by one; what a bucket may say of them."""

from __future__ import annotations

import math

__all__ = ["COVERS", "count_waits", "percentile"]

COVERS = ("find_bucket",)

LONGEST_NS = 2**43 - 1


def count_waits(waits: list[tuple[int, int]]) -> tuple[list[int], int, int]:
    """Return every wait as often as it weighs, sorted; the longest; how many were negative."""
    clipped = [(min(max(ns, 0), LONGEST_NS), weight) for ns, weight in waits]
    kept = sorted(ns for ns, weight in clipped for _ in range(weight))
    longest = max((max(ns, 0) for ns, _ in waits), default=0)
    return kept, longest, sum(weight for ns, weight in waits if ns < 0)


def percentile(kept: list[int], share: float) -> int:
    """Return the least wait that at least `share` of all are not over."""
    return kept[max(math.ceil(share * len(kept)) - 1, 0)]
