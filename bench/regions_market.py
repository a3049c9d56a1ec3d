"""Counted work of the simulator: one chunk of workload W1."""

from __future__ import annotations

import datetime as dt

import msgspec

from bench.workloads import Thunk, region
from ifd_fast.calendar import load_sessions
from ifd_fast.simulation import Simulation
from ifd_fast.world import load_world
from ifd_kernels.market_state import R_OPEN_NS, R_RECORDS, S_RECORDS, S_TS_EVENT, S_WRITTEN
from ifd_kernels.market_stream import run

__all__ = ["generate"]

EVENTS = 20_000
LEAVES = ("market_opening", "market_quotes", "market_trades", "randomness")


@region("market_stream.run", events=EVENTS, covers=LEAVES)
def generate() -> Thunk:
    """Go on with a stream of W1 that has fewer far orders."""
    world = load_world("w1")
    world = msgspec.structs.replace(
        world, book=msgspec.structs.replace(world.book, live_orders=12_000)
    )
    session = load_sessions().session_of(dt.date(2026, 3, 10))
    if session is None:
        raise LookupError("2026-03-10 is not in the packaged calendar")
    market = Simulation(world, 7, session).market
    market.state[S_TS_EVENT] = market.rule[R_OPEN_NS]

    def work() -> object:
        market.state[S_WRITTEN] = 0
        market.rule[R_RECORDS] = market.state[S_RECORDS] + EVENTS
        return run(market)

    return work
