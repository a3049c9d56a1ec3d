"""What a reconnect costs: listing what was delivered, dropping what is sent again."""

from __future__ import annotations

from typing import Any

import pytest

from bench.regions_duplicates import EVENTS, drop_again, list_again, make_lists
from tests.oracle import duplicates as oracle

FEW = 512


@pytest.mark.benchmark(group=f"duplicates, {EVENTS} records", min_rounds=5)
@pytest.mark.parametrize("name", ["list", "drop"])
def test_kernels(benchmark: Any, name: str) -> None:
    """Time a kernel over records that were all delivered before."""
    benchmark({"list": list_again, "drop": drop_again}[name]())
    benchmark.extra_info["ns_per_event"] = benchmark.stats.stats.min / EVENTS * 1e9


@pytest.mark.benchmark(group="duplicates, 512 records in plain Python", min_rounds=3)
def test_plain_python(benchmark: Any) -> None:
    """Time the oracle over some of the same records."""
    data = make_lists()[0][: FEW * 56].tobytes()
    delivered = oracle.list_delivered(data, 0, snapshots=True)
    kept, dropped, _ = benchmark(oracle.drop_delivered, data, 0, delivered)
    assert (kept, dropped) == (b"", FEW)
