"""The order table: every live order of every instrument, one open-addressed array.

An entry is 32 bytes, two to a cache line, and an order may lie at either place of its home line;
when both are taken it goes on to the next line. So most look-ups are one cache miss, and the loop
above hides that one by prefetching. (Single places, probed one by one: 0.51 further lines an event
of W1, which nothing has prefetched, for 0.37 like this; a table of 0.39 load.)
Removal moves back who had to pass: no tombstones, no rot after hundreds of millions of records.
A clear (R) touches no entry: orders older than their side's `cleared` stamp are dead, and are
left out when the table is next rebuilt. How it
grows: `order_growth`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ifd_kernels._jit import kernel, leaf, natural, stay_apart
from ifd_kernels._words import fold_product, opaque
from ifd_kernels.layout import Integer, Records

__all__ = [
    "NO_ORDER",
    "ORDER",
    "copy_order",
    "find_order",
    "free_place",
    "home_of",
    "locate_order",
    "remove_order",
]

ORDER: Final = np.dtype(
    [
        ("order_id", "<u8"),
        ("price_1e9", "<i8"),
        ("stamp", "<i8"),  # queue priority: the smaller stands nearer the head of its level
        ("size", "<u4"),
        ("owner", "<u4"),  # (slot + 1) << 2 | side; 0: this place is free
    ]
)
BID: Final = 0  # sides as the book numbers them
ASK: Final = 1
SIDELESS: Final = 2
NO_ORDER: Final = -1
LINE: Final = 2  # entries in a cache line

_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_SLOT_BIT: Final = np.uint64(46)  # log2: order ids of 13 digits end below the slot's bits


@leaf
def home_of(mask: Integer, owner: Integer, order_id: np.uint64) -> Integer:
    """Return the first place of the order's home line: a hash of (slot, order id), even."""
    identity = order_id ^ (np.uint64(owner >> 2) << _SLOT_BIT)
    return natural(np.int64(fold_product(identity, _MIX) & np.uint64(mask - 1)))


@leaf
def locate_order(orders: Records, owner: Integer, order_id: np.uint64) -> tuple[Integer, Integer]:
    """Return the place of the order with `owner`'s slot, and 1; or where it belongs, and 0.

    O(1) expected. Which of a line's places it is, is chance: nothing here branches on it.
    """
    mask = orders.shape[0] - 1
    wanted = owner >> 2
    place = home_of(mask, owner, order_id)
    while True:
        other = natural(place + 1)
        one, two = np.int64(orders[place]["owner"]), np.int64(orders[other]["owner"])
        differs_one = (orders[place]["order_id"] ^ order_id) | np.uint64((one >> 2) ^ wanted)
        differs_two = (orders[other]["order_id"] ^ order_id) | np.uint64((two >> 2) ^ wanted)
        differs = min(differs_one, differs_two)
        if min(differs, np.uint64(min(one, two))) == 0:
            break
        place = natural((place + LINE) & mask)
    found = np.int64(differs == 0)
    first = differs_one if found else np.uint64(one)
    return natural(place + opaque(np.int64(first != 0))), found


@leaf
def find_order(orders: Records, owner: Integer, order_id: np.uint64) -> Integer:
    """Return the place of the order with `owner`'s slot, or NO_ORDER. O(1) expected."""
    place, found = locate_order(orders, owner, order_id)
    return place if found else np.int64(NO_ORDER)


@leaf
def free_place(orders: Records, owner: Integer, order_id: np.uint64) -> Integer:
    """Return the place where an order that is not in the table belongs."""
    return locate_order(orders, owner, order_id)[0]


@leaf
def copy_order(source: Records, start: Integer, target: Records, end: Integer) -> None:
    """Copy the entry at `start` of `source` to `end` of `target`."""
    target[end]["order_id"] = source[start]["order_id"]
    target[end]["price_1e9"] = source[start]["price_1e9"]
    target[end]["stamp"] = source[start]["stamp"]
    target[end]["size"] = source[start]["size"]
    target[end]["owner"] = source[start]["owner"]


@leaf
def remove_order(orders: Records, place: Integer) -> None:
    """Free `place`; if its line was full, let an order move back that had to pass it."""
    hole = natural(place)
    if orders[natural(place ^ 1)]["owner"] != 0:
        hole = close_line(orders, hole)
    orders[hole]["owner"] = 0


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
        full = orders[at]["owner"] != 0 and orders[natural(at + 1)]["owner"] != 0
        for ahead in range(at, at + LINE):
            owner = np.int64(orders[ahead]["owner"])
            if owner == 0:
                continue
            home = home_of(mask, owner, orders[ahead]["order_id"])
            if (at - home) & mask >= (at - line) & mask:
                copy_order(orders, ahead, orders, hole)
                hole, line = natural(ahead), at
                break
        if not full:
            return hole
