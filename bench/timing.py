"""The fastest of several rounds, for ratios within one run."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["best_ns"]


def best_ns(thunk: Callable[[], object], events: int, rounds: int) -> float:
    """Return the fastest of `rounds` calls of `thunk`, after one more, in ns an event."""
    thunk()
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter_ns()
        thunk()
        best = min(best, time.perf_counter_ns() - began)
    return best / events
