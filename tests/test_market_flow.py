"""Ordinary flow: the oracle's trades, a cascade's statistics, and a day that looks like a day.

Goal: null flow whose parameters can be trusted. Method: the kernel against its oracle on small
plans, then measured branching, sides and season of a large one against what was asked for.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.arrivals import law_tables, parts_a_parent, season_of
from ifd_fast.quantiles import alias_table, world_tables
from ifd_fast.world import Arrivals, load_world
from ifd_kernels import layout
from ifd_kernels import market_flow as mf
from ifd_kernels import market_state as ms
from ifd_kernels.market_flow import FlowPlan, grow_flow
from tests.oracle import market_flow as oracle

SECOND = layout.SECOND_NS
CHANCE = 65_536


@functools.cache
def tables() -> Any:
    """Return the market tables of the CI world."""
    return world_tables(load_world("ci"))


def make_plan(arrivals: Arrivals, mass: list[int], seed: int, rows: int = 4_096) -> FlowPlan:
    """Return a plan over three instruments: a call, a put whose trading ends early, a future."""
    rule = np.zeros(mf.F_RULES, dtype=np.int64)
    rule[mf.F_PART_NS] = 10 * SECOND
    rule[mf.F_FAST_NS] = round(arrivals.fast_s * 1e9)
    rule[mf.F_SLOW_NS] = round(arrivals.slow_s * 1e9)
    rule[mf.F_SLOW] = round(arrivals.slow_share * CHANCE)
    rule[mf.F_SAME] = round(arrivals.same_side * CHANCE)
    rule[mf.F_SPLIT] = round(arrivals.split_share * CHANCE)
    rule[mf.F_SPLIT_NS] = round(arrivals.split_gap_s * 1e9)
    end_ns = 10 * SECOND * len(mass)
    threshold, other = alias_table([3.0, 2.0, 1.0])
    return FlowPlan(
        np.array(mass, dtype=np.int64),
        np.array([(-1) ** place * 9_000 for place in range(len(mass))], dtype=np.int64),
        threshold,
        other,
        np.array([1, -1, 0], dtype=np.int64),
        np.array([0, 1, 3], dtype=np.int64),
        np.array([end_ns, end_ns // 2, end_ns], dtype=np.int64),
        tables(),
        law_tables(arrivals),
        rule,
        np.zeros(mf.N_STATES, dtype=np.int64),
        np.array([seed], dtype=np.uint64),
        np.zeros(rows, dtype=ms.CHILD),
    )


def grow(plan: FlowPlan, step: int = 4_096) -> list[oracle.Trade]:
    """Return the kernel's trades, `out` growing by `step` rows whenever it asks."""
    with np.errstate(over="ignore"):
        while grow_flow(plan) != layout.DONE:
            rows = np.zeros(len(plan.out) + step, dtype=ms.CHILD)
            rows[: len(plan.out)] = plan.out
            plan = plan._replace(out=rows)
    found = plan.out[: int(plan.state[mf.N_ROWS])]
    assert set(found["plant"].tolist()) <= {-1}
    assert set(found["mode"].tolist()) <= {ms.MODE_ORDINARY}
    names = ("ts_event_ns", "slot", "side", "asked")
    columns = [found[name].tolist() for name in names]
    return [(at, who, chr(side), size) for at, who, side, size in zip(*columns, strict=True)]


def expected_trades(plan: FlowPlan) -> list[oracle.Trade]:
    """Return the oracle's trades of the same plan."""
    sizes = [tables()[ms.TABLE_LOTS + row].tolist() for row in plan.lots.tolist()]
    gaps, offspring, parts = plan.laws.tolist()
    names = {
        "start": mf.F_START_NS,
        "part": mf.F_PART_NS,
        "fast gap": mf.F_FAST_NS,
        "slow gap": mf.F_SLOW_NS,
        "slow": mf.F_SLOW,
        "same": mf.F_SAME,
        "split": mf.F_SPLIT,
        "split gap": mf.F_SPLIT_NS,
    }
    return oracle.grow_flow(
        plan.mass.tolist(),
        plan.lean.tolist(),
        (plan.threshold.tolist(), plan.other.tolist()),
        plan.tilt.tolist(),
        plan.until_ns.tolist(),
        sizes,
        (gaps, offspring, parts),
        {name: int(plan.rule[entry]) for name, entry in names.items()},
        int(plan.seed[0]),
    )


SMALL = Arrivals(season=(1.0,), split_share=0.3, split_further=2.0, split_gap_s=4.0)


@given(
    seed=st.integers(0, 2**64 - 1),
    mass=st.lists(st.integers(1, 4 * CHANCE), min_size=1, max_size=8),
    step=st.integers(1, 90),
)
def test_flow_is_the_oracles(seed: int, mass: list[int], step: int) -> None:
    """Every trade is the oracle's, wherever the output had to grow."""
    plan = make_plan(SMALL, mass, seed, rows=mf.FAMILY_MAX + step)
    expected = expected_trades(plan)
    assert grow(plan, step) == expected


@functools.cache
def large_flow() -> list[oracle.Trade]:
    """Return some 60,000 trades of equal pace, half of which are excited."""
    arrivals = Arrivals(season=(1.0,), split_share=0.1)
    return grow(make_plan(arrivals, [30 * CHANCE] * 1_000, 5))


@pytest.mark.jit
def test_branching_is_what_was_asked_for() -> None:
    """Trades over parents is 1 / (1 - branching) times the mean parts of a parent, to 3 %."""
    arrivals = Arrivals(season=(1.0,), split_share=0.1)
    for branching in (0.0, 0.3, 0.5, 0.7):
        asked = Arrivals(season=(1.0,), split_share=0.1, branching=branching)
        plan = make_plan(asked, [30 * CHANCE] * 1_000, 5)
        plan.until_ns[:] = 2**62
        expected = 30_000 * parts_a_parent(arrivals) / (1.0 - branching)
        assert len(grow(plan)) == pytest.approx(expected, rel=0.03), branching


@pytest.mark.jit
def test_sides_persist_as_split_and_excited_trades_say() -> None:
    """Signs of one instrument's neighbouring trades agree more than by chance, not much more."""
    signs = [1 if side == "B" else -1 for _, who, side, _ in sorted(large_flow()) if who == 2]
    lag = [a * b for a, b in itertools.pairwise(signs)]
    assert abs(sum(signs)) < 4 * len(signs) ** 0.5 * 2
    assert 0.02 < sum(lag) / len(lag) < 0.2
    far = [a * b for a, b in zip(signs, signs[400:], strict=False)]
    assert abs(sum(far)) / len(far) < 0.04


@pytest.mark.jit
def test_expired_instruments_trade_no_more() -> None:
    """Nothing trades after the end of its trading, offspring included."""
    ends = {1: 5_000 * SECOND}
    assert all(at < ends.get(who, 10_000 * SECOND) for at, who, _, _ in large_flow())
    assert any(at > 4_900 * SECOND for at, who, _, _ in large_flow() if who == 1)


@pytest.mark.jit
def test_a_directional_burst_leans() -> None:
    """Where the plan leans, calls are bought and puts sold, and the future is left alone."""
    arrivals = Arrivals(season=(1.0,), split_share=0.0, branching=0.0)
    plan = make_plan(arrivals, [300 * CHANCE] * 40, 5)
    plan.lean[:] = 32_768
    plan.until_ns[:] = 2**62
    trades = grow(plan)
    for who, expected in ((0, 0.75), (1, 0.25), (2, 0.5)):
        bought = [side == "B" for _, one, side, _ in trades if one == who]
        assert sum(bought) / len(bought) == pytest.approx(expected, abs=0.05)


def test_the_season_is_one_in_regular_trading() -> None:
    """Activity is a multiple of the mean of regular hours, and its shares add up to them."""
    arrivals = load_world("evaluation").arrivals
    assert arrivals is not None
    season = season_of(arrivals, 0, 82_800 * SECOND)
    opens = round(arrivals.regular_start_s * 1e9)
    ends = round(arrivals.regular_end_s * 1e9)
    regular = season.between(opens, ends)
    assert regular == pytest.approx(6.5, rel=0.01)
    assert regular / season.between(0, 82_800 * SECOND) == pytest.approx(0.84, abs=0.02)
    middle = (opens + ends) // 2
    dull = season.between(middle, middle + 1_800 * SECOND)
    assert season.between(opens, opens + 1_800 * SECOND) > 2.5 * dull
    assert season.between(ends - 1_800 * SECOND, ends) > 1.8 * dull
    assert season.between(0, 1_800 * SECOND) < 0.2 * dull
    assert sum(season.shares(300 * SECOND, 276)) == pytest.approx(
        season.between(0, 82_800 * SECOND)
    )
