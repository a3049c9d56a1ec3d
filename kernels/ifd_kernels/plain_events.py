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
from ifd_kernels._words import put_word, word_at
from ifd_kernels.book_state import LIVE, MOVED, STAMP, USED, Book
from ifd_kernels.layout import Integer
from ifd_kernels.levels import drop_level, lift_level, move_order
from ifd_kernels.orders import (
    PRICE_BIT,
    SIDELESS,
    SIZE_BITS,
    STAMP_BITS,
    free_place,
    identity_of,
    is_odd_key,
    locate_order,
    pack_terms,
    remove_order,
    size_in,
    stamp_at,
)

__all__ = ["add_plain", "cancel_plain", "count_order", "modify_plain"]


@leaf
def count_order(book: Book, slot: Integer, side: Integer, change: Integer) -> None:
    """Count an order that comes (1) or goes (-1)."""
    book.counters[LIVE] += change
    book.levels.sides[natural((slot << 1) + (side & 1))]["orders"] += change


@leaf
def is_odd(slot: Integer, order_id: np.uint64, price: Integer, size: Integer) -> Integer:
    """Return 0 if neither id nor price nor size needs more room than the table's words have."""
    odd = is_odd_key(slot, order_id) | size >> SIZE_BITS | np.int64(size == 0)
    return odd | (price << PRICE_BIT >> PRICE_BIT ^ price)


@leaf
def add_plain(
    book: Book, slot: Integer, side: Integer, order_id: np.uint64, price: Integer, size: Integer
) -> bool:
    """Apply an A of a new id to a level; return False, with nothing done, if it is not that."""
    counters, orders = book.counters, book.orders
    identity = identity_of(slot, order_id)
    place, found = free_place(orders, identity)
    stamp = counters[STAMP] + 1
    odd = found | np.int64(side == SIDELESS) | is_odd(slot, order_id, price, size)
    odd |= stamp >> STAMP_BITS | np.int64(counters[MOVED] >= 0)
    if odd != 0:
        return False
    counters[STAMP] = stamp
    counters[USED] += 1
    orders[place]["identity"] = identity
    orders[place]["terms"] = pack_terms(price, size, side)
    put_word(orders, stamp_at(place), stamp)
    count_order(book, slot, side, np.int64(1))
    row = natural((slot << 1) + side)
    best = np.int64(lift_level(book.levels, row, price ^ -side, size) == 0)
    book.touch[slot]["unread"] |= np.uint32(best << side)
    return True


@leaf
def cancel_plain(book: Book, slot: Integer, order_id: np.uint64, size: Integer) -> bool:
    """Apply a C of a live order on a level; return False, with nothing done, if it is not that."""
    orders = book.orders
    place, found = locate_order(orders, identity_of(slot, order_id))
    terms, stamp = np.int64(orders[place]["terms"]), word_at(orders, stamp_at(place))
    old_size = size_in(terms)
    side, left = terms & 1, old_size - size
    odd = (found ^ 1) | is_odd_key(slot, order_id) | np.int64(old_size == 0)
    odd |= np.int64(left < 0) | np.int64(stamp < book.levels.sides[slot << 1]["cleared"])
    if odd != 0:
        return False
    gone = np.int64(left == 0)
    book.counters[USED] -= gone
    count_order(book, slot, side, -gone)
    if gone != 0:
        remove_order(orders, place)
    else:
        orders[place]["terms"] = terms - (size << 1)
    row = natural((slot << 1) + side)
    key = (terms >> PRICE_BIT) ^ -side
    best = np.int64(drop_level(book.levels, row, key, size, gone) == 0)
    book.touch[slot]["unread"] |= np.uint32(best << side)
    return True


@leaf
def modify_plain(
    book: Book, slot: Integer, side: Integer, order_id: np.uint64, price: Integer, size: Integer
) -> bool:
    """Apply an M of a live order on a level; return False, with nothing done, if it is not that."""
    counters, orders = book.counters, book.orders
    place, found = locate_order(orders, identity_of(slot, order_id))
    terms, old_stamp = np.int64(orders[place]["terms"]), word_at(orders, stamp_at(place))
    old_price, old_size = terms >> PRICE_BIT, size_in(terms)
    moved = np.int64(price != old_price)
    lifted = moved | np.int64(size > old_size)
    stamp = counters[STAMP] + lifted
    odd = (found ^ 1) | ((terms & 1) ^ side) | is_odd(slot, order_id, price, size)
    odd |= np.int64(old_size == 0) | stamp >> STAMP_BITS
    odd |= np.int64(old_stamp < book.levels.sides[slot << 1]["cleared"])
    if odd != 0:
        return False
    counters[STAMP] = stamp
    orders[place]["terms"] = pack_terms(price, size, side)
    put_word(orders, stamp_at(place), stamp if lifted else old_stamp)
    row = natural((slot << 1) + side)
    best = move_order(book.levels, row, old_price ^ -side, old_size, price ^ -side, size, moved)
    book.touch[slot]["unread"] |= np.uint32(best << side)
    return True
