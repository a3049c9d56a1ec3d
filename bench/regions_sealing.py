"""Counted work of sealing: what an instant costs of which nothing is scored."""

from __future__ import annotations

from bench.scoring_feed import quiet_market, rows_between, run_seals
from bench.workloads import Thunk, region

__all__ = ["seal_instant"]

INSTANTS = 60


@region("sealing.seal_instant", events=INSTANTS)
def seal_instant() -> Thunk:
    """Seal a minute of instants of 600 slots, 30 buckets a second, half an hour into a day."""
    market = quiet_market(600, 2000, 30)
    begin = rows_between(market.flow, 0, 1900)
    state = (market.score, market.identities, market.touch, market.flow)
    run_seals(*state, 0, 1900)
    return lambda: run_seals(*state, begin, INSTANTS)
