"""Planned flow beside its oracle, and following a plan beside the free-running market."""

from __future__ import annotations

from typing import Any

import pytest

from bench.regions_flow import EVENTS, follow_plan, plan_flow
from bench.regions_market import generate
from ifd_kernels.market_flow import grow_flow
from ifd_kernels.market_follow import follow
from tests.oracle import market_flow as oracle

__all__ = ["follow", "grow_flow"]

RULE = {
    "start": 0,
    "part": 10**10,
    "fast gap": 10**9,
    "slow gap": 30 * 10**9,
    "slow": 32_768,
    "same": 40_000,
    "split": 6_554,
    "split gap": 15 * 10**9,
}


def plain() -> object:
    """Plan a like flow in plain Python."""
    slots = 600
    laws = ([65_536] * 4096, [0] * 2_560 + [1] * 1_024 + [2] * 512, [1] * 4096)
    alias = ([65_536] * slots, list(range(slots)))
    mass, until = [100 * 65_536] * 100, [2**62] * slots
    sizes = [[1] * 4096] * slots
    return oracle.grow_flow(mass, [0] * 100, alias, [0] * slots, until, sizes, laws, RULE, 5)


@pytest.mark.benchmark(group=f"plan flow, {EVENTS} trades")
@pytest.mark.parametrize("way", ["kernel", "oracle"])
def test_plan_flow(benchmark: Any, way: str) -> None:
    """Planning a session's flow takes far less time than simulating it."""
    work = plan_flow() if way == "kernel" else plain
    work()
    benchmark(work)


@pytest.mark.benchmark(group=f"follow, {EVENTS} records")
@pytest.mark.parametrize("way", ["planned", "free"])
def test_follow(benchmark: Any, way: str) -> None:
    """A planned session costs what a free-running one does."""
    work = {"planned": follow_plan, "free": generate}[way]()
    work()
    benchmark(work)
