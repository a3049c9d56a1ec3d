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
from ifd_kernels.book_state import LIMIT, MOVED, RELEASED, TENDED, TOUCHED, USED, Book
from ifd_kernels.layout import Integer
from ifd_kernels.orders import NO_ORDER, copy_order, find_order, free_place, remove_order

__all__ = ["find_live", "move_orders", "tend_tables"]

MOVED_PER_EVENT: Final = 8  # places of the old order table
TOUCH_EVENTS: Final = 4  # events a page of the next table
PAGE_ORDERS: Final = 128  # places of 32 bytes in a page of 4 KiB
RELEASE_EVENTS: Final = 64  # between two pieces of the old table that are given back


@kernel
def move_orders(book: Book) -> None:
    """Move a few entries of the old order table; dead ones are left behind. O(1)."""
    stay_apart()
    counters, old = book.counters, book.old_orders
    for _ in range(MOVED_PER_EVENT):
        place = counters[MOVED]
        if place == old.shape[0]:
            counters[MOVED] = -1
            counters[RELEASED] = 0
            return
        owner = np.int64(old[place]["owner"])
        if owner == 0:
            counters[MOVED] = place + 1
            continue
        row = ((owner >> 2) - 1) << 1
        if old[place]["stamp"] >= book.levels.sides[row]["cleared"]:
            free = free_place(book.orders, owner, old[place]["order_id"])
            copy_order(old, place, book.orders, free)
            counters[USED] += 1
        remove_order(old, place)


@kernel
def fetch_old_order(book: Book, owner: Integer, order_id: np.uint64) -> Integer:
    """Move one order over from the old table; return its place in the new one, or NO_ORDER."""
    stay_apart()
    place = find_order(book.old_orders, owner, order_id)
    if place == NO_ORDER:
        return NO_ORDER
    free = free_place(book.orders, owner, order_id)
    copy_order(book.old_orders, place, book.orders, free)
    book.counters[USED] += 1
    remove_order(book.old_orders, place)
    return free


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
            book.old_orders[place]["owner"] = 0
        counters[TOUCHED] += 1


@leaf
def find_live(book: Book, slot: Integer, order_id: np.uint64) -> Integer:
    """Return the place of a live order, NO_ORDER if there is none."""
    owner = (slot + 1) << 2
    place = find_order(book.orders, owner, order_id)
    if place == NO_ORDER:
        if book.counters[MOVED] >= 0:
            place = fetch_old_order(book, owner, order_id)
        if place == NO_ORDER:
            return NO_ORDER
    place = natural(place)
    if book.orders[place]["stamp"] < book.levels.sides[slot << 1]["cleared"]:
        remove_order(book.orders, place)
        book.counters[USED] -= 1
        return NO_ORDER
    return place
