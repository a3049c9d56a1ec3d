"""The full level-3 book of all instruments: orders, levels, and the best prices at each F_LAST.

Rules: design §4, 1 to 5. Only A, C, M and R change a book. What the rules leave open: an order
without contracts (size 0) is counted and not kept; one without a side or a price is kept in the
order table, on no level, and counted; a new order and an M that changes the price or adds
contracts go to the tail of the queue, an M that takes contracts away keeps its place.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel, leaf, natural, prefetch, stay_apart
from ifd_kernels.layout import (
    ACTION_ADD,
    ACTION_CANCEL,
    ACTION_CLEAR,
    ACTION_MODIFY,
    APPLIED,
    BBO_CHANGED,
    BOOK_CLEARED,
    DONE,
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_SNAPSHOT,
    NEED_LEVELS,
    NEED_ORDERS,
    SIDE_ASK,
    SIDE_BID,
    TOUCH_CROSSED,
    TOUCH_REBUILT,
    TOUCH_RESET,
    TOUCH_SUSPECT,
    UNDEF_PRICE,
    Integer,
    Records,
    Ring,
)
from ifd_kernels.levels import NEXT, RESERVE, Levels, clear_side, drop_level, lift_level
from ifd_kernels.orders import (
    ASK,
    BID,
    NO_ORDER,
    SIDELESS,
    copy_order,
    find_order,
    free_place,
    home_of,
    remove_order,
)

__all__ = ["Book", "apply_batch", "apply_event", "check_room", "prefetch_event"]


class Book(NamedTuple):
    """All books, by instrument slot.

    `orders` (power of two) is the order table, `old_orders` the smaller one that is being moved
    into it (its length is 1 when there is none), `touch` (slots,) the best prices as read at each
    instrument's last F_LAST, `counters` (COUNTERS,) the state and the health counters below.
    """

    orders: Records
    old_orders: Records
    levels: Levels
    touch: Records
    counters: NDArray[np.int64]


STAMP: Final = 0  # of the newest order
USED: Final = 1  # places taken in `orders`, by dead orders as well
LIMIT: Final = 2  # of USED, before the order table must grow
LIVE: Final = 3  # live orders
MOVED: Final = 4  # places of `old_orders` that are empty already; -1: no table to move
REPLACED_ADDS: Final = 5  # A of a live id
UNKNOWN_CANCELS: Final = 6  # C of an unknown id, ignored
UNKNOWN_MODIFIES: Final = 7  # M of an unknown id, taken as an add
SIDE_CHANGES: Final = 8  # M with another side than the order's, which stays
SIDELESS_ORDERS: Final = 9  # A, or M of an unknown id, with side N
UNPRICED_ORDERS: Final = 10  # A or M to an undefined price
EMPTY_ORDERS: Final = 11  # A, or M of an unknown id, with size 0
EXCESS_CANCELS: Final = 12  # C of more than the order has left
CLEARS: Final = 13  # R
BAD_BOOK_FLAGS: Final = 14  # records with F_MAYBE_BAD_BOOK
CROSSED_CHANGES: Final = 15  # BBO changes that left bid >= ask
COUNTERS: Final = 16
HEALTH: Final = {
    "replaced_adds": REPLACED_ADDS,
    "unknown_cancels": UNKNOWN_CANCELS,
    "unknown_modifies": UNKNOWN_MODIFIES,
    "side_changes": SIDE_CHANGES,
    "sideless_orders": SIDELESS_ORDERS,
    "unpriced_orders": UNPRICED_ORDERS,
    "empty_orders": EMPTY_ORDERS,
    "excess_cancels": EXCESS_CANCELS,
    "clears": CLEARS,
    "bad_book_flags": BAD_BOOK_FLAGS,
    "crossed_changes": CROSSED_CHANGES,
}

BID_MOVED: Final = 1  # bits of touch["unread"]: the best bid was touched since the last F_LAST
ASK_MOVED: Final = 2
BROKEN: Final = 4  # an R or a snapshot record since then: no order-flow imbalance
NEVER_READ: Final = 8

LOOK_AHEAD: Final = 8  # events between a prefetch and its use; 4 and 12 were slower
LOOK_NEAR: Final = 4
MOVED_PER_EVENT: Final = 8  # places of the old order table


@leaf
def check_room(book: Book) -> Integer:
    """Return DONE if the next event surely finds room, else what must grow first."""
    if book.counters[USED] >= book.counters[LIMIT]:
        return NEED_ORDERS
    if book.levels.heap[NEXT] + book.levels.heap[RESERVE] > book.levels.key.shape[0]:
        return NEED_LEVELS
    return DONE


@leaf
def prefetch_event(book: Book, ring: Ring, i: Integer) -> None:
    """Ask for the cache lines that the event at `i` of the ring will need first."""
    i = natural(i)
    slot = natural(np.int64(ring.slot[i]))
    mask = book.orders.shape[0] - 1
    owner = (slot + 1) << 2
    prefetch(book.orders, home_of(mask, owner, ring.order_id[i]))
    if book.counters[MOVED] >= 0:
        old_mask = book.old_orders.shape[0] - 1
        prefetch(book.old_orders, home_of(old_mask, owner, ring.order_id[i]))
    prefetch(book.levels.sides, slot << 1)
    prefetch(book.touch, slot)


@leaf
def prefetch_levels(book: Book, ring: Ring, i: Integer) -> None:
    """Ask for the best levels of the side that the event at `i` of the ring names."""
    i = natural(i)
    row = natural((np.int64(ring.slot[i]) << 1) + np.int64(ring.side[i] == SIDE_ASK))
    sides = book.levels.sides
    last = np.int64(sides[row]["base"]) + np.int64(sides[row]["length"]) - 1
    prefetch(book.levels.key, last)
    prefetch(book.levels.key, last - 7)
    prefetch(book.levels.quantity, last)
    prefetch(book.levels.quantity, last - 3)


@leaf
def side_of(side: Integer) -> Integer:
    """Return the book's number of a side byte."""
    if side == SIDE_BID:
        return BID
    if side == SIDE_ASK:
        return ASK
    return SIDELESS


@kernel
def move_orders(book: Book) -> None:
    """Move a few entries of the old order table; dead ones are left behind. O(1)."""
    stay_apart()
    counters, old = book.counters, book.old_orders
    for _ in range(MOVED_PER_EVENT):
        place = counters[MOVED]
        if place == old.shape[0]:
            counters[MOVED] = -1
            counters[LIMIT] = 0  # stops the next event once: the border frees the old table
            return
        owner = np.int64(old[place]["owner"])
        if owner == 0:
            counters[MOVED] = place + 1
            continue
        row = ((owner >> 2) - 1) << 1
        if old[place]["stamp"] >= book.levels.sides[row]["cleared"]:
            free = free_place(book.orders, owner, old[place]["order_id"])
            copy_order(old, place, book.orders, free)
            counters[USED] += 1
        remove_order(old, place)


@kernel
def fetch_old_order(book: Book, owner: Integer, order_id: np.uint64) -> Integer:
    """Move one order over from the old table; return its place in the new one, or NO_ORDER."""
    stay_apart()
    place = find_order(book.old_orders, owner, order_id)
    if place == NO_ORDER:
        return NO_ORDER
    free = free_place(book.orders, owner, order_id)
    copy_order(book.old_orders, place, book.orders, free)
    book.counters[USED] += 1
    remove_order(book.old_orders, place)
    return free


@leaf
def find_live(book: Book, slot: Integer, order_id: np.uint64) -> Integer:
    """Return the place of a live order, NO_ORDER if there is none."""
    owner = (slot + 1) << 2
    place = find_order(book.orders, owner, order_id)
    if place == NO_ORDER:
        if book.counters[MOVED] >= 0:
            place = fetch_old_order(book, owner, order_id)
        if place == NO_ORDER:
            return NO_ORDER
    place = natural(place)
    if book.orders[place]["stamp"] < book.levels.sides[slot << 1]["cleared"]:
        remove_order(book.orders, place)
        book.counters[USED] -= 1
        return NO_ORDER
    return place


@leaf
def count_order(book: Book, slot: Integer, side: Integer, change: Integer) -> None:
    """Count an order that comes (1) or goes (-1)."""
    book.counters[LIVE] += change
    book.levels.sides[natural((slot << 1) + (side & 1))]["orders"] += change


@kernel
def replace_order(
    book: Book, slot: Integer, old_side: Integer, side: Integer, price: Integer, size: Integer
) -> bool:
    """Count an A of a live id; return whether nothing comes in its place."""
    stay_apart()
    book.counters[REPLACED_ADDS] += 1
    note_new(book, np.int64(ACTION_ADD), side, price, size)
    if size == 0:
        return True
    count_order(book, slot, old_side, np.int64(-1))
    count_order(book, slot, side, np.int64(1))
    return False


@kernel
def note_new(book: Book, action: Integer, side: Integer, price: Integer, size: Integer) -> None:
    """Count what is odd about an A or M of an id that is not live."""
    stay_apart()
    book.counters[UNKNOWN_MODIFIES] += np.int64(action == ACTION_MODIFY)
    if size == 0:
        book.counters[EMPTY_ORDERS] += 1
        return
    book.counters[SIDELESS_ORDERS] += np.int64(side == SIDELESS)
    book.counters[UNPRICED_ORDERS] += np.int64(price == UNDEF_PRICE)


@leaf
def apply_order(
    book: Book,
    action: Integer,
    slot: Integer,
    side: Integer,
    order_id: np.uint64,
    price: Integer,
    size: Integer,
) -> None:
    """Apply an A, C or M: take the old order off its level, put the new one on its level.

    There is one call for each of these steps, so that the loop holds each of them once.
    """
    counters, orders = book.counters, book.orders
    place = find_live(book, slot, order_id)
    gone, lifted = False, action != ACTION_CANCEL and size != 0
    if place == NO_ORDER:
        if action == ACTION_CANCEL:
            counters[UNKNOWN_CANCELS] += 1
            return
        if action == ACTION_MODIFY or size == 0 or side == SIDELESS or price == UNDEF_PRICE:
            note_new(book, action, side, price, size)
            if size == 0:
                return
        place = free_place(orders, (slot + 1) << 2, order_id)
        orders[place]["order_id"] = order_id
        counters[USED] += 1
        count_order(book, slot, side, np.int64(1))
    else:
        place = natural(place)
        old_side = np.int64(orders[place]["owner"]) & 3
        old_price = np.int64(orders[place]["price_1e9"])
        old_size = np.int64(orders[place]["size"])
        taken: Integer = old_size
        orders_taken = np.int64(1)
        if action == ACTION_MODIFY:
            counters[SIDE_CHANGES] += np.int64(side != old_side)
            side = old_side
            gone = bool(size == 0)
            if price == old_price and size != 0:
                taken, orders_taken, lifted = old_size - size, np.int64(0), False
                orders[place]["size"] = size
                if size > old_size:
                    counters[STAMP] += 1
                    orders[place]["stamp"] = counters[STAMP]
            elif size != 0 and price == UNDEF_PRICE:
                counters[UNPRICED_ORDERS] += 1
        elif action == ACTION_CANCEL:
            gone = bool(size >= old_size)
            if not gone:
                taken, orders_taken = size, np.int64(0)
                orders[place]["size"] = old_size - size
            else:
                counters[EXCESS_CANCELS] += np.int64(size > old_size)
        else:
            gone = replace_order(book, slot, old_side, side, price, size)
        if old_side != SIDELESS and old_price != UNDEF_PRICE:
            row = natural((slot << 1) + old_side)
            if drop_level(book.levels, row, old_price ^ -old_side, taken, orders_taken) == 0:
                book.touch[slot]["unread"] |= np.uint32(old_side + 1)
        if gone:
            count_order(book, slot, old_side, np.int64(-1))
            counters[USED] -= 1
            remove_order(orders, place)
            return
    if not lifted:
        return
    place = natural(place)
    counters[STAMP] += 1
    orders[place]["price_1e9"] = price
    orders[place]["stamp"] = counters[STAMP]
    orders[place]["size"] = size
    orders[place]["owner"] = (slot + 1) << 2 | side
    if side != SIDELESS and price != UNDEF_PRICE:
        if lift_level(book.levels, natural((slot << 1) + side), price ^ -side, size) == 0:
            book.touch[slot]["unread"] |= np.uint32(side + 1)


@kernel
def clear_slot(book: Book, slot: Integer) -> None:
    """Drop all orders of one instrument. O(its blocks of levels): its entries just become dead."""
    stay_apart()
    for row in range(slot << 1, (slot << 1) + 2):
        clear_side(book.levels, row)
        book.counters[LIVE] -= np.int64(book.levels.sides[row]["orders"])
        book.levels.sides[row]["orders"] = 0
        book.levels.sides[row]["cleared"] = book.counters[STAMP] + 1
    book.counters[CLEARS] += 1
    book.touch[slot]["unread"] |= np.uint32(BID_MOVED | ASK_MOVED)


@kernel
def note_flags(book: Book, slot: Integer, action: Integer, flags: Integer) -> None:
    """Keep what an R, a snapshot record or F_MAYBE_BAD_BOOK says about the instrument's book."""
    stay_apart()
    state = np.int64(book.touch[slot]["state"])
    if action == ACTION_CLEAR or flags & F_SNAPSHOT:
        book.touch[slot]["unread"] |= np.uint32(BROKEN)
        state &= ~TOUCH_SUSPECT
        if flags & F_SNAPSHOT:
            state |= TOUCH_REBUILT
        else:
            state |= TOUCH_RESET
    if flags & F_MAYBE_BAD_BOOK:
        book.counters[BAD_BOOK_FLAGS] += 1
        state |= TOUCH_SUSPECT
    book.touch[slot]["state"] = np.uint32(state)


@leaf
def read_touch(book: Book, slot: Integer) -> Integer:
    """Read the best prices that may have changed since the last F_LAST; say if any of six did."""
    touch = book.touch
    unread = np.int64(touch[slot]["unread"])
    touch[slot]["unread"] = 0
    changed = unread & NEVER_READ != 0
    old_bid, old_bid_size = np.int64(touch[slot]["bid_price_1e9"]), touch[slot]["bid_size"]
    old_ask, old_ask_size = np.int64(touch[slot]["ask_price_1e9"]), touch[slot]["ask_size"]
    bid: Integer = old_bid
    ask: Integer = old_ask
    bid_size: Integer = old_bid_size
    ask_size: Integer = old_ask_size
    bid_count: Integer = np.int64(touch[slot]["bid_count"])
    ask_count: Integer = np.int64(touch[slot]["ask_count"])
    if unread & BID_MOVED:
        bid, bid_size, bid_count = best_level(book.levels, slot, np.int64(BID))
    if unread & ASK_MOVED:
        ask, ask_size, ask_count = best_level(book.levels, slot, np.int64(ASK))
    changed |= bid != old_bid or bid_size != old_bid_size or bid_count != touch[slot]["bid_count"]
    changed |= ask != old_ask or ask_size != old_ask_size or ask_count != touch[slot]["ask_count"]
    if not changed:
        return APPLIED
    if bid_count > 0 and ask_count > 0 and unread & BROKEN == 0:
        if old_bid != UNDEF_PRICE and old_ask != UNDEF_PRICE:
            flow = bid_size * np.int64(bid >= old_bid) - old_bid_size * np.int64(bid <= old_bid)
            flow -= ask_size * np.int64(ask <= old_ask) - old_ask_size * np.int64(ask >= old_ask)
            touch[slot]["ofi"] += flow
    state = np.int64(touch[slot]["state"]) & ~TOUCH_CROSSED
    if bid >= ask and bid_count > 0 and ask_count > 0:
        state |= TOUCH_CROSSED
        book.counters[CROSSED_CHANGES] += 1
    touch[slot]["state"] = np.uint32(state)
    touch[slot]["bid_price_1e9"] = bid
    touch[slot]["ask_price_1e9"] = ask
    touch[slot]["bid_size"] = bid_size
    touch[slot]["ask_size"] = ask_size
    touch[slot]["bid_count"] = bid_count
    touch[slot]["ask_count"] = ask_count
    touch[slot]["changes"] += 1
    return BBO_CHANGED


@leaf
def best_level(levels: Levels, slot: Integer, side: Integer) -> tuple[Integer, Integer, Integer]:
    """Return the best (price, contracts, orders) of a side, (UNDEF_PRICE, 0, 0) if it is empty."""
    row = natural((slot << 1) + side)
    length = np.int64(levels.sides[row]["length"])
    if length == 0:
        return np.int64(UNDEF_PRICE), np.int64(0), np.int64(0)
    at = natural(np.int64(levels.sides[row]["base"]) + length - 1)
    quantity = levels.quantity[at]
    return levels.key[at] ^ -side, quantity["contracts"], quantity["orders"]


@leaf
def apply_event(book: Book, ring: Ring, i: Integer) -> Integer:
    """Apply the event at index `i` of the ring; return its bits. Room has been checked."""
    i = natural(i)
    slot = natural(np.int64(ring.slot[i]))
    action = np.int64(ring.action[i])
    flags = np.int64(ring.flags[i])
    if book.counters[MOVED] >= 0:
        move_orders(book)
    bits: Integer = APPLIED
    ordered = np.int64(action == ACTION_MODIFY) | np.int64(action == ACTION_ADD)
    if ordered | np.int64(action == ACTION_CANCEL) != 0:
        side = side_of(np.int64(ring.side[i]))
        price, size = ring.price_1e9[i], np.int64(ring.size[i])
        apply_order(book, action, slot, side, ring.order_id[i], price, size)
    elif action == ACTION_CLEAR:
        clear_slot(book, slot)
        bits = BOOK_CLEARED
    if flags & (F_SNAPSHOT | F_MAYBE_BAD_BOOK) != 0 or action == ACTION_CLEAR:
        note_flags(book, slot, action, flags)
    if flags & F_LAST and book.touch[slot]["unread"] != 0:
        bits |= read_touch(book, slot)
    return bits


@kernel
def apply_batch(ring: Ring, start: Integer, stop: Integer, book: Book) -> tuple[Integer, Integer]:
    """Apply events `start` to `stop` (sequence numbers) of the ring to `book`.

    Returns (DONE, stop), or what must grow and the first event not applied. Events of slot -1 are
    left out. O(1) an event.
    """
    mask = np.int64(ring.action.shape[0] - 1)
    for sequence in range(start, stop):
        status = check_room(book)
        if status != DONE:
            return status, sequence
        ahead = natural((sequence + LOOK_AHEAD) & mask)
        if sequence + LOOK_AHEAD < stop and ring.slot[ahead] >= 0:
            prefetch_event(book, ring, ahead)
        near = natural((sequence + LOOK_NEAR) & mask)
        if sequence + LOOK_NEAR < stop and ring.slot[near] >= 0:
            prefetch_levels(book, ring, near)
        i = natural(sequence & mask)
        if ring.slot[i] >= 0:
            apply_event(book, ring, i)
    return DONE, stop
