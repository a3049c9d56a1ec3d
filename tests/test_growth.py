"""The order table's growth is spread over events: counted in pages that the system had to find."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from bench.book_feed import make_ring
from ifd_fast import books
from ifd_kernels import book_state as state
from ifd_kernels import order_growth
from ifd_kernels.layout import Ring

BATCH = 64
SLOTS = 600
ORDERS = 1 << 17  # the table that has to grow, twice
FAULTS = 48  # 16 of the next table, the other arrays' and Python's own; all at once: thousands


def add_orders(ring: Ring, first: int) -> None:
    """Fill the ring with A of the ids from `first` on, of all instruments in turn."""
    ids = first + np.arange(len(ring.action))
    ring.order_id[:] = 6_412_345_678_901 + ids
    ring.slot[:] = ids % SLOTS
    ring.price_1e9[:] = (2_000 - ids // SLOTS % 40) * 50_000_000
    ring.size[:], ring.flags[:] = 1, 128
    ring.action[:], ring.side[:] = ord("A"), ord("B")


def most_faults(orders: int) -> tuple[int, int, list[int]]:
    """Return the most page faults of a batch of adds, and the sizes that the table took."""
    ring, book = make_ring(1 << 14), books.allocate(SLOTS, ORDERS)
    capacities, most, at = [ORDERS], 0, 0
    for first in range(0, orders, len(ring.action)):
        add_orders(ring, first)
        for start in range(0, len(ring.action), BATCH):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            book = books.apply(ring, start, start + BATCH, book)
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
            if books.capacity_orders(book) != capacities[-1]:
                capacities.append(books.capacity_orders(book))
            if first > 0 and faults > most:  # the first ring finds the slab's and numba's own
                most, at = faults, first + start
    assert books.counts(book)["live_orders"] == first + len(ring.action)
    return most, at, capacities


@pytest.mark.skipif(not books.HAS_SMALL_PAGES, reason="the system can't be asked for small pages")
@pytest.mark.jit
def test_no_batch_pays_for_growth() -> None:
    """While the table grows from 2^17 places to 2^19, no 64 events meet more than a few pages."""
    most, at, capacities = most_faults(3 << 17)
    assert capacities == [ORDERS, 2 * ORDERS, 4 * ORDERS]
    assert most <= FAULTS, f"{most} pages at order {at}"


def test_next_table_is_touched_before_it_is_used() -> None:
    """When the move begins each page of the new table has been written to: none is left to find."""
    ring, book = make_ring(1 << 12), books.allocate(SLOTS, 1 << 14)
    touched = 0
    for first in range(0, 1 << 14, len(ring.action)):
        add_orders(ring, first)
        for start in range(len(ring.action)):
            before = book
            book = books.apply(ring, start, start + 1, book)
            if book.orders is not before.orders:
                pages = touched // order_growth.TOUCH_EVENTS
                assert pages * order_growth.PAGE_ORDERS >= len(book.orders)
                return
            touched = int(book.counters[state.TOUCHED])
    pytest.fail("the table never grew")
