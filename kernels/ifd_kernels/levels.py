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

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel, leaf, natural, stay_apart
from ifd_kernels._words import last_equal, last_greater
from ifd_kernels.layout import Integer
from ifd_kernels.level_blocks import (
    DEEP_ROOM,
    REFILL,
    SCANNED,
    SMALLEST,
    TOP_ROOM,
    Levels,
    change_room,
    drop_deep,
    lift_deep,
    list_block,
    move_levels,
    search,
    set_level,
    take_block,
    unlist_block,
)

__all__ = ["clear_side", "drop_level", "lift_level", "move_order", "rank_level"]


@leaf
def rank_level(key: NDArray[np.int64], base: Integer, length: Integer, wanted: Integer) -> Integer:
    """Return how many keys of a top block are <= `wanted`; quick where they are nearly all.

    What lies before a block of less than eight keys counts as better only if all keys do.
    """
    better = last_greater(key, base + length - SCANNED, wanted)
    if better == SCANNED and length > SCANNED:
        more = last_greater(key, base + length - 2 * SCANNED, wanted)
        if more == SCANNED and length > 2 * SCANNED:
            return search(key, base, length - 2 * SCANNED, wanted)
        better += more
    return max(length - better, np.int64(0))


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


@leaf
def move_order(
    levels: Levels,
    row: Integer,
    key: Integer,
    contracts: Integer,
    new_key: Integer,
    new_contracts: Integer,
    moved: Integer,
) -> Integer:
    """Take an order off level `key`, or if not `moved`, its contracts; put it on `new_key`.

    Return 1 if the best level has changed, else 0. Quick where both levels stand among the best
    eight and none begins or ends at the best price: one look finds the two.
    """
    side, quantity = levels.sides, levels.quantity
    base = np.int64(side[row]["base"])
    length = np.int64(side[row]["length"])
    ghosts = np.int64(side[row]["ghosts"])
    end = base + length
    back = last_equal(levels.key, end - SCANNED, key)
    new_back = last_equal(levels.key, end - SCANNED, new_key)
    at, new_at = natural(end - 1 - back), natural(end - 1 - new_back)
    left = quantity[at]["orders"] - moved
    emptied = np.int64(left == 0)
    far = np.int64(max(back, new_back) >= min(length, np.int64(SCANNED)))
    crowded = np.int64((ghosts + 1) << 1 > length) | np.int64(back == 0)
    if far | emptied & crowded != 0:
        return move_slowly(levels, row, key, contracts, new_key, new_contracts, moved)
    quantity[at]["contracts"] -= contracts
    quantity[at]["orders"] = left
    held = quantity[new_at]["orders"]
    quantity[new_at]["contracts"] += new_contracts
    quantity[new_at]["orders"] = held + moved
    side[row]["ghosts"] = ghosts + emptied - np.int64(held == 0)
    return np.int64(min(back, new_back) == 0)


@kernel
def move_slowly(
    levels: Levels,
    row: Integer,
    key: Integer,
    contracts: Integer,
    new_key: Integer,
    new_contracts: Integer,
    moved: Integer,
) -> Integer:
    """Do what `move_order` does, step by step: levels may begin and end, however deep."""
    stay_apart()
    row = natural(row)
    if moved == 0:
        rank = drop_level(levels, row, key, contracts - new_contracts, moved)
        return np.int64(rank == 0)
    rank = drop_level(levels, row, key, contracts, moved)
    return np.int64(rank == 0) | np.int64(lift_level(levels, row, new_key, new_contracts) == 0)
