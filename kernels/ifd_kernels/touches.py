"""The best prices of an instrument, as they are read at its F_LAST."""

from __future__ import annotations

import numpy as np

from ifd_kernels._jit import kernel, leaf, natural, stay_apart
from ifd_kernels._words import opaque
from ifd_kernels.book_state import (
    ASK_MOVED,
    BID_MOVED,
    BROKEN,
    CROSSED_CHANGES,
    NEVER_READ,
    Book,
)
from ifd_kernels.layout import (
    APPLIED,
    BBO_CHANGED,
    TOUCH_CROSSED,
    UNDEF_PRICE,
    Integer,
)
from ifd_kernels.level_blocks import Levels
from ifd_kernels.orders import ASK, BID

__all__ = ["best_level", "read_touch"]


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
def read_touch(book: Book, slot: Integer) -> Integer:
    """Read the best prices that may have changed since the last F_LAST; say if any of six did.

    Nearly always one side alone has been touched: then which one it is costs no branch.
    """
    touch = book.touch
    unread = np.int64(touch[slot]["unread"])
    touch[slot]["unread"] = 0
    if unread > ASK_MOVED:
        return read_both(book, slot, unread)
    side = unread >> 1
    price, size, count = best_level(book.levels, slot, side)
    bid, ask = np.int64(touch[slot]["bid_price_1e9"]), np.int64(touch[slot]["ask_price_1e9"])
    bid_size, ask_size = np.int64(touch[slot]["bid_size"]), np.int64(touch[slot]["ask_size"])
    bid_count, ask_count = np.int64(touch[slot]["bid_count"]), np.int64(touch[slot]["ask_count"])
    is_ask = opaque(-side)  # all bits, or none
    turn_price, turn_size = (bid ^ ask) & is_ask, (bid_size ^ ask_size) & is_ask
    turn_count = (bid_count ^ ask_count) & is_ask
    old_price, old_size, old_count = bid ^ turn_price, bid_size ^ turn_size, bid_count ^ turn_count
    new_price, new_size, new_count = price ^ old_price, size ^ old_size, count ^ old_count
    if new_price | new_size | new_count == 0:
        return APPLIED
    both = min(count, ask_count ^ turn_count)
    bid ^= new_price & ~is_ask
    ask ^= new_price & is_ask
    if min(both, old_count) > 0:
        key, old_key = price ^ -side, old_price ^ -side
        flow = size * np.int64(key >= old_key) - old_size * np.int64(key <= old_key)
        touch[slot]["ofi"] += (flow ^ -side) + side
    crossed = np.int64(both > 0) & np.int64(bid >= ask)
    book.counters[CROSSED_CHANGES] += crossed
    state = np.int64(touch[slot]["state"]) & ~TOUCH_CROSSED
    touch[slot]["state"] = np.uint32(state | TOUCH_CROSSED * crossed)
    touch[slot]["bid_price_1e9"] = bid
    touch[slot]["ask_price_1e9"] = ask
    touch[slot]["bid_size"] = bid_size ^ (new_size & ~is_ask)
    touch[slot]["ask_size"] = ask_size ^ (new_size & is_ask)
    touch[slot]["bid_count"] = bid_count ^ (new_count & ~is_ask)
    touch[slot]["ask_count"] = ask_count ^ (new_count & is_ask)
    touch[slot]["changes"] += 1
    return BBO_CHANGED


@kernel
def read_both(book: Book, slot: Integer, unread: Integer) -> Integer:
    """Read both sides where `unread` says so; the first time, after an R, or after both moved."""
    stay_apart()
    touch = book.touch
    slot = natural(slot)
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
