"""Price levels of every side of every book: sorted arrays in one slab, the best price last.

A level is a key (int64) and a quantity (contracts, orders), in two columns of the slab. The key
of a bid is its price, of an ask the bitwise complement of it, so that keys always rise towards the
best price and no price overflows. A side has one *top* block of up to 128 levels, a power of two
in size, and only when that is not enough *deep* blocks of up to 64 levels behind it, listed in a
directory that is itself a block of the slab (key = lowest key, contracts = base, orders = length).
Nearly all events meet the top block within a few levels of its end; a book of 100,000 levels costs
two binary searches. A block that empties goes to the free list of its size.

A level of the top block that loses its last order stays as a *ghost* unless it is the best: quotes
come back to the prices they left, and then nothing is moved. Ghosts go when they are half of their
block or the block is full; deep blocks have none.

Invariant: a side with deep blocks has a top block that is not empty, and whose keys are all
greater than those of the deep blocks.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel, leaf, natural, stay_apart
from ifd_kernels.layout import Integer, Records

__all__ = ["QUANTITY", "SIDE", "Levels", "clear_side", "drop_level", "lift_level", "rank_level"]

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

SCANNED: Final = 8  # levels compared at once; that many words lie unused at the slab's start
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
    base: Integer = np.int64(SCANNED)
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


@leaf
def rank_level(key: NDArray[np.int64], base: Integer, length: Integer, wanted: Integer) -> Integer:
    """Return how many keys of a top block are <= `wanted`; quick where they are nearly all.

    The last eight keys are compared without a branch (one AVX-512 or two AVX2 instructions).
    """
    better = np.int64(0)
    start = base + length - SCANNED
    for k in range(SCANNED):
        better += np.int64(key[np.uint64(start + k)] > wanted) & np.int64(k >= SCANNED - length)
    if better < SCANNED:
        return length - better
    return search(key, base, length - SCANNED, wanted)


@leaf
def lift_level(levels: Levels, row: Integer, key: Integer, contracts: Integer) -> Integer:
    """Add one order of `contracts` to the level `key` of side `row`; return the rank from the best.

    Rank 0 means that the best level has changed. O(levels better than it), O(log) if deep.
    """
    side = levels.sides
    base = natural(np.int64(side[row]["base"]))
    length = np.int64(side[row]["length"])
    rank = rank_level(levels.key, base, length, key)
    at = natural(base + rank - 1)
    if rank > 0 and levels.key[at] == key:
        orders = levels.quantity[at]["orders"]
        levels.quantity[at]["contracts"] += contracts
        levels.quantity[at]["orders"] = orders + 1
        side[row]["ghosts"] -= np.int64(orders == 0)
        return length - rank
    return insert_level(levels, row, rank, key, contracts)


@kernel
def insert_level(
    levels: Levels, row: Integer, rank: Integer, key: Integer, contracts: Integer
) -> Integer:
    """Add a level that is not there yet after `rank` others; return its rank from the best."""
    stay_apart()
    side = levels.sides
    length = np.int64(side[row]["length"])
    if rank == 0 and side[row]["deep_length"] > 0:
        lift_deep(levels, row, key, contracts)
        return length
    if side[row]["room"] == 0 or length >> np.int64(side[row]["room"]) != 0:
        make_room(levels, row)
        length = np.int64(side[row]["length"])
        rank = rank_level(levels.key, np.int64(side[row]["base"]), length, key)
        if rank == 0 and side[row]["deep_length"] > 0:
            lift_deep(levels, row, key, contracts)
            return length
    base = natural(np.int64(side[row]["base"]))
    end = natural(base + rank)
    k = natural(base + length)
    while k > end:
        before = natural(k - 1)
        levels.key[k] = levels.key[before]
        levels.quantity[k]["contracts"] = levels.quantity[before]["contracts"]
        levels.quantity[k]["orders"] = levels.quantity[before]["orders"]
        k = before
    set_level(levels, end, key, contracts, np.int64(1))
    side[row]["length"] = length + 1
    return length - rank


@kernel
def make_room(levels: Levels, row: Integer) -> None:
    """Free a full top block of ghosts, double it, or split off its worse half as a deep block."""
    stay_apart()
    side = levels.sides
    if side[row]["ghosts"] > 0:
        lay_ghosts(levels, row)
        return
    room = np.int64(side[row]["room"])
    if room < TOP_ROOM:
        change_room(levels, row, room + 1 if room >= SMALLEST else np.int64(SMALLEST))
        return
    half = np.int64(1 << DEEP_ROOM)
    base = np.int64(side[row]["base"])
    block = take_block(levels, np.int64(DEEP_ROOM))
    move_levels(levels, base, block, half)
    side[row]["length"] = np.int64(side[row]["length"]) - half
    move_levels(levels, base + half, base, np.int64(side[row]["length"]))
    list_block(levels, row, np.int64(side[row]["deep_length"]), block, half)


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


@leaf
def drop_level(
    levels: Levels, row: Integer, key: Integer, contracts: Integer, orders: Integer
) -> Integer:
    """Take `contracts` and `orders` (0 or 1) off the level `key`; return its rank from the best.

    The level exists: an order stands on it. Negative `contracts` add to it.
    """
    side = levels.sides
    base = natural(np.int64(side[row]["base"]))
    length = np.int64(side[row]["length"])
    rank = rank_level(levels.key, base, length, key)
    if rank == 0:
        drop_deep(levels, row, key, contracts, orders)
        return length
    at = natural(base + rank - 1)
    levels.quantity[at]["contracts"] -= contracts
    left = levels.quantity[at]["orders"] - orders
    levels.quantity[at]["orders"] = left
    if left == 0:
        ghosts = np.int64(side[row]["ghosts"]) + 1
        if rank == length:
            pop_level(levels, row)
        elif ghosts << 1 > length:
            side[row]["ghosts"] = ghosts
            lay_ghosts(levels, row)
            settle_top(levels, row)
        else:
            side[row]["ghosts"] = ghosts
    return length - rank


@kernel
def lay_ghosts(levels: Levels, row: Integer) -> None:
    """Close the top block's ranks over its ghosts."""
    stay_apart()
    side = levels.sides
    base = np.int64(side[row]["base"])
    kept = base
    for at in range(base, base + np.int64(side[row]["length"])):
        if levels.quantity[at]["orders"] > 0:
            if kept != at:
                move_levels(levels, at, kept, np.int64(1))
            kept += 1
    side[row]["length"] = kept - base
    side[row]["ghosts"] = 0


@leaf
def pop_level(levels: Levels, row: Integer) -> None:
    """Take the best level, which is empty, off the top block, and the ghosts behind it."""
    side = levels.sides
    base = np.int64(side[row]["base"])
    length = np.int64(side[row]["length"]) - 1
    while length > 0 and levels.quantity[natural(base + length - 1)]["orders"] == 0:
        length -= 1
        side[row]["ghosts"] -= 1
    side[row]["length"] = length
    short = length << 2 <= np.int64(1) << np.int64(side[row]["room"])
    if short or side[row]["deep_length"] > 0:
        settle_top(levels, row)


@kernel
def settle_top(levels: Levels, row: Integer) -> None:
    """After a level went: refill a short top block from the deep ones, or make it smaller."""
    stay_apart()
    side = levels.sides
    length = np.int64(side[row]["length"])
    room = np.int64(side[row]["room"])
    count = np.int64(side[row]["deep_length"])
    if count > 0:
        if length >= REFILL:
            return
        last = np.int64(side[row]["deep_base"]) + count - 1
        block = levels.quantity[last]["contracts"]
        more = levels.quantity[last]["orders"]
        base = np.int64(side[row]["base"])
        move_levels(levels, base, base + more, length)
        move_levels(levels, block, base, more)
        side[row]["length"] = length + more
        unlist_block(levels, row, count - 1)
    elif length == 0:
        change_room(levels, row, np.int64(0))
    elif room > SMALLEST and length << 2 <= np.int64(1) << room:
        change_room(levels, row, room - 1)


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


@kernel
def clear_side(levels: Levels, row: Integer) -> None:
    """Drop all levels of side `row`. O(its blocks)."""
    stay_apart()
    side = levels.sides
    while side[row]["deep_length"] > 0:
        unlist_block(levels, row, np.int64(side[row]["deep_length"]) - 1)
    side[row]["length"] = 0
    side[row]["ghosts"] = 0
    if side[row]["room"] > 0:
        change_room(levels, row, np.int64(0))
