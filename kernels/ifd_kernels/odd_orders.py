"""Orders that do not fit the order table's words: their rows in an array of their own.

Odd is a price beyond 140,737 either way (or none), a size from 32,768 on, no side, an order id of
2^46 or more, a slot beyond 131,070, and every order after four thousand million changes of queue
places. An odd order's entry in the table says which row holds what it is; free rows are a list.
Two odd keys may share one word there, so the row says whose it is. Nothing here is in a hurry.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ifd_kernels._jit import kernel, leaf, natural, stay_apart
from ifd_kernels._words import put_word, word_at
from ifd_kernels.book_state import ODD_FREE, ODD_NEXT, Book
from ifd_kernels.layout import Integer
from ifd_kernels.orders import (
    LINE,
    NO_ORDER,
    PLACES,
    PRICE_BIT,
    SIDELESS,
    SIZE_BITS,
    STAMP_BITS,
    home_of,
    identity_of,
    is_odd_key,
    locate_order,
    pack_terms,
    remove_order,
    size_in,
    stamp_at,
)

__all__ = ["ODD", "drop_order", "find_order", "give_row", "key_of", "read_order", "write_order"]

ODD: Final = np.dtype(
    [
        ("order_id", "<u8"),
        ("price_1e9", "<i8"),
        ("stamp", "<i8"),  # queue priority; of a free row the next one, -1: there is none
        ("size", "<u4"),
        ("owner", "<u4"),  # (slot + 1) << 2 | side
    ]
)
_ODD_KEY: Final = np.uint64(1 << 63)


@leaf
def key_of(slot: Integer, order_id: np.uint64) -> np.uint64:
    """Return what stands for the order in the table."""
    identity = identity_of(slot, order_id)
    return identity | _ODD_KEY if is_odd_key(slot, order_id) != 0 else identity


@kernel
def find_order(book: Book, old: bool, slot: Integer, order_id: np.uint64) -> Integer:
    """Return the place of an order in the table, or in the `old` one; NO_ORDER if there is none."""
    stay_apart()
    orders = book.old_orders if old else book.orders
    key = key_of(slot, order_id)
    if is_odd_key(slot, order_id) == 0:
        place, found = locate_order(orders, key)
        return place if found else np.int64(NO_ORDER)
    mask = orders.shape[0] - 1
    line = home_of(orders, key)
    while True:
        for place in range(line, line + PLACES):
            if orders[place]["identity"] == 0:
                return np.int64(NO_ORDER)
            if orders[place]["identity"] != key:
                continue
            row = book.odd[orders[place]["terms"] >> PRICE_BIT]
            if row["order_id"] == order_id and np.int64(row["owner"]) >> 2 == slot + 1:
                return np.int64(place)
        line = natural((line + LINE) & mask)


@leaf
def read_order(book: Book, place: Integer) -> tuple[Integer, Integer, Integer, Integer]:
    """Return side, price, size and stamp of the order at `place` of the table."""
    terms = np.int64(book.orders[place]["terms"])
    size = size_in(terms)
    if size == 0:
        row = natural(terms >> PRICE_BIT)
        odd = book.odd[row]
        side = np.int64(odd["owner"]) & 3
        return side, np.int64(odd["price_1e9"]), np.int64(odd["size"]), np.int64(odd["stamp"])
    return terms & 1, terms >> PRICE_BIT, size, word_at(book.orders, stamp_at(place))


@leaf
def fits(key: np.uint64, side: Integer, price: Integer, size: Integer, stamp: Integer) -> bool:
    """Tell whether an order fits the table's words."""
    odd = np.int64(key >> np.uint64(63)) | size >> SIZE_BITS | stamp >> STAMP_BITS
    odd |= np.int64(side == SIDELESS) | (np.int64(price) << PRICE_BIT >> PRICE_BIT ^ price)
    return bool(odd == 0)


@kernel
def write_order(
    book: Book,
    place: Integer,
    slot: Integer,
    order_id: np.uint64,
    side: Integer,
    price: Integer,
    size: Integer,
    stamp: Integer,
) -> None:
    """Say what the order at `place` of the table is, which it may not have been before."""
    stay_apart()
    counters, orders = book.counters, book.orders
    terms = np.int64(orders[place]["terms"])
    row: Integer = terms >> PRICE_BIT if size_in(terms) == 0 else np.int64(-1)
    if fits(orders[place]["identity"], side, price, size, stamp):
        if row >= 0:
            give_row(book, row)
        orders[place]["terms"] = pack_terms(price, size, side)
        put_word(orders, stamp_at(place), stamp)
        return
    if row < 0:
        row = np.int64(counters[ODD_FREE])
        if row >= 0:
            counters[ODD_FREE] = book.odd[row]["stamp"]
        else:
            row = np.int64(counters[ODD_NEXT])
            counters[ODD_NEXT] = row + 1
        orders[place]["terms"] = row << PRICE_BIT
    book.odd[row]["order_id"] = order_id
    book.odd[row]["price_1e9"] = price
    book.odd[row]["stamp"] = stamp
    book.odd[row]["size"] = size
    book.odd[row]["owner"] = (slot + 1) << 2 | side


@leaf
def give_row(book: Book, row: Integer) -> None:
    """Give the row of an odd order back."""
    book.odd[row]["stamp"] = book.counters[ODD_FREE]
    book.odd[row]["owner"] = 0
    book.counters[ODD_FREE] = row


@kernel
def drop_order(book: Book, place: Integer) -> None:
    """Take the order at `place` out of the table, odd or not."""
    stay_apart()
    terms = np.int64(book.orders[place]["terms"])
    if size_in(terms) == 0:
        give_row(book, terms >> PRICE_BIT)
    remove_order(book.orders, place)
