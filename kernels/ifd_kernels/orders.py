"""The order table: every live order of every instrument, one open-addressed array.

An entry is 32 bytes, two to a cache line, so that one look-up is one cache miss, and the loop
above hides that one by prefetching. Removal shifts the rest of the cluster back: no tombstones, no
rot after hundreds of millions of records. A clear (R) touches no entry: orders older than their
side's `cleared` stamp are dead, and are left out when the table is next rebuilt.

Growth has no stall: the border hands in a bigger empty array, and each event then moves a few
entries of the old one. An order found in the old array moves at once, so that everything else
works on the new one only.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ifd_kernels._jit import leaf, natural
from ifd_kernels.layout import Integer, Records

__all__ = ["NO_ORDER", "ORDER", "find_order", "free_place", "home_of", "remove_order"]

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

_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)
_MIX_LOW: Final = np.uint64(0x9E3779B1)  # odd 32-bit constants: no product leaves 64 bits,
_MIX_HIGH: Final = np.uint64(0x85EBCA77)  # so that the code also runs with the compiler off
_MIX_OWNER: Final = np.uint64(0xC2B2AE3D)


@leaf
def home_of(mask: Integer, owner: Integer, order_id: np.uint64) -> Integer:
    """Return the first place to look for the order: a hash of (slot, order id)."""
    low = (order_id & _LOW) * _MIX_LOW
    high = (order_id >> _HALF) * _MIX_HIGH
    mixed = low ^ high ^ (np.uint64(owner >> 2) * _MIX_OWNER)
    return natural(np.int64(mixed ^ (mixed >> _HALF)) & mask)


@leaf
def find_order(orders: Records, owner: Integer, order_id: np.uint64) -> Integer:
    """Return the place of the order with `owner`'s slot, or NO_ORDER. O(1) expected."""
    mask = orders.shape[0] - 1
    place = home_of(mask, owner, order_id)
    while True:
        found = np.int64(orders[place]["owner"])
        if found == 0:
            return NO_ORDER
        if orders[place]["order_id"] == order_id and found >> 2 == owner >> 2:
            return place
        place = natural((place + 1) & mask)


@leaf
def free_place(orders: Records, owner: Integer, order_id: np.uint64) -> Integer:
    """Return the place where an order that is not in the table belongs."""
    mask = orders.shape[0] - 1
    place = home_of(mask, owner, order_id)
    while orders[place]["owner"] != 0:
        place = natural((place + 1) & mask)
    return place


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
    """Free `place` and shift back what follows it in its cluster, as if it had never been there."""
    mask = orders.shape[0] - 1
    hole = place
    ahead = natural((place + 1) & mask)
    while True:
        owner = np.int64(orders[ahead]["owner"])
        if owner == 0:
            break
        home = home_of(mask, owner, orders[ahead]["order_id"])
        if (ahead - home) & mask >= (ahead - hole) & mask:
            copy_order(orders, ahead, orders, hole)
            hole = ahead
        ahead = natural((ahead + 1) & mask)
    orders[hole]["owner"] = 0
