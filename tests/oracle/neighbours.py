"""Coordination in plain Python: neighbours' leans against all ways to choose as many slots."""

from __future__ import annotations

import math
from typing import Any

UNIT = 1024


def lean_of(votes: list[int], kind: int) -> int | None:
    """Return net over known votes in 1/UNIT, a put's with the other sign; None without votes."""
    bid, ask = votes
    if bid + ask == 0:
        return None
    size = abs(ask - bid) * UNIT // (bid + ask + 2)
    return size * (1 if ask > bid else -1) * (1 if kind == 1 else -1)


def coordination(leans: dict[int, int], near: list[int], slot: int, towards: int) -> float:
    """Return how far the near slots' leans lie from the mean of all, in standard deviations.

    `leans` of the active slots, the slot itself left out; `towards`: 1 for delta bought.
    """
    chain = [lean for other, lean in leans.items() if other != slot]
    found = [leans[other] for other in near if other in leans and other != slot]
    if not found or len(chain) < 8 or len(found) >= len(chain):
        return 0.0
    count, size = len(found), len(chain)
    mean = sum(chain) / size
    variance = sum(lean * lean for lean in chain) / size - mean * mean
    variance = min(max(variance, 0.05 * UNIT**2), UNIT**2)
    spread = math.sqrt(count * variance * (size - count) / (size - 1))
    return max(-6.0, min(6.0, towards * (sum(found) - count * mean) / spread))


def sides_as_strong(ranks: list[Any], rank: float) -> int:
    """Return how many of all sides' ranks are at least as large."""
    return sum(side >= rank for slot in ranks for side in slot)
