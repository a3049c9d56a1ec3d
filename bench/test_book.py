"""What the book costs an event: W1 and W2 of the design, beside the plain-Python oracle.

`pytest bench/test_book.py` asserts only a generous ratio to the oracle, which sums its levels at
each F_LAST and so is shown on the smallest feed. Figures of wall time are for reading.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from bench.book_feed import W1, W2, Feed, Workload, make_ring
from ifd_fast import books
from tests.oracle import book as oracle

EVENTS = 1 << 16
ROUNDS = 12
RATIO = 20.0  # of the oracle's time to the kernel's; the kernel is some thousand times quicker
BYTES_PER_ORDER = 160  # of the arrays, half of a full order table included


@pytest.mark.parametrize("name", ["W1", "W2"])
@pytest.mark.benchmark(group="book")
def test_kernel(benchmark: Any, name: str) -> None:
    """Apply a batch of the session; the books are open, and go on from round to round."""
    workload = {"W1": W1, "W2": W2}[name]
    feed = Feed(workload)
    stock = feed.stock()
    book = books.apply(stock, 0, feed.stock_events, books.allocate(workload.instruments))
    ring = make_ring(EVENTS)

    def next_batch() -> None:
        feed.fill(ring)

    def run() -> None:
        nonlocal book
        book = books.apply(ring, 0, EVENTS, book)

    benchmark.pedantic(run, setup=next_batch, rounds=ROUNDS, warmup_rounds=2)
    live = books.counts(book)["live_orders"]
    if benchmark.stats is not None:  # None where benchmarks are switched off
        benchmark.extra_info["ns_per_event"] = benchmark.stats.stats.min / EVENTS * 1e9
    benchmark.extra_info["live_orders"] = live
    benchmark.extra_info["book_mb"] = books.memory_bytes(book) / 1e6
    assert books.memory_bytes(book) < live * BYTES_PER_ORDER


def test_kernel_beats_oracle() -> None:
    """The kernel is far quicker than the oracle on the same little feed, and ends alike."""
    workload = Workload(2, 40, 1.0)
    feed = Feed(workload)
    stock, ring = feed.stock(), make_ring(1 << 10)
    feed.fill(ring)
    events = [
        oracle.Event(int(part.slot[i]), chr(part.action[i]), chr(part.side[i]),
                     int(part.order_id[i]), int(part.price_1e9[i]), int(part.size[i]),
                     int(part.flags[i]))
        for part, count in ((stock, feed.stock_events), (ring, len(ring.action)))
        for i in range(count)
    ]  # fmt: skip
    slow_book = oracle.Book()
    started = time.perf_counter()
    for event in events:
        oracle.apply_event(slow_book, event)
    slow = time.perf_counter() - started
    best = np.inf
    for _ in range(3):
        book = books.apply(stock, 0, feed.stock_events, books.allocate(2))
        started = time.perf_counter()
        book = books.apply(ring, 0, len(ring.action), book)
        best = min(best, time.perf_counter() - started)
    assert books.counts(book)["live_orders"] == len(slow_book.orders)
    assert slow / best > RATIO
