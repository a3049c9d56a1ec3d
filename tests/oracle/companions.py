"""Companions in plain Python: options of one expiry and the other type, on the same side."""

from __future__ import annotations

from typing import Any

from tests.oracle.votes import SIDES, capped, grew, is_paired, votes, younger

MOST_VOTES = 64
DECADES_OF_CHOICE = 1.5


def in_step_share(
    flows: list[dict[str, Any]], slot: int, side: int, now_ns: int, window_s: int,
    companions: list[int], twins: Any,
) -> float:  # fmt: skip
    """Return the largest share of the side's votes in step with one companion, beyond chance.

    Of the newest 64 votes. A vote (cap 1, not paired) is in step with a companion that has
    contracts on the side in the same second, whenever they were handed over.
    """
    name = SIDES[side]
    own = [
        flow
        for flow in younger(flows, slot, now_ns, 0, window_s)
        if capped(flow, name, 1) and not is_paired(flows, flow, name, twins)
    ][-MOST_VOTES:]
    shares = [0.0]
    for companion in companions:
        theirs = [flow for flow in flows if flow["slot"] == companion and grew(flow, name)]
        steps = sum(any(flow["second"] == other["second"] for other in theirs) for flow in own)
        if steps:
            usual = votes(flows, companion, now_ns, (0, window_s), 1, twins)[side] / window_s
            shares.append((steps - len(own) * usual) / (len(own) + 2))
    return min(max(shares), 1.0)


def companion_decades(ranks: list[float], twin: float) -> float:
    """Return the twin's rank, or the second of all companions' less 1.5, whichever is more."""
    second = sorted([0.0, 0.0, *ranks])[-2]
    return max(twin, second - DECADES_OF_CHOICE, 0.0)
