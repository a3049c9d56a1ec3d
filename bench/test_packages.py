"""Packages beside their oracle: the same trades, every group matched, handed over and sealed."""

from __future__ import annotations

from typing import Any

import pytest

from bench.regions_packages import EVENTS, apply_packages, make_stream
from ifd_kernels.packages import note_package
from tests.oracle import packages as oracle
from tests.strategies_engine import SECOND, SESSIONS
from tests.test_packages import SETTINGS, SPREADS

__all__ = ["note_package"]


@pytest.mark.benchmark(group=f"packages, {EVENTS} trades")
@pytest.mark.parametrize("way", ["kernel", "oracle"])
def test_packages(benchmark: Any, way: str) -> None:
    """A spread's trade with its legs' prints costs a small part of what plain Python takes."""
    stream = make_stream()
    if way == "oracle":
        benchmark(oracle.hand_overs, stream, SPREADS, SESSIONS, SETTINGS, SECOND)
        return
    benchmark.pedantic(lambda work: work(), setup=lambda: ((apply_packages(),), {}), rounds=20)
