"""The simulator beside what reads its stream by the rules, and beside compression, in one group."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import zstandard

from bench.regions_market import EVENTS, generate
from ifd_fast.calendar import load_sessions
from ifd_fast.simulation import Simulation
from ifd_fast.world import load_world
from ifd_kernels.market_stream import run
from tests.oracle.market_stream import Checker, read_records

__all__ = ["run"]


def stream() -> bytes:
    """Return `EVENTS` records of W1 and a few more."""
    world = load_world("w1")
    book = msgspec.structs.replace(world.book, live_orders=12_000, snapshot=False)
    session = load_sessions().session_of(dt.date(2026, 3, 10))
    if session is None:
        raise LookupError("2026-03-10 is not in the packaged calendar")
    simulation = Simulation(msgspec.structs.replace(world, book=book), 7, session, records=EVENTS)
    return b"".join(chunk.tobytes() for chunk in simulation)


def check() -> Callable[[], int]:
    """Return a call that replays the records in plain Python."""
    records = read_records(stream())

    def work() -> int:
        checker = Checker(0)
        for record in records:
            checker.take(record)
        return checker.count

    return work


def compress() -> Callable[[], int]:
    """Return a call that compresses the records as the files are."""
    data = stream()
    return lambda: len(zstandard.ZstdCompressor(level=3).compress(data))


@pytest.mark.benchmark(group=f"simulate, {EVENTS} records")
@pytest.mark.parametrize("way", ["kernel", "oracle", "zstd"])
def test_generate(benchmark: Any, way: str) -> None:
    """Making records is quicker than compressing them, and far quicker than checking them."""
    work = {"kernel": generate, "oracle": check, "zstd": compress}[way]()
    work()
    benchmark(work)
