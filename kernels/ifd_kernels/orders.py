"""The order table: every live order of every instrument, one open-addressed array.

An entry is 20 bytes, three to a cache line: who it is (slot and order id in one word), what it is
(price, size and side in another), and when it came to its place in the queue, which lies with its
neighbours' in the line's last quarter. An order may lie at any place of its home line; when all
are taken it goes on to the next line. What does not fit has its rest elsewhere: `odd_orders`.
A look-up is one cache miss, which the loop above hides by prefetching; one order in twenty lies in
another line. (Entries of 32 bytes, two to a line, in as many lines: one in five did, the next line
was prefetched as well: 23 instructions less, and 10 to 19 % more time for the book. Tried with
them: not to prefetch that line, 16 % slower; only behind a full line, four events ahead, 5 to 9 %
slower; a new order in its home line and an older one sent on, 3 % quicker. Twice the lines and no
second prefetch were 10 to 17 % quicker, in twice the memory.)
Removal moves back who had to pass: no tombstones, no rot after hundreds of millions of records.
A clear (R) touches no entry: orders older than their side's `cleared` stamp are dead, and are
left out when the table is next rebuilt. How it grows: `order_growth`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ifd_kernels._jit import kernel, leaf, natural, stay_apart
from ifd_kernels._words import fold_product, opaque, put_word, word_at
from ifd_kernels.layout import Integer, Records

__all__ = [
    "NO_ORDER",
    "ORDER",
    "copy_order",
    "free_place",
    "home_of",
    "identity_of",
    "is_odd_key",
    "locate_order",
    "next_free",
    "pack_terms",
    "remove_order",
    "size_in",
    "stamp_at",
]

ORDER: Final = np.dtype(
    [
        ("identity", "<u8"),  # slot + 1 above the order id; 0: this place is free
        ("terms", "<i8"),  # price_1e9 above 15 bits of size and one of side; size 0: odd
    ]
)
BID: Final = 0  # sides as the book numbers them
ASK: Final = 1
SIDELESS: Final = 2
NO_ORDER: Final = -1
LINE: Final = 4  # rows in a cache line: three orders, and the row of their stamps
PLACES: Final = 3
SIZE_BITS: Final = 15
PRICE_BIT: Final = 16
STAMP_BITS: Final = 32
SLOT_BIT: Final = 46  # of an identity; order ids of 13 digits end below

_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_KEY_SLOT_BITS: Final = np.uint64(17)


@leaf
def identity_of(slot: Integer, order_id: np.uint64) -> np.uint64:
    """Return the slot and the order id in one word: no other's if `is_odd_key` is 0."""
    return order_id ^ (np.uint64(slot + 1) << np.uint64(SLOT_BIT))


@leaf
def is_odd_key(slot: Integer, order_id: np.uint64) -> Integer:
    """Return 0 if the slot and the order id fit into one word side by side, bit 63 left free."""
    return np.int64((order_id >> np.uint64(SLOT_BIT)) | (np.uint64(slot + 1) >> _KEY_SLOT_BITS))


@leaf
def pack_terms(price: Integer, size: Integer, side: Integer) -> Integer:
    """Return price, size and side (0 or 1) in one word."""
    return np.int64(price) << PRICE_BIT | size << 1 | side


@leaf
def size_in(terms: Integer) -> Integer:
    """Return the size in `terms`; 0 for an odd order."""
    return terms >> 1 & (1 << SIZE_BITS) - 1


@leaf
def stamp_at(place: Integer) -> Integer:
    """Return which of the u32 words of the table's memory is the queue stamp of `place`."""
    return natural((place << 2) - 3 * (place & 3) + 12)


@leaf
def home_of(orders: Records, identity: np.uint64) -> Integer:
    """Return the first place of the order's home line, by a hash."""
    lines = np.uint64(orders.shape[0] - LINE)
    return natural(np.int64(fold_product(identity, _MIX) & lines))


@leaf
def locate_order(orders: Records, identity: np.uint64) -> tuple[Integer, Integer]:
    """Return the place of the order `identity`, and 1; any place, and 0, if it has none.

    O(1) expected. Which of a line's places it is, is chance: nothing here branches on it.
    """
    mask = orders.shape[0] - 1
    place = home_of(orders, identity)
    while True:
        one = orders[place]["identity"]
        two = orders[natural(place + 1)]["identity"]
        three = orders[natural(place + 2)]["identity"]
        past_one, past_two = np.int64(one != identity), np.int64(two != identity)
        absent = past_one & past_two & np.int64(three != identity)
        if (absent ^ 1) | np.int64(min(one, two, three) == 0) != 0:
            break
        place = natural((place + LINE) & mask)
    past_one = opaque(past_one)
    return natural(place + past_one + (past_one & past_two)), absent ^ 1


@leaf
def free_place(orders: Records, identity: np.uint64) -> tuple[Integer, Integer]:
    """Return where the order `identity` may lie, and 0; or any place, and 1, if it is there."""
    mask = orders.shape[0] - 1
    place = home_of(orders, identity)
    while True:
        one = orders[place]["identity"]
        two = orders[natural(place + 1)]["identity"]
        three = orders[natural(place + 2)]["identity"]
        found = np.int64(one == identity) | np.int64(two == identity) | np.int64(three == identity)
        past_one, past_two = np.int64(one != 0), np.int64(two != 0)
        if (past_one & past_two & np.int64(three != 0)) == 0 or found != 0:
            break
        place = natural((place + LINE) & mask)
    past_one = opaque(past_one)
    return natural(place + past_one + (past_one & past_two)), found


@leaf
def next_free(orders: Records, identity: np.uint64) -> Integer:
    """Return the first free place where the order `identity` may lie, whoever has passed it."""
    place = home_of(orders, identity)
    mask = orders.shape[0] - 1
    while orders[place]["identity"] != 0:
        place = natural((place + 1) & mask)
        if place & 3 == PLACES:
            place = natural((place + 1) & mask)
    return place


@leaf
def copy_order(source: Records, start: Integer, target: Records, end: Integer) -> None:
    """Copy the entry at `start` of `source` to `end` of `target`."""
    target[end]["identity"] = source[start]["identity"]
    target[end]["terms"] = source[start]["terms"]
    put_word(target, stamp_at(end), word_at(source, stamp_at(start)))


@leaf
def remove_order(orders: Records, place: Integer) -> None:
    """Free `place`; if its line was full, let an order move back that had to pass it."""
    hole = natural(place)
    if is_full(orders, natural(place & -LINE)) != 0:
        hole = close_line(orders, hole)
    orders[hole]["identity"] = 0


@leaf
def is_full(orders: Records, line: Integer) -> Integer:
    """Return whether all places of the line at `line` are taken."""
    one, two = orders[line]["identity"], orders[natural(line + 1)]["identity"]
    return np.int64(min(one, two, orders[natural(line + 2)]["identity"]) != 0)


@kernel
def close_line(orders: Records, hole: Integer) -> Integer:
    """Move orders that had to pass the full line of `hole` back; return the place to free.

    Only who found a line full went on to the next, so the first line with a free place ends it.
    """
    stay_apart()
    mask = orders.shape[0] - 1
    line = natural(hole & -LINE)
    at = line
    while True:
        at = natural((at + LINE) & mask)
        full = is_full(orders, at)
        for ahead in range(at, at + PLACES):
            identity = orders[ahead]["identity"]
            if identity == 0:
                continue
            home = home_of(orders, identity)
            if (at - home) & mask >= (at - line) & mask:
                copy_order(orders, ahead, orders, hole)
                hole, line = natural(ahead), at
                break
        if full == 0:
            return hole
