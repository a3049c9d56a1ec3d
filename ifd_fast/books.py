"""The books' arrays: made, grown, looked at.

The kernels stop with NEED_ORDERS or NEED_LEVELS before an event could run out of room; `grow`
returns the book to go on with. Growth changes no result. A bigger order table is made early and
the kernels touch its pages and then move the entries over, a few an event, so that no event waits
for all of them (`ifd_kernels.order_growth`); the border gives the old one back piece by piece.
"""

from __future__ import annotations

import mmap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_fast.alignment import owner_of
from ifd_fast.errors import UsageError
from ifd_kernels import book as kernel
from ifd_kernels import book_state as state
from ifd_kernels import level_blocks as slab
from ifd_kernels import order_growth
from ifd_kernels.layout import (
    DONE,
    NEED_LEVELS,
    NEED_ORDERS,
    TOUCH,
    UNDEF_PRICE,
    Integer,
    Records,
    Ring,
)
from ifd_kernels.odd_orders import ODD
from ifd_kernels.orders import ASK, BID, LINE, ORDER, PLACES, PRICE_BIT, SIZE_BITS, SLOT_BIT

__all__ = [
    "Level",
    "Order",
    "add_slots",
    "allocate",
    "apply",
    "capacity_orders",
    "counts",
    "empty_slot",
    "grow",
    "grow_levels",
    "levels",
    "levels_of_side",
    "memory_bytes",
    "orders",
]

CACHE_LINE = 64
HAS_SMALL_PAGES = hasattr(mmap, "MADV_NOHUGEPAGE")  # and so MADV_DONTNEED
PIECE_BYTES = 1 << 17  # of an old order table, given back at once: 15 us
ORDERS_MIN = 4
ROWS = 2  # of the table, 16 bytes each, for each order of capacity: 1.5 places and their stamps
ODD_MIN = 1 << 22  # rows for orders that don't fit: address space as well
# Address space, not memory: pages of the slab are taken when a level first lies on them. So much of
# it that the slab hardly ever grows: copying a million levels stalls one event by 8 to 60 ms.
LEVELS_DEFAULT = 1 << 24
LEVELS_MIN = slab.FIRST + 4 * (1 << slab.TOP_ROOM)


class Level(NamedTuple):
    """One price of one side: contracts and orders resting there."""

    price_1e9: int
    contracts: int
    orders: int


class Order(NamedTuple):
    """One resting order."""

    order_id: int
    price_1e9: int
    size: int


def _zeros(count: int, dtype: np.dtype[np.void]) -> Records:
    """Return zeroed records that start on a cache line, so that none lies on two without need."""
    memory = np.zeros(count * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + count * dtype.itemsize].view(dtype)


class _Memory(mmap.mmap):
    """Fresh memory of the system, zeroed, in small pages: one of 2 MiB takes 0.2 to 20 ms.

    A table in big pages makes the book 5 % quicker, but opens too fast to get them in passing.
    """

    released_bytes = 0


def _table(orders: int) -> Records:
    """Return an empty order table that costs nothing until its pages are touched."""
    rows = ROWS * orders
    if rows < PIECE_BYTES // ORDER.itemsize or not HAS_SMALL_PAGES:
        return _zeros(rows, ORDER)
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # of shared pages none would be given back
    memory = _Memory(-1, rows * ORDER.itemsize, flags=private)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, ORDER)


def _release(table: Records) -> bool:
    """Give a piece of an empty table's memory back to the system; return whether that is all."""
    memory = owner_of(table)
    if not isinstance(memory, _Memory):
        return True
    memory.madvise(mmap.MADV_DONTNEED, memory.released_bytes, PIECE_BYTES)
    memory.released_bytes += PIECE_BYTES
    return memory.released_bytes >= len(memory)


def capacity_orders(book: state.Book) -> int:
    """Return the order table's capacity, of which three quarters may be taken."""
    return len(book.orders) // ROWS


def _mark(capacity_orders: int) -> int:
    """Return at how many places taken the next table is made: five eighths."""
    return capacity_orders * 5 // 8


def _limit(capacity_orders: int) -> int:
    """Return how many places may be taken: three quarters; probes are short up to there."""
    return capacity_orders * 3 // 4


def allocate(slots: int, orders: int = 1 << 16, levels: int = LEVELS_DEFAULT) -> state.Book:
    """Return empty books for `slots` instruments.

    `orders` (a power of two) and `levels` are the first capacities; both grow.
    """
    if orders < ORDERS_MIN or orders & (orders - 1):
        raise UsageError(
            f"`orders` must be a power of two of at least {ORDERS_MIN}, was {orders}. Use 65536."
        )
    levels = max(levels, LEVELS_MIN)
    heap = np.full(slab.HEAP_WORDS, -1, np.int64)
    heap[slab.NEXT] = slab.FIRST
    heap[slab.RESERVE] = 4 * (1 << slab.TOP_ROOM)
    counters = np.zeros(state.COUNTERS, np.int64)
    counters[state.LIMIT] = _mark(orders)
    counters[[state.MOVED, state.TOUCHED, state.RELEASED, state.ODD_FREE]] = -1
    return state.Book(
        orders=_zeros(ROWS * orders, ORDER),
        old_orders=_zeros(LINE, ORDER),
        odd=np.zeros(max(ODD_MIN, 2 * orders), ODD),
        levels=slab.Levels(
            key=np.zeros(levels, np.int64),
            quantity=_zeros(levels, slab.QUANTITY),
            sides=_new_sides(slots),
            heap=heap,
        ),
        touch=_new_touch(slots),
        counters=counters,
    )


def _new_sides(slots: int) -> Records:
    sides = _zeros(2 * slots, slab.SIDE)
    sides["base"] = slab.FIRST
    return sides


def _new_touch(slots: int) -> Records:
    touch = _zeros(slots, TOUCH)
    touch["bid_price_1e9"] = touch["ask_price_1e9"] = UNDEF_PRICE
    touch["unread"] = state.NEVER_READ
    return touch


def add_slots(book: state.Book, slots: int) -> state.Book:
    """Return the books with room for `slots` instruments, at least as many as before."""
    before = len(book.touch)
    if slots <= before:
        return book
    sides, touch = _new_sides(slots), _new_touch(slots)
    sides[: 2 * before] = book.levels.sides
    touch[:before] = book.touch
    return book._replace(levels=book.levels._replace(sides=sides), touch=touch)


def empty_slot(book: state.Book, slot: int) -> None:
    """Make one instrument's book that of a slot never used; entries of its orders are dead."""
    clears = book.counters[state.CLEARS]
    kernel.clear_slot(book, np.int64(slot))
    book.counters[state.CLEARS] = clears  # the feed said no R
    book.touch[slot] = _new_touch(1)[0]


def grow(book: state.Book, status: Integer) -> state.Book:
    """Return the book with what `status` (NEED_ORDERS or NEED_LEVELS) asks for."""
    if status == NEED_ORDERS:
        return _grow_orders(book)
    if status == NEED_LEVELS:
        return book._replace(levels=grow_levels(book.levels, 2 * len(book.levels.key)))
    raise UsageError(f"`status` must be NEED_ORDERS or NEED_LEVELS, was {status}.")


def _grow_orders(book: state.Book) -> state.Book:
    """Take the order table's growth a step on: make the next table, move to it, free the old one.

    The next table has room for a quarter more live orders and for what comes until the old one is
    full (at most an eighth of its places). Dead orders stay behind, so after many clears it may be
    as big as before, or smaller.
    """
    counters, capacity = book.counters, capacity_orders(book)
    if counters[state.RELEASED] >= 0:
        counters[state.RELEASED] = 0
        if _release(book.old_orders):
            counters[state.RELEASED] = -1
            counters[state.TENDED] = 0
            book = book._replace(old_orders=_zeros(LINE, ORDER))
    is_idle = counters[state.MOVED] < 0 and counters[state.RELEASED] < 0
    if is_idle and counters[state.TOUCHED] < 0 and counters[state.USED] >= _mark(capacity):
        counters[state.TOUCHED] = 0
        counters[state.TENDED] = 1
        book = book._replace(old_orders=_table(_next_capacity(book)))
    is_waiting = is_idle and counters[state.TOUCHED] < 0
    counters[state.LIMIT] = _mark(capacity) if is_waiting else _limit(capacity)
    return book if counters[state.USED] < counters[state.LIMIT] else _change_orders(book)


def _next_capacity(book: state.Book) -> int:
    need = int(book.counters[state.LIVE]) * 5 // 4 + capacity_orders(book) // 8 + 2
    bigger = ORDERS_MIN
    while _limit(bigger) < need:
        bigger *= 2
    return bigger


def _change_orders(book: state.Book) -> state.Book:
    """Begin to move to the next table, which has been touched by now."""
    counters = book.counters
    while counters[state.MOVED] >= 0:  # never seen: a table has moved before the next is full
        order_growth.move_orders(book)
    fresh, wanted = book.old_orders, _next_capacity(book)
    if counters[state.TOUCHED] < 0 or len(fresh) < ROWS * wanted:  # dead ones gave way to live ones
        fresh = _table(wanted)
    capacity = len(fresh) // ROWS
    counters[state.LIMIT] = _limit(capacity)
    counters[[state.USED, state.MOVED]] = 0
    counters[[state.TOUCHED, state.RELEASED]] = -1
    counters[state.TENDED] = 1
    if len(book.odd) < 2 * capacity:  # more than both tables may hold
        odd, used = np.zeros(2 * capacity, ODD), int(counters[state.ODD_NEXT])
        odd[:used] = book.odd[:used]
        book = book._replace(odd=odd)
    return book._replace(orders=fresh, old_orders=book.orders)


def grow_levels(old: slab.Levels, levels: int) -> slab.Levels:
    """Return the levels in a slab of `levels`, or of what the next event may take."""
    levels = max(levels, int(old.heap[slab.NEXT] + old.heap[slab.RESERVE]))
    key, quantity = np.zeros(levels, np.int64), _zeros(levels, slab.QUANTITY)
    used = int(old.heap[slab.NEXT])
    key[:used], quantity[:used] = old.key[:used], old.quantity[:used]
    return old._replace(key=key, quantity=quantity)


def apply(ring: Ring, start: int, stop: int, book: state.Book) -> state.Book:
    """Apply the ring's events `start` to `stop`, growing as needed; return the book."""
    first: Integer = start
    while True:
        status, first = kernel.apply_batch(ring, first, stop, book)
        if status == DONE:
            return book
        book = grow(book, status)


def levels(book: state.Book, slot: int) -> tuple[list[Level], list[Level]]:
    """Return the bids and the asks of one instrument, best first."""
    return _side_levels(book.levels, slot, BID), _side_levels(book.levels, slot, ASK)


def _side_levels(all_levels: slab.Levels, slot: int, side: int) -> list[Level]:
    found = levels_of_side(all_levels, 2 * slot + side)
    return [level._replace(price_1e9=level.price_1e9 ^ -side) for _, level in found]


def levels_of_side(all_levels: slab.Levels, row: int) -> list[tuple[int, Level]]:
    """Return the (key, level) of one row of sides, the best first; the price is the key's."""
    side = all_levels.sides[row]
    directory = range(int(side["deep_base"]), int(side["deep_base"] + side["deep_length"]))
    blocks = [tuple(map(int, all_levels.quantity[entry].item())) for entry in directory]
    blocks.append((int(side["base"]), int(side["length"])))
    found = []
    for base, length in blocks:
        for at in range(base, base + length):
            key = int(all_levels.key[at])
            contracts, count = map(int, all_levels.quantity[at].item())
            if count > 0:  # else it is a ghost
                found.append((key, Level(key, contracts, count)))
    return found[::-1]


def orders(book: state.Book, slot: int) -> tuple[list[Order], list[Order]]:
    """Return the bids and the asks of one instrument by price, then queue priority.

    Orders without a price come last, orders without a side not at all. O(order table).
    """
    mine = _unpack(book, book.orders, slot)
    if book.counters[state.MOVED] >= 0:
        mine = np.concatenate([mine, _unpack(book, book.old_orders, slot)])
    mine = mine[mine["stamp"] >= book.levels.sides[2 * slot]["cleared"]]
    return _sort_orders(mine, BID), _sort_orders(mine, ASK)


def _unpack(book: state.Book, table: Records, slot: int) -> Records:
    """Return the table's entries of one instrument, dead ones as well, as rows of ODD."""
    lines = table.reshape(-1, LINE)[:, :PLACES]
    stamps = table.view(np.uint32).reshape(-1, 4 * LINE)[:, 4 * PLACES : 5 * PLACES]
    taken = lines["identity"] != 0
    identity, terms, stamp = lines["identity"][taken], lines["terms"][taken], stamps[taken]
    size = terms >> 1 & (1 << SIZE_BITS) - 1
    odd = book.odd[terms[size == 0] >> PRICE_BIT]
    own = (identity >> SLOT_BIT == slot + 1) & (size > 0)
    found = np.zeros(np.count_nonzero(own), ODD)
    found["order_id"] = identity[own] & ((1 << SLOT_BIT) - 1)
    found["price_1e9"], found["stamp"] = terms[own] >> PRICE_BIT, stamp[own]
    found["size"], found["owner"] = size[own], (slot + 1) << 2 | terms[own] & 1
    return np.concatenate([found, odd[odd["owner"] >> 2 == slot + 1]])


def _sort_orders(mine: Records, side: int) -> list[Order]:
    mine = mine[mine["owner"] & 3 == side]
    price: NDArray[np.int64] = mine["price_1e9"]
    worst_last = price if side == ASK else ~price
    ranks = np.lexsort((mine["stamp"], worst_last, price == UNDEF_PRICE))
    return [
        Order(int(order["order_id"]), int(order["price_1e9"]), int(order["size"]))
        for order in mine[ranks]
    ]


def counts(book: state.Book) -> dict[str, int]:
    """Return the health counters by name, and `live_orders`."""
    names = {"live_orders": state.LIVE} | state.HEALTH
    return {name: int(book.counters[index]) for name, index in names.items()}


def memory_bytes(book: state.Book) -> int:
    """Return the bytes of the arrays that are in use: of the slab only what was ever touched."""
    used = int(book.levels.heap[slab.NEXT]) * (8 + slab.QUANTITY.itemsize)
    used += int(book.counters[state.ODD_NEXT]) * ODD.itemsize
    whole = (book.orders, book.old_orders, book.levels.sides, book.touch)
    return used + sum(array.nbytes for array in whole)
