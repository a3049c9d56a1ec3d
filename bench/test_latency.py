"""What counting a wait costs: the kernel beside its oracle."""

from __future__ import annotations

from typing import Any

import pytest

from bench.regions_latency import WAITS, count_many
from ifd_fast.latencies import Latency
from tests.oracle import latency as oracle


@pytest.mark.benchmark(group=f"latency, {WAITS} waits")
def test_kernel(benchmark: Any) -> None:
    """Count them all in one call."""
    assert benchmark(count_many()) == WAITS
    benchmark.extra_info["ns_per_event"] = benchmark.stats.stats.min / WAITS * 1e9


@pytest.mark.benchmark(group=f"latency, {WAITS} waits")
def test_plain_python(benchmark: Any) -> None:
    """Keep them all."""
    waits = [(wait_ns, 1) for wait_ns in range(WAITS)]
    assert len(benchmark(oracle.count_waits, waits)[0]) == WAITS


@pytest.mark.benchmark(group=f"latency, {WAITS} waits")
def test_one_by_one(benchmark: Any) -> None:
    """Add them one by one, as a session does."""
    latency = Latency()

    def add() -> None:
        for wait_ns in range(WAITS):
            latency.add(wait_ns)

    benchmark(add)
    benchmark.extra_info["ns_per_event"] = benchmark.stats.stats.min / WAITS * 1e9
