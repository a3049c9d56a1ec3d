"""A session scored again from its hand-overs: for signals, for ranks, for the null line.

The session is six and a half hours of 600 strikes, 5 hand-overs a second: 117,000 of them.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.scoring_feed import OPEN_NS, Market, hand_overs
from ifd_fast import scores
from ifd_fast.handovers import allocate_tally, rescore
from ifd_kernels.layout import SECOND_NS
from ifd_kernels.rescoring import (
    FOR_EPISODES,
    FOR_EVIDENCE,
    FOR_SAMPLES,
    FOR_SIGNALS,
    rescore_session,
)
from ifd_kernels.thresholds import log_evidence

SLOTS, SECONDS, PER_SECOND = 600, 23_400, 5.0
CEILING_S = 2.0  # a session scores again in well under a second; the machine may be busy

assert rescore_session is not None
assert log_evidence is not None


def again(market: Market, rows: Any, purpose: int) -> int:
    """Score the session again; return its instants' last time."""
    score = scores.begin_session(market.score, OPEN_NS, market.score.season)
    scores.set_expected(score, market.score.expected, market.identities)
    stop_ns = OPEN_NS + SECONDS * SECOND_NS
    done = rescore(
        score,
        market.identities,
        rows,
        first_ns=OPEN_NS,
        stop_ns=stop_ns,
        purpose=purpose,
        tally=allocate_tally(SLOTS),
    )
    return len(done.log)


@pytest.mark.parametrize("purpose", [FOR_SIGNALS, FOR_SAMPLES, FOR_EPISODES, FOR_EVIDENCE])
@pytest.mark.benchmark(group="a session scored again, 600 slots, 117,000 hand-overs")
def test_again(benchmark: Any, purpose: int) -> None:
    """Signals, residuals at minutes, episodes at every instant, evidence for many thresholds."""
    market, rows = hand_overs(SLOTS, SECONDS, PER_SECOND)
    again(market, rows[:1000], purpose)
    benchmark.pedantic(again, args=(market, rows, purpose), rounds=3)
    if benchmark.enabled:
        assert benchmark.stats.stats.min < CEILING_S
