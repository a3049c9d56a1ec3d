"""How the order table grows without a stall: each event does a little of it.

From five eighths on (`ifd_fast.books`) the next table lies ready, and every few events write to
one more of its pages, so that the system has found memory for it before it is needed. At three
quarters it becomes the table, and each event moves a few entries of the old one. An order found
in the old table moves at once, so that all else works on the new one only. Then the old table's
memory is given back in pieces, as the system takes 6 ms to take back 64 MB.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ifd_kernels._jit import kernel, leaf, natural, stay_apart
from ifd_kernels._words import word_at
from ifd_kernels.book_state import LIMIT, MOVED, RELEASED, TENDED, TOUCHED, USED, Book
from ifd_kernels.layout import Integer
from ifd_kernels.odd_orders import drop_order, find_order, give_row, read_order
from ifd_kernels.orders import (
    NO_ORDER,
    PLACES,
    PRICE_BIT,
    SLOT_BIT,
    copy_order,
    next_free,
    remove_order,
    size_in,
    stamp_at,
)

__all__ = ["find_live", "move_orders", "tend_tables"]

MOVED_PER_EVENT: Final = 16  # rows of the old order table
TOUCH_EVENTS: Final = 4  # events a page of the next table
PAGE_ORDERS: Final = 256  # rows of 16 bytes in a page of 4 KiB
RELEASE_EVENTS: Final = 64  # between two pieces of the old table that are given back


@kernel
def move_orders(book: Book) -> None:
    """Move a few entries of the old order table; dead ones are left behind. O(1)."""
    stay_apart()
    counters, old = book.counters, book.old_orders
    for _ in range(MOVED_PER_EVENT):
        place = natural(counters[MOVED])
        if place == old.shape[0]:
            counters[MOVED] = -1
            counters[RELEASED] = 0
            return
        identity, terms = old[place]["identity"], np.int64(old[place]["terms"])
        if place & 3 == PLACES or identity == 0:
            counters[MOVED] = place + 1
            continue
        owner: Integer = np.int64(identity >> np.uint64(SLOT_BIT))
        stamp: Integer = word_at(old, stamp_at(place))
        is_odd = size_in(terms) == 0
        if is_odd:
            row = book.odd[terms >> PRICE_BIT]
            owner, stamp = np.int64(row["owner"]) >> 2, np.int64(row["stamp"])
        if stamp >= book.levels.sides[(owner - 1) << 1]["cleared"]:
            take_over(book, place)
            continue
        if is_odd:
            give_row(book, terms >> PRICE_BIT)
        remove_order(old, place)


@leaf
def take_over(book: Book, place: Integer) -> Integer:
    """Move the order at `place` of the old table to the new one; return its place there."""
    free = next_free(book.orders, book.old_orders[place]["identity"])
    copy_order(book.old_orders, place, book.orders, free)
    book.counters[USED] += 1
    remove_order(book.old_orders, place)
    return free


@kernel
def fetch_old_order(book: Book, slot: Integer, order_id: np.uint64) -> Integer:
    """Move one order over from the old table; return its place in the new one, or NO_ORDER."""
    stay_apart()
    place = find_order(book, True, slot, order_id)
    return take_over(book, natural(place)) if place != NO_ORDER else np.int64(NO_ORDER)


@kernel
def tend_tables(book: Book) -> None:
    """Do an event's share of the order table's growth: touch, move, or have memory given back."""
    stay_apart()
    counters = book.counters
    if counters[MOVED] >= 0:
        move_orders(book)
    elif counters[RELEASED] >= 0:
        counters[RELEASED] += 1
        if counters[RELEASED] > RELEASE_EVENTS:
            counters[LIMIT] = 0  # stops the next event: the border gives some memory back
    else:
        place = counters[TOUCHED] // TOUCH_EVENTS * PAGE_ORDERS
        if place >= book.old_orders.shape[0]:
            counters[TENDED] = 0
        elif counters[TOUCHED] % TOUCH_EVENTS == 0:
            book.old_orders[place]["identity"] = 0
        counters[TOUCHED] += 1


@leaf
def find_live(book: Book, slot: Integer, order_id: np.uint64) -> Integer:
    """Return the place of a live order, NO_ORDER if there is none."""
    place = find_order(book, False, slot, order_id)
    if place == NO_ORDER:
        if book.counters[MOVED] >= 0:
            place = fetch_old_order(book, slot, order_id)
        if place == NO_ORDER:
            return NO_ORDER
    place = natural(place)
    if read_order(book, place)[3] < book.levels.sides[slot << 1]["cleared"]:
        drop_order(book, place)
        book.counters[USED] -= 1
        return NO_ORDER
    return place
