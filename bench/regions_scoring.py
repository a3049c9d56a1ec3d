"""Counted work of the scorer: instants as they come, and all slots at once."""

from __future__ import annotations

from bench.scoring_feed import (
    quiet_market,
    rows_between,
    run_companions,
    run_full,
    run_instants,
)
from bench.workloads import Thunk, region
from ifd_kernels.layout import SECOND_NS
from ifd_kernels.score_state import ANY_WINDOW, NOW, SEALS

__all__ = ["in_step_share", "score_instant", "score_instant_full", "score_instant_sealed"]

INSTANTS = 60
SLOTS = 4096
LONGEST = 3  # window


@region(
    "scoring.score_instant",
    events=INSTANTS,
    covers=(
        "votes",
        "evidence",
        "verdict",
        "mids",
        "weighing",
        "ranks",
        "neighbours",
        "companions",
    ),
)
def score_instant() -> Thunk:
    """Score a minute of instants of 600 slots, 30 buckets a second, half an hour into a day."""
    market = quiet_market(600, 2000, 30)
    begin = rows_between(market.flow, 0, 1900)
    state = (market.score, market.identities, market.touch, market.flow)
    run_instants(*state, 0, 1900)
    return lambda: run_instants(*state, begin, INSTANTS)


@region("scoring.score_instant_sealed", events=INSTANTS)
def score_instant_sealed() -> Thunk:
    """Pass the same minute while the session is sealed: nothing is weighed."""
    market = quiet_market(600, 2000, 30)
    market.score.cursor[SEALS] = 1
    begin = rows_between(market.flow, 0, 1900)
    state = (market.score, market.identities, market.touch, market.flow)
    run_instants(*state, 0, 1900)
    return lambda: run_instants(*state, begin, INSTANTS)


@region("scoring.score_instant_full", events=SLOTS)
def score_instant_full() -> Thunk:
    """Score all of 4,096 slots at one instant."""
    market = quiet_market(SLOTS, 2000, 30)
    state = (market.score, market.identities, market.touch)
    run_instants(*state, market.flow, 0, 1900)
    now_ns = int(market.score.cursor[NOW])
    return lambda: run_full(*state, now_ns + SECOND_NS // 10, 1)


@region("companions.in_step_share", events=100)
def in_step_share() -> Thunk:
    """Ask both sides of fifty of 600 slots for their companions, over a busy half hour."""
    market = quiet_market(600, 2000, 30)
    run_instants(market.score, market.identities, market.touch, market.flow, 0, 1900)
    market.score.best[:, :, ANY_WINDOW] = LONGEST
    return lambda: run_companions(market.score, market.identities, 50)
