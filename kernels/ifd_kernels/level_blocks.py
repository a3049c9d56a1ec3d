"""The slab that price levels lie in: blocks of powers of two, free lists, and deep blocks.

`levels` says what the blocks are for. A deep block holds up to 64 levels behind a side's top block;
the directory that lists them is a block as well (key = lowest key, contracts = base, orders =
length). A deep block that is nearly empty joins a neighbour.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel, leaf, stay_apart
from ifd_kernels.layout import Integer, Records

__all__ = [
    "QUANTITY",
    "SIDE",
    "Levels",
    "change_room",
    "drop_deep",
    "lift_deep",
    "list_block",
    "move_levels",
    "search",
    "set_level",
    "take_block",
    "unlist_block",
]

SIDE: Final = np.dtype(
    [
        ("base", "<i4"),  # of the top block in the slab
        ("length", "<i4"),  # levels in the top block
        ("deep_base", "<i4"),  # of the directory of deep blocks
        ("deep_length", "<i4"),  # deep blocks
        ("orders", "<i4"),  # live orders of this side, on a level or not
        ("room", "u1"),  # log2 of the top block's size; 0: there is none
        ("deep_room", "u1"),  # log2 of the directory's size; 0: there is none
        ("ghosts", "<u2"),  # levels of the top block that no order stands on
        ("cleared", "<i8"),  # orders with a smaller stamp are dead
    ]
)
QUANTITY: Final = np.dtype([("contracts", "<i8"), ("orders", "<i8")])


class Levels(NamedTuple):
    """The slab (n,), the sides (2 a slot: bids at 2 * slot, asks after), and the free blocks."""

    key: NDArray[np.int64]
    quantity: Records  # QUANTITY
    sides: Records  # SIDE
    heap: NDArray[np.int64]  # NEXT, RESERVE, then the first free block of each size


NEXT: Final = 0  # everything from here on has never been used
RESERVE: Final = 1  # the most that one event can take
FREE: Final = 2  # + log2 of the size; -1: no free block of this size
HEAP_WORDS: Final = FREE + 32

SCANNED: Final = 8  # levels compared at once
FIRST: Final = 2 * SCANNED  # of the slab; what lies before may be looked at, and is never a level
SMALLEST: Final = 2  # log2 of the smallest block
TOP_ROOM: Final = 7  # log2 of the biggest top block
DEEP_ROOM: Final = 6  # log2 of a deep block
REFILL: Final = 16  # a top block this short takes in the deep block behind it
SPARSE: Final = 16  # a deep block this short joins a neighbour


@leaf
def take_block(levels: Levels, room: Integer) -> Integer:
    """Return the base of a block of 2 ** room levels. The caller has made sure of the space."""
    heap = levels.heap
    base = heap[FREE + room]
    if base >= 0:
        heap[FREE + room] = levels.key[base]
        return base
    base = heap[NEXT]
    heap[NEXT] = base + (1 << room)
    return base


@leaf
def give_block(levels: Levels, base: Integer, room: Integer) -> None:
    """Give a block back to the free list of its size."""
    levels.key[base] = levels.heap[FREE + room]
    levels.heap[FREE + room] = base


@kernel
def move_levels(levels: Levels, start: Integer, end: Integer, count: Integer) -> None:
    """Copy `count` levels from `start` to `end`; the two may overlap."""
    key, quantity = levels.key, levels.quantity
    first: Integer = np.int64(0)
    last: Integer = count
    step: Integer = np.int64(1)
    if start < end:
        first, last, step = count - 1, np.int64(-1), np.int64(-1)
    k = first
    while k != last:
        key[end + k] = key[start + k]
        quantity[end + k]["contracts"] = quantity[start + k]["contracts"]
        quantity[end + k]["orders"] = quantity[start + k]["orders"]
        k += step


@leaf
def set_level(
    levels: Levels, at: Integer, key: Integer, contracts: Integer, orders: Integer
) -> None:
    """Write one level."""
    levels.key[at] = key
    levels.quantity[at]["contracts"] = contracts
    levels.quantity[at]["orders"] = orders


@kernel
def change_room(levels: Levels, row: Integer, room: Integer) -> None:
    """Move the top block of side `row` to one of 2 ** room levels; 0 gives it back."""
    stay_apart()
    side = levels.sides
    old_room = np.int64(side[row]["room"])
    old_base = np.int64(side[row]["base"])
    base: Integer = np.int64(FIRST)
    if room > 0:
        base = take_block(levels, room)
        move_levels(levels, old_base, base, np.int64(side[row]["length"]))
    if old_room > 0:
        give_block(levels, old_base, old_room)
    side[row]["base"] = base
    side[row]["room"] = room


@kernel
def search(key: NDArray[np.int64], base: Integer, length: Integer, wanted: Integer) -> Integer:
    """Return how many of the `length` rising keys from `base` on are <= `wanted`."""
    low = np.int64(0)
    high = np.int64(length)
    while low < high:
        middle = (low + high) >> 1
        if key[base + middle] <= wanted:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def list_block(levels: Levels, row: Integer, at: Integer, block: Integer, length: Integer) -> None:
    """Insert a deep block into the directory of side `row` at position `at`."""
    stay_apart()
    side = levels.sides
    count = np.int64(side[row]["deep_length"])
    room = np.int64(side[row]["deep_room"])
    base: Integer = np.int64(side[row]["deep_base"])
    if room == 0 or count >> room != 0:
        wider = room + 1 if room >= SMALLEST else np.int64(SMALLEST)
        fresh = take_block(levels, wider)
        move_levels(levels, base, fresh, count)
        if room > 0:
            give_block(levels, base, room)
        base = fresh
        side[row]["deep_base"] = base
        side[row]["deep_room"] = wider
        need = np.int64(4) * (1 << TOP_ROOM) + (np.int64(4) << wider)
        levels.heap[RESERVE] = max(levels.heap[RESERVE], need)
    move_levels(levels, base + at, base + at + 1, count - at)
    set_level(levels, base + at, levels.key[block], block, length)
    side[row]["deep_length"] = count + 1


@kernel
def unlist_block(levels: Levels, row: Integer, at: Integer) -> None:
    """Take the deep block at `at` out of the directory and give its space back."""
    stay_apart()
    side = levels.sides
    base = np.int64(side[row]["deep_base"])
    count = np.int64(side[row]["deep_length"]) - 1
    give_block(levels, levels.quantity[base + at]["contracts"], np.int64(DEEP_ROOM))
    move_levels(levels, base + at + 1, base + at, count - at)
    side[row]["deep_length"] = count
    if count == 0:
        give_block(levels, base, np.int64(side[row]["deep_room"]))
        side[row]["deep_room"] = 0


@kernel
def lift_deep(levels: Levels, row: Integer, key: Integer, contracts: Integer) -> None:
    """Add one order to a level that lies among the deep blocks of side `row`."""
    stay_apart()
    directory = np.int64(levels.sides[row]["deep_base"])
    count = np.int64(levels.sides[row]["deep_length"])
    at = max(search(levels.key, directory, count, key) - 1, 0)
    block = levels.quantity[directory + at]["contracts"]
    length = levels.quantity[directory + at]["orders"]
    rank = search(levels.key, block, length, key)
    if rank > 0 and levels.key[block + rank - 1] == key:
        levels.quantity[block + rank - 1]["contracts"] += contracts
        levels.quantity[block + rank - 1]["orders"] += 1
        return
    if length >> DEEP_ROOM != 0:
        half = length >> 1
        fresh = take_block(levels, np.int64(DEEP_ROOM))
        move_levels(levels, block + half, fresh, length - half)
        levels.quantity[directory + at]["orders"] = half
        list_block(levels, row, at + 1, fresh, length - half)
        directory = np.int64(levels.sides[row]["deep_base"])
        length = half
        if rank > half:
            at, block, rank = at + 1, fresh, rank - half
            length = levels.quantity[directory + at]["orders"]
    move_levels(levels, block + rank, block + rank + 1, length - rank)
    set_level(levels, block + rank, key, contracts, np.int64(1))
    levels.quantity[directory + at]["orders"] = length + 1
    levels.key[directory + at] = levels.key[block]


@kernel
def drop_deep(
    levels: Levels, row: Integer, key: Integer, contracts: Integer, orders: Integer
) -> None:
    """Take `contracts` and `orders` off a level that lies among the deep blocks of side `row`."""
    stay_apart()
    directory = np.int64(levels.sides[row]["deep_base"])
    count = np.int64(levels.sides[row]["deep_length"])
    at = search(levels.key, directory, count, key) - 1
    block = levels.quantity[directory + at]["contracts"]
    length = levels.quantity[directory + at]["orders"]
    rank = search(levels.key, block, length, key) - 1
    levels.quantity[block + rank]["contracts"] -= contracts
    levels.quantity[block + rank]["orders"] -= orders
    if levels.quantity[block + rank]["orders"] > 0:
        return
    move_levels(levels, block + rank + 1, block + rank, length - rank - 1)
    length -= 1
    levels.quantity[directory + at]["orders"] = length
    if length == 0:
        unlist_block(levels, row, at)
        return
    levels.key[directory + at] = levels.key[block]
    if length < SPARSE:
        if at + 1 < count:
            join_blocks(levels, row, at)
        elif at > 0:
            join_blocks(levels, row, at - 1)


@kernel
def join_blocks(levels: Levels, row: Integer, at: Integer) -> None:
    """Join the deep block after `at` to it, if both together leave a quarter free."""
    entry = np.int64(levels.sides[row]["deep_base"]) + at
    length = levels.quantity[entry]["orders"]
    more = levels.quantity[entry + 1]["orders"]
    if (length + more) << 2 > 3 << DEEP_ROOM:
        return
    block = levels.quantity[entry]["contracts"]
    move_levels(levels, levels.quantity[entry + 1]["contracts"], block + length, more)
    levels.quantity[entry]["orders"] = length + more
    unlist_block(levels, row, at + 1)
