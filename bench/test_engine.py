"""The whole engine, wire to windows, beside its oracle on the same stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.streams import mbo_stream
from ifd_fast.calendar import load_sessions
from ifd_fast.engine import FlowEngine
from ifd_fast.framing import Framer
from ifd_fast.profiles import Profile
from ifd_kernels.engine import advance
from tests.oracle import engine as oracle

EVENTS = 400_000
ORACLE_EVENTS = 600
FLOOR_ORACLE = 100  # a lost compiler is what it must catch
SETTINGS = {"window_s": 300, "step_s": 300, "lateness_ns": 10**9}

STREAM = mbo_stream(EVENTS)


def kernel_thunk() -> Callable[[], int]:
    """Return a call that feeds a new engine the whole stream."""
    data = np.frombuffer(bytearray(STREAM.tobytes()), np.uint8)
    sessions = load_sessions()
    assert advance is not None

    def run() -> int:
        engine = FlowEngine(Profile(), sessions)
        framer = Framer(engine.state.ring, 3)
        for start in range(0, len(data), 1 << 20):
            engine.feed(framer, data[start : start + (1 << 20)])
        return int(engine.state.actions.sum())

    return run


def oracle_thunk() -> Callable[[], int]:
    """Return a call of the oracle on a share of the events."""
    names = ("instrument_id", "ts_event", "ts_recv", "order_id", "price", "size", "flags")
    events = [
        {name: int(record[name]) for name in names}
        | {"action": chr(record["action"]), "side": chr(record["side"])}
        for record in STREAM[:ORACLE_EVENTS]
    ]
    sessions = [(one.open_ns, one.close_ns) for one in load_sessions()]

    def run() -> int:
        oracle.replay(events, sessions, SETTINGS, {})
        return len(events)

    return run


THUNKS = {"kernel": (kernel_thunk, EVENTS), "oracle": (oracle_thunk, ORACLE_EVENTS)}


@pytest.mark.benchmark(group="engine.advance")
@pytest.mark.parametrize("name", THUNKS)
def test_advance(name: str, benchmark: Any) -> None:
    """All events are applied; `ns_per_event` (of the fastest round) is kept with the result."""
    make, events = THUNKS[name]
    thunk = make()
    assert thunk() == events
    benchmark.pedantic(thunk, rounds=3 if name == "oracle" else 10, warmup_rounds=1)
    if benchmark.stats is not None:
        benchmark.extra_info["ns_per_event"] = benchmark.stats.stats.min / events * 1e9


def best_ns(name: str, rounds: int) -> float:
    """Return the fastest of `rounds`, ns an event."""
    make, events = THUNKS[name]
    thunk = make()
    thunk()
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter_ns()
        thunk()
        best = min(best, time.perf_counter_ns() - began)
    return best / events


def test_the_kernel_beats_the_oracle() -> None:
    """A generous floor under the ratio of one run."""
    assert best_ns("oracle", 2) / best_ns("kernel", 5) >= FLOOR_ORACLE
