"""An instant that is sealed beside one that is scored: what stage (a) of a re-scoring saves."""

from __future__ import annotations

from typing import Any

import pytest

from bench.scoring_feed import quiet_market, run_instants
from ifd_kernels.score_state import SEALS

WARM_S, INSTANTS, ROUNDS = 1900, 100, 20


@pytest.mark.parametrize("seals", [1, 0], ids=["sealed", "scored"])
@pytest.mark.benchmark(group="an instant sealed or scored, 600 slots, 30 buckets a second (100)")
def test_instants(benchmark: Any, seals: int) -> None:
    """Both take the same flow; sealing never weighs."""
    market = quiet_market(600, WARM_S + (ROUNDS + 1) * INSTANTS, 30)
    market.score.cursor[SEALS] = seals
    state = (market.score, market.identities, market.touch, market.flow)
    place = [run_instants(*state, 0, WARM_S)]

    def target() -> None:
        place[0] = run_instants(*state, place[0], INSTANTS)

    benchmark.pedantic(target, rounds=ROUNDS)
    assert place[0] > 0
