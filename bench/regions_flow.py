"""Counted work of planned flow: a plan of ordinary trades, and a session that follows it."""

from __future__ import annotations

import datetime as dt

import numpy as np

from bench.workloads import Thunk, region
from ifd_fast.calendar import load_sessions
from ifd_fast.simulation import Simulation
from ifd_fast.world import load_world
from ifd_kernels import market_flow as mf
from ifd_kernels.market_flow import grow_flow
from ifd_kernels.market_follow import follow
from ifd_kernels.market_state import (
    CHILD,
    MODE_ORDINARY,
    R_RECORDS,
    S_CHILD,
    S_RECORDS,
    S_TS_EVENT,
    S_WRITTEN,
)

__all__ = ["follow_plan", "plan_flow"]

EVENTS = 20_000
PARENTS = 10_000


@region("market_flow.grow_flow", events=EVENTS)
def plan_flow() -> Thunk:
    """Plan the ordinary flow of 600 options with as many parents as make about `EVENTS` trades."""
    slots = 600
    chances = np.full(slots, 65_536, dtype=np.int64)
    laws = np.ones((mf.LAWS, 4096), dtype=np.int64)
    laws[mf.LAW_GAP] = 65_536
    laws[mf.LAW_OFFSPRING] = np.repeat([0, 1, 2], [2_560, 1_024, 512])
    rule = np.array([0, 10**10, 10**9, 30 * 10**9, 32_768, 40_000, 6_554, 15 * 10**9])

    flow = mf.FlowPlan(
        np.full(100, PARENTS // 100 * 65_536, dtype=np.int64),
        np.zeros(100, dtype=np.int64),
        chances,
        np.arange(slots),
        np.zeros(slots, dtype=np.int64),
        np.zeros(slots, dtype=np.int64),
        np.full(slots, 2**62, dtype=np.int64),
        np.ones((11, 4096), dtype=np.int64),
        laws,
        rule,
        np.zeros(mf.N_STATES, dtype=np.int64),
        np.zeros(1, dtype=np.uint64),
        np.zeros(2 * EVENTS, dtype=CHILD),
    )

    def work() -> object:
        flow.state[:] = 0
        flow.seed[0] = 5
        return grow_flow(flow)

    return work


@region("market_follow.follow", events=EVENTS)
def follow_plan() -> Thunk:
    """Follow a plan of one ordinary trade every two seconds in a session of the demonstration."""
    session = load_sessions().session_of(dt.date(2026, 3, 10))
    if session is None:
        raise LookupError("2026-03-10 is not in the packaged calendar")
    simulation = Simulation(load_world("demo"), 7, session)
    trades = np.zeros(40_000, dtype=CHILD)
    trades["ts_event_ns"] = session.open_ns + 2_000_000_000 * np.arange(len(trades))
    trades["slot"] = 1 + np.arange(len(trades)) % 600
    trades["side"] = np.where(np.arange(len(trades)) % 2, 65, 66)
    trades["asked"] = 1
    trades["plant"] = -1
    trades["mode"] = MODE_ORDINARY
    market = simulation.market._replace(plan=trades)
    market.state[S_TS_EVENT] = session.open_ns
    market.state[S_CHILD] = 0

    def work() -> object:
        market.state[S_WRITTEN] = 0
        market.rule[R_RECORDS] = market.state[S_RECORDS] + EVENTS
        return follow(market)

    return work
