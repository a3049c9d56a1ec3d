"""What the whole loop costs an event, books to windows and scores, beside the plain-Python rules.

Times are per ring of events; the ratio to the oracle is asserted on a stream of few instruments.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from bench.engine_feed import RunningEngine
from ifd_kernels.layout import CONSUMED, PUBLISHED
from tests.oracle import engine as oracle
from tests.strategies_engine import (
    OPEN,
    OPTION,
    SECOND,
    SESSIONS,
    SETTINGS,
    as_bytes,
    event,
    feed,
    make_engine,
)

EVENTS = 1 << 15
ROUNDS = 12
RATIO = 10.0  # of the oracle's time to the engine's; the engine is hundreds of times quicker


@pytest.mark.parametrize("spacing_ns", [5_000, 500_000])
@pytest.mark.benchmark(group="engine, W1's mix, a ring of 32,768 events")
def test_engine(benchmark: Any, spacing_ns: int) -> None:
    """Apply a ring of the session, at 200,000 events a second and at 2,000."""
    running = RunningEngine(EVENTS, spacing_ns)
    benchmark.pedantic(
        running.engine.apply_published, setup=running.fill, rounds=ROUNDS, warmup_rounds=2
    )
    benchmark.extra_info["ns_per_event"] = benchmark.stats.stats.min / EVENTS * 1e9
    cursor = running.engine.state.ring.cursor
    assert cursor[CONSUMED] == cursor[PUBLISHED]


def test_engine_beats_oracle() -> None:
    """The engine is at least ten times quicker than the rules on the same stream of trades."""
    settings = SETTINGS[0]
    stream = [
        event(OPEN + n * SECOND // 2, order_id=n, instrument_id=OPTION, price=5 * SECOND + n % 3)
        for n in range(1_000)
    ]
    data = as_bytes(stream)
    best = float("inf")
    for _ in range(3):
        engine = make_engine(settings)
        started = time.perf_counter()
        feed(engine, [data])
        best = min(best, time.perf_counter() - started)
    started = time.perf_counter()
    expected = oracle.replay(stream, SESSIONS, settings, {})
    slow = time.perf_counter() - started
    assert expected["counts"]
    assert slow / best > RATIO
