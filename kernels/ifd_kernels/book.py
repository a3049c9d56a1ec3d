"""The full level-3 book of all instruments: orders, levels, and the best prices at each F_LAST.

Rules: design §4, 1 to 5. Only A, C, M and R change a book. What the rules leave open: an order
without contracts (size 0) is counted and not kept; one without a side or a price is kept in the
order table, on no level, and counted; a new order and an M that changes the price or adds
contracts go to the tail of the queue, an M that takes contracts away keeps its place.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ifd_kernels._jit import kernel, leaf, natural, prefetch, stay_apart
from ifd_kernels.book_state import (
    ASK_MOVED,
    BAD_BOOK_FLAGS,
    BID_MOVED,
    BROKEN,
    CLEARS,
    EMPTY_ORDERS,
    EXCESS_CANCELS,
    HEALTH,
    LIVE,
    MOVED,
    REPLACED_ADDS,
    SIDE_CHANGES,
    SIDELESS_ORDERS,
    STAMP,
    TENDED,
    UNKNOWN_CANCELS,
    UNKNOWN_MODIFIES,
    UNPRICED_ORDERS,
    USED,
    Book,
    check_room,
)
from ifd_kernels.layout import (
    ACTION_ADD,
    ACTION_CANCEL,
    ACTION_CLEAR,
    ACTION_MODIFY,
    APPLIED,
    BOOK_CLEARED,
    DONE,
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_SNAPSHOT,
    SIDE_ASK,
    SIDE_BID,
    TOUCH_REBUILT,
    TOUCH_RESET,
    TOUCH_SUSPECT,
    UNDEF_PRICE,
    Integer,
    Ring,
)
from ifd_kernels.levels import clear_side, drop_level, lift_level
from ifd_kernels.odd_orders import drop_order, key_of, read_order, write_order
from ifd_kernels.order_growth import find_live, tend_tables
from ifd_kernels.orders import (
    ASK,
    BID,
    NO_ORDER,
    SIDELESS,
    home_of,
    identity_of,
    next_free,
    pack_terms,
)
from ifd_kernels.plain_events import add_plain, cancel_plain, count_order, modify_plain
from ifd_kernels.touches import read_touch

__all__ = [
    "HEALTH",
    "LIVE",
    "Book",
    "apply_batch",
    "apply_event",
    "check_room",
    "prefetch_book",
    "prefetch_levels",
    "prefetch_order",
]


# Events between a prefetch and its use. 12/6, 16/4, 16/8, 24/8 and 32/8 cost the same or up to 5 ns
# more (W1, loaded machine). Tried as well and not quicker: levels that are moved at once rather
# than left as ghosts (63 against 61 ns); without the lines of `last - 7` and `last - 3` (the same).
LOOK_AHEAD: Final = 8
LOOK_NEAR: Final = 4


@leaf
def prefetch_order(book: Book, ring: Ring, i: Integer) -> None:
    """Ask for the order table's line of the event at `i` of the ring.

    It misses the processor's table of pages as well, and a prefetch is not done before its page
    is found.
    """
    i = natural(i)
    identity = identity_of(natural(np.int64(ring.slot[i])), ring.order_id[i])
    prefetch(book.orders, home_of(book.orders, identity))
    if book.counters[MOVED] >= 0:
        prefetch(book.old_orders, home_of(book.old_orders, identity))


@leaf
def prefetch_book(book: Book, ring: Ring, i: Integer) -> None:
    """Ask for what the book begins with that the event at `i` of the ring is for."""
    slot = natural(np.int64(ring.slot[natural(i)]))
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
def apply_quick(
    book: Book,
    action: Integer,
    slot: Integer,
    side: Integer,
    order_id: np.uint64,
    price: Integer,
    size: Integer,
) -> None:
    """Apply an A, C or M: at once where it is plain, else by `apply_order`.

    What is odd about an event costs a call, and is decided in one place, whatever the action.
    """
    if action == ACTION_MODIFY:
        plain = modify_plain(book, slot, side, order_id, price, size)
    elif action == ACTION_ADD:
        plain = add_plain(book, slot, side, order_id, price, size)
    else:
        plain = cancel_plain(book, slot, order_id, size)
    if not plain:
        apply_order(book, action, slot, side, order_id, price, size)


@kernel
def apply_order(
    book: Book,
    action: Integer,
    slot: Integer,
    side: Integer,
    order_id: np.uint64,
    price: Integer,
    size: Integer,
) -> None:
    """Apply any A, C or M: take the old order off its level, put the new one on its level."""
    stay_apart()
    slot = natural(slot)
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
        key = key_of(slot, order_id)
        place = next_free(orders, key)
        orders[place]["identity"] = key
        orders[place]["terms"] = pack_terms(np.int64(0), np.int64(1), np.int64(0))  # not odd yet
        counters[USED] += 1
        count_order(book, slot, side, np.int64(1))
    else:
        place = natural(place)
        old_side, old_price, old_size, stamp = read_order(book, place)
        taken: Integer = old_size
        orders_taken = np.int64(1)
        if action == ACTION_MODIFY:
            counters[SIDE_CHANGES] += np.int64(side != old_side)
            side = old_side
            gone = bool(size == 0)
            if price == UNDEF_PRICE:
                counters[UNPRICED_ORDERS] += np.int64(size != 0)
            if price == old_price and size != 0:
                taken, orders_taken, lifted = old_size - size, np.int64(0), False
                counters[STAMP] += np.int64(size > old_size)
                stamp = counters[STAMP] if size > old_size else stamp
                write_order(book, place, slot, order_id, side, price, size, stamp)
        elif action == ACTION_CANCEL:
            gone = bool(size >= old_size)
            if not gone:
                taken, orders_taken = size, np.int64(0)
                left = old_size - size
                write_order(book, place, slot, order_id, old_side, old_price, left, stamp)
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
            drop_order(book, place)
            return
    if not lifted:
        return
    counters[STAMP] += 1
    write_order(book, natural(place), slot, order_id, side, price, size, counters[STAMP])
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
        if action == ACTION_CLEAR:
            state &= ~TOUCH_SUSPECT  # adds of a snapshot leave what a gap left behind
        if flags & F_SNAPSHOT:
            state |= TOUCH_REBUILT
        else:
            state |= TOUCH_RESET
    if flags & F_MAYBE_BAD_BOOK:
        book.counters[BAD_BOOK_FLAGS] += 1
        state |= TOUCH_SUSPECT
    book.touch[slot]["state"] = np.uint32(state)


@leaf
def apply_event(book: Book, ring: Ring, i: Integer) -> Integer:
    """Apply the event at index `i` of the ring; return its bits. Room has been checked."""
    i = natural(i)
    slot = natural(np.int64(ring.slot[i]))
    action = np.int64(ring.action[i])
    flags = np.int64(ring.flags[i])
    if book.counters[TENDED] != 0:
        tend_tables(book)
    bits: Integer = APPLIED
    ordered = np.int64(action == ACTION_MODIFY) | np.int64(action == ACTION_ADD)
    if ordered | np.int64(action == ACTION_CANCEL) != 0:
        side = side_of(np.int64(ring.side[i]))
        price, size = ring.price_1e9[i], np.int64(ring.size[i])
        apply_quick(book, action, slot, side, ring.order_id[i], price, size)
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
            prefetch_order(book, ring, ahead)
            prefetch_book(book, ring, ahead)
        near = natural((sequence + LOOK_NEAR) & mask)
        if sequence + LOOK_NEAR < stop and ring.slot[near] >= 0:
            prefetch_levels(book, ring, near)
        i = natural(sequence & mask)
        if ring.slot[i] >= 0:
            apply_event(book, ring, i)
    return DONE, stop
