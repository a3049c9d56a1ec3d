"""The fastest of several rounds, for ratios within one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

__all__ = ["best_ns", "best_together_ns"]


def best_ns(thunk: Callable[[], object], events: int, rounds: int) -> float:
    """Return the fastest of `rounds` calls of `thunk`, after one more, in ns an event."""
    thunk()
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter_ns()
        thunk()
        best = min(best, time.perf_counter_ns() - began)
    return best / events


def best_together_ns(
    contenders: Mapping[str, tuple[Callable[[], object], int, int]], turns: int
) -> dict[str, float]:
    """Return each contender's fastest call in ns an event, all of them timed in turn.

    A contender is (thunk, events, calls a turn). A machine that is slow for a while is so for
    all; what a neighbour takes from one turn is in none of the fastest.
    """
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(turns):
        for name, (thunk, events, calls) in contenders.items():
            best[name] = min(best[name], best_ns(thunk, events, calls))
    return best
