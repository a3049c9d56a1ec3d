"""What nearly every event is: an A of a new order, a C or M of a live one that stands on a level.

Each says False, with nothing done, if the event is anything else, and `book` takes it from there.
What costs here is not the instructions but the branches that are guessed wrong, some fifteen
cycles each: callgrind saw 4.1 an event of W1, and the jump by action, where each step of an event
had branches of its own (352 instructions in the loop), 2.5 with this (364), which is 10 % quicker.
An order's place in its line, a level that empties, the side that was touched: all that is chance
is chosen by numbers. Tried: one path for A, C and M that differ in numbers only (no jump by
action, 451 instructions and more spills, 2.6 wrong guesses as long as LLVM made its choices
branches: no quicker than before).
"""

from __future__ import annotations

import numpy as np

from ifd_kernels._jit import leaf, natural
from ifd_kernels.book_state import LIVE, MOVED, STAMP, USED, Book
from ifd_kernels.layout import UNDEF_PRICE, Integer
from ifd_kernels.levels import drop_level, lift_level, move_order
from ifd_kernels.orders import SIDELESS, locate_order, remove_order

__all__ = ["add_plain", "cancel_plain", "count_order", "modify_plain"]


@leaf
def count_order(book: Book, slot: Integer, side: Integer, change: Integer) -> None:
    """Count an order that comes (1) or goes (-1)."""
    book.counters[LIVE] += change
    book.levels.sides[natural((slot << 1) + (side & 1))]["orders"] += change


@leaf
def add_plain(
    book: Book, slot: Integer, side: Integer, order_id: np.uint64, price: Integer, size: Integer
) -> bool:
    """Apply an A of a new id to a level; return False, with nothing done, if it is not that."""
    counters, orders = book.counters, book.orders
    place, found = locate_order(orders, (slot + 1) << 2, order_id)
    odd = found | np.int64(side == SIDELESS) | np.int64(size == 0)
    odd |= np.int64(price == UNDEF_PRICE) | np.int64(counters[MOVED] >= 0)
    if odd != 0:
        return False
    stamp = counters[STAMP] + 1
    counters[STAMP] = stamp
    counters[USED] += 1
    orders[place]["order_id"] = order_id
    orders[place]["price_1e9"] = price
    orders[place]["stamp"] = stamp
    orders[place]["size"] = size
    orders[place]["owner"] = (slot + 1) << 2 | side
    count_order(book, slot, side, np.int64(1))
    row = natural((slot << 1) + side)
    best = np.int64(lift_level(book.levels, row, price ^ -side, size) == 0)
    book.touch[slot]["unread"] |= np.uint32(best << side)
    return True


@leaf
def cancel_plain(book: Book, slot: Integer, order_id: np.uint64, size: Integer) -> bool:
    """Apply a C of a live order on a level; return False, with nothing done, if it is not that."""
    orders = book.orders
    place, found = locate_order(orders, (slot + 1) << 2, order_id)
    side, price = np.int64(orders[place]["owner"]) & 3, np.int64(orders[place]["price_1e9"])
    left = np.int64(orders[place]["size"]) - size
    odd = (found ^ 1) | np.int64(side == SIDELESS) | np.int64(price == UNDEF_PRICE)
    odd |= np.int64(left < 0)
    odd |= np.int64(np.int64(orders[place]["stamp"]) < book.levels.sides[slot << 1]["cleared"])
    if odd != 0:
        return False
    gone = np.int64(left == 0)
    orders[place]["size"] = left
    book.counters[USED] -= gone
    count_order(book, slot, side, -gone)
    if gone != 0:
        remove_order(orders, place)
    row = natural((slot << 1) + side)
    best = np.int64(drop_level(book.levels, row, price ^ -side, size, gone) == 0)
    book.touch[slot]["unread"] |= np.uint32(best << side)
    return True


@leaf
def modify_plain(
    book: Book, slot: Integer, side: Integer, order_id: np.uint64, price: Integer, size: Integer
) -> bool:
    """Apply an M of a live order on a level; return False, with nothing done, if it is not that."""
    counters, orders = book.counters, book.orders
    place, found = locate_order(orders, (slot + 1) << 2, order_id)
    old_price, old_size = np.int64(orders[place]["price_1e9"]), np.int64(orders[place]["size"])
    old_stamp = np.int64(orders[place]["stamp"])
    odd = (found ^ 1) | np.int64(side == SIDELESS) | np.int64(size == 0)
    odd |= (np.int64(orders[place]["owner"]) & 3) ^ side
    odd |= np.int64(max(price, old_price) == UNDEF_PRICE)
    odd |= np.int64(old_stamp < book.levels.sides[slot << 1]["cleared"])
    if odd != 0:
        return False
    moved = np.int64(price != old_price)
    lifted = moved | np.int64(size > old_size)
    stamp = counters[STAMP] + lifted
    counters[STAMP] = stamp
    orders[place]["price_1e9"] = price
    orders[place]["stamp"] = stamp if lifted else old_stamp
    orders[place]["size"] = size
    row = natural((slot << 1) + side)
    best = move_order(book.levels, row, old_price ^ -side, old_size, price ^ -side, size, moved)
    book.touch[slot]["unread"] |= np.uint32(best << side)
    return True
