"""A scoring instant: 600 slots as they change, 4,096 slots at once, beside the oracle.

Times are per call of the benchmarked function: 100 instants, or one full recomputation. The
oracle answers from the list of all flow, so it gets a small market; its floor is generous.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from bench.scoring_feed import OPEN_NS, Market, quiet_market, run_full, run_instants
from ifd_kernels.layout import SECOND_NS
from ifd_kernels.score_state import EVALUATIONS, NOW, ROWS
from tests.oracle.scoring import Scorer

INSTANTS = 100
WARM_S = 3000
FLOOR = 50  # the oracle takes thousands of times longer


def warmed(slots: int, per_second: float) -> tuple[Market, int]:
    """Return a market that ran for 50 minutes, and the row its flow stands at."""
    market = quiet_market(slots, WARM_S + 40 * INSTANTS, per_second)
    row = run_instants(market.score, market.identities, market.touch, market.flow, 0, WARM_S)
    return market, row


@pytest.mark.parametrize("per_second", [5, 30])
@pytest.mark.benchmark(group="scoring instant, 600 slots, incremental (100 instants)")
def test_incremental(benchmark: Any, per_second: int) -> None:
    """Each instant recomputes what changed; `extra_info` says how many slots that was."""
    market, row = warmed(600, per_second)
    place = [row]
    before = int(market.score.cursor[EVALUATIONS])

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        state = (market.score, market.identities, market.touch, market.flow)
        return (*state, place[0], INSTANTS), {}

    def target(*arguments: Any) -> None:
        place[0] = run_instants(*arguments)

    rounds = 30
    benchmark.pedantic(target, setup=setup, rounds=rounds)
    changed = int(market.score.cursor[EVALUATIONS]) - before
    benchmark.extra_info["slots changed an instant"] = changed / (rounds * INSTANTS)
    assert place[0] > 0


@pytest.mark.parametrize("slots", [600, 4096])
@pytest.mark.benchmark(group="scoring instant, all slots recomputed")
def test_full(benchmark: Any, slots: int) -> None:
    """Every slot is recomputed, as after a swap of baselines or in batch."""
    market, _ = warmed(slots, 30)
    now_ns = int(market.score.cursor[NOW])
    arguments = (market.score, market.identities, market.touch, now_ns)
    run_full(*arguments, 1)
    assert benchmark.pedantic(run_full, args=(*arguments, 1), rounds=200) == 0
    assert market.score.cursor[ROWS] < len(market.score.signals)


def test_the_kernel_is_far_faster_than_its_oracle() -> None:
    """Same market, same instants: at least fifty times, three attempts."""
    market = quiet_market(20, 60, 2.0)
    slots = [
        {
            "instrument_id": n,
            "kind": 1 + n % 2,
            "twin": n ^ 1,
            "mapped": 1,
            "retired": 0,
            "strike": n // 2,
            "marks": 0,
        }
        for n in range(20)
    ]
    names = market.score.expected.dtype.names or ()
    expected = [{name: row[name] for name in names} for row in market.score.expected]
    asked = market.score.profile.dtype.names or ()
    profile = {name: market.score.profile[name][0] for name in asked}
    season = market.score.season.tolist()
    tables, limits = market.score.ranks, market.score.limits[0]
    scorer = Scorer(slots, expected, season, OPEN_NS, profile, tables, limits)
    start = time.perf_counter()
    first = int(market.flow[0]["second"])
    for second in range(first, first + 50):
        now_ns = (second + 1) * SECOND_NS
        flows = [
            {
                "slot": int(row["slot"]),
                "second": second,
                "instant_ns": now_ns,
                "bid": (0, int(row["bid"])),
                "ask": (0, int(row["ask"])),
            }
            for row in market.flow[market.flow["second"] == second]
        ]
        scorer.instant(now_ns, flows, [None] * 20)
    oracle_s = time.perf_counter() - start
    for _ in range(3):
        market = quiet_market(20, 60, 2.0)
        start = time.perf_counter()
        run_instants(market.score, market.identities, market.touch, market.flow, 0, 50)
        if (time.perf_counter() - start) * FLOOR < oracle_s:
            return
    pytest.fail("the kernel was less than 50 times faster than its oracle in three attempts")
