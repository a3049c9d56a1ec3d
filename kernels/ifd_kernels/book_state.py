"""What the books consist of: their arrays, and the counters that tell of their health."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import leaf
from ifd_kernels.layout import DONE, NEED_LEVELS, NEED_ORDERS, Integer, Records
from ifd_kernels.level_blocks import NEXT, RESERVE, Levels

__all__ = ["HEALTH", "Book", "check_room"]


class Book(NamedTuple):
    """All books, by instrument slot.

    `orders` (power of two) is the order table, `old_orders` the one that is being moved into it or,
    before that, the one it will be moved into (one free line when there is none), `odd` the rows of
    orders that don't fit, at least as many as both tables may hold. `touch` (slots,) has the best
    prices as read at each instrument's last F_LAST, `counters` (COUNTERS,) the state and the health
    counters below.
    """

    orders: Records
    old_orders: Records
    odd: Records
    levels: Levels
    touch: Records
    counters: NDArray[np.int64]


STAMP: Final = 0  # of the newest order
USED: Final = 1  # places taken in `orders`, by dead orders as well
LIMIT: Final = 2  # of USED, before the order table must grow
LIVE: Final = 3  # live orders
MOVED: Final = 4  # places of `old_orders` that are empty already; -1: no table to move
REPLACED_ADDS: Final = 5  # A of a live id
UNKNOWN_CANCELS: Final = 6  # C of an unknown id, ignored
UNKNOWN_MODIFIES: Final = 7  # M of an unknown id, taken as an add
SIDE_CHANGES: Final = 8  # M with another side than the order's, which stays
SIDELESS_ORDERS: Final = 9  # A, or M of an unknown id, with side N
UNPRICED_ORDERS: Final = 10  # A or M to an undefined price
EMPTY_ORDERS: Final = 11  # A, or M of an unknown id, with size 0
EXCESS_CANCELS: Final = 12  # C of more than the order has left
CLEARS: Final = 13  # R
BAD_BOOK_FLAGS: Final = 14  # records with F_MAYBE_BAD_BOOK
CROSSED_CHANGES: Final = 15  # BBO changes that left bid >= ask
TENDED: Final = 16  # 1: `tend_tables` has something to do at each event
TOUCHED: Final = 17  # events since the next table lies ready in `old_orders`; -1: there is none
RELEASED: Final = 18  # events since a piece of the old table was given back; -1: there is none
ODD_NEXT: Final = 19  # rows of `odd` from here on were never used
ODD_FREE: Final = 20  # the first free row before them; -1: there is none
COUNTERS: Final = 21
HEALTH: Final = {
    "replaced_adds": REPLACED_ADDS,
    "unknown_cancels": UNKNOWN_CANCELS,
    "unknown_modifies": UNKNOWN_MODIFIES,
    "side_changes": SIDE_CHANGES,
    "sideless_orders": SIDELESS_ORDERS,
    "unpriced_orders": UNPRICED_ORDERS,
    "empty_orders": EMPTY_ORDERS,
    "excess_cancels": EXCESS_CANCELS,
    "clears": CLEARS,
    "bad_book_flags": BAD_BOOK_FLAGS,
    "crossed_changes": CROSSED_CHANGES,
}

BID_MOVED: Final = 1  # bits of touch["unread"]: the best bid was touched since the last F_LAST
ASK_MOVED: Final = 2
BROKEN: Final = 4  # an R or a snapshot record since then: no order-flow imbalance
NEVER_READ: Final = 8


@leaf
def check_room(book: Book) -> Integer:
    """Return DONE if the next event surely finds room, else what must grow first."""
    if book.counters[USED] >= book.counters[LIMIT]:
        return NEED_ORDERS
    if book.levels.heap[NEXT] + book.levels.heap[RESERVE] > book.levels.key.shape[0]:
        return NEED_LEVELS
    return DONE
