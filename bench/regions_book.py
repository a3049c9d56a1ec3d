"""Counted work of the book: W1's mix on open books."""

from __future__ import annotations

from bench.book_feed import Feed, Workload, make_ring
from bench.workloads import Thunk, region
from ifd_fast import books

__all__ = ["apply_batch"]

EVENTS = 16_384
# a tenth of W1's orders: the setup runs under valgrind too
WORKLOAD = Workload(600, 20_000, 0.8)
LEAVES = (
    *("book_state", "level_blocks", "levels", "odd_orders", "order_growth", "orders"),
    *("plain_events", "touches"),
)


@region("book.apply_batch", events=EVENTS, covers=LEAVES)
def apply_batch() -> Thunk:
    """Apply a ring of W1's mix: half modifies, mostly of recent orders by a tick or two."""
    feed = Feed(WORKLOAD)
    book = books.allocate(WORKLOAD.instruments)
    book = books.apply(feed.stock(), 0, feed.stock_events, book)
    ring = make_ring(EVENTS)
    feed.fill(ring)
    book = books.apply(ring, 0, EVENTS, book)
    feed.fill(ring)
    return lambda: books.apply(ring, 0, EVENTS, book)
