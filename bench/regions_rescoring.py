"""Counted work of scoring a session again: a quarter of an hour of hand-overs."""

from __future__ import annotations

from bench.scoring_feed import OPEN_NS, hand_overs
from bench.workloads import Thunk, region
from ifd_fast import scores
from ifd_fast.handovers import allocate_tally, rescore
from ifd_kernels.layout import SECOND_NS
from ifd_kernels.rescoring import FOR_EPISODES, FOR_EVIDENCE

__all__ = ["log_evidence", "rescore_session"]

SLOTS, SECONDS, PER_SECOND = 600, 900, 5.0
ROWS = 4_400


@region("rescoring.rescore_session", events=ROWS)
def rescore_session() -> Thunk:
    """Count the episodes of a quarter of an hour, 600 slots."""
    market, rows = hand_overs(SLOTS, SECONDS, PER_SECOND)

    def run() -> object:
        score = scores.begin_session(market.score, OPEN_NS, market.score.season)
        stop_ns = OPEN_NS + SECONDS * SECOND_NS
        return rescore(
            score,
            market.identities,
            rows[:ROWS],
            first_ns=OPEN_NS,
            stop_ns=stop_ns,
            purpose=FOR_EPISODES,
            tally=allocate_tally(SLOTS),
        )

    return run


@region("thresholds.log_evidence", events=ROWS)
def log_evidence() -> Thunk:
    """Weigh a quarter of an hour, 600 slots, for whatever thresholds may come."""
    market, rows = hand_overs(SLOTS, SECONDS, PER_SECOND)

    def run() -> object:
        score = scores.begin_session(market.score, OPEN_NS, market.score.season)
        stop_ns = OPEN_NS + SECONDS * SECOND_NS
        given = (score, market.identities, rows[:ROWS])
        return rescore(*given, first_ns=OPEN_NS, stop_ns=stop_ns, purpose=FOR_EVIDENCE)

    return run
