"""The order book as the rules say it, in plain Python: the specification that runs.

Rules: design §4. One dict of orders; levels are summed from it each time anyone looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Book", "Event", "Order", "Touch", "apply_event", "levels", "orders", "touch_of"]

COVERS = (
    *("apply_batch", "prefetch_book", "prefetch_levels", "prefetch_order"),
    "book_state.check_room",
    *("order_growth.find_live", "order_growth.move_orders", "order_growth.tend_tables"),
    *("odd_orders.drop_order", "odd_orders.find_order", "odd_orders.give_row"),
    *("odd_orders.key_of", "odd_orders.read_order", "odd_orders.write_order"),
    *("plain_events.add_plain", "plain_events.cancel_plain", "plain_events.count_order"),
    *("plain_events.modify_plain", "touches.best_level", "touches.read_touch"),
)

UNDEF_PRICE = 2**63 - 1
LAST, SNAPSHOT, MAYBE_BAD = 128, 32, 4
CROSSED, SUSPECT, REBUILT, RESET = 1, 2, 4, 8
APPLIED, BBO_CHANGED, BOOK_CLEARED = 0, 1, 2
COUNTED = (
    "replaced_adds",
    "unknown_cancels",
    "unknown_modifies",
    "side_changes",
    "sideless_orders",
    "unpriced_orders",
    "empty_orders",
    "excess_cancels",
    "clears",
    "bad_book_flags",
    "crossed_changes",
)


class Event(NamedTuple):
    """One record of the feed, of the instrument in `slot`."""

    slot: int
    action: str
    side: str
    order_id: int
    price: int
    size: int
    flags: int


@dataclass
class Order:
    """One resting order; a smaller `stamp` stands nearer the head of its level's queue."""

    side: str
    price: int
    size: int
    stamp: int


class Touch(NamedTuple):
    """Best prices with their contracts and orders, (UNDEF_PRICE, 0, 0) for an empty side."""

    bid: tuple[int, int, int] = (UNDEF_PRICE, 0, 0)
    ask: tuple[int, int, int] = (UNDEF_PRICE, 0, 0)


@dataclass
class Reading:
    """What one instrument's last F_LAST showed, and what is kept beside it."""

    touch: Touch = field(default_factory=Touch)
    ofi: int = 0
    changes: int = 0
    state: int = 0
    broken: bool = False  # an R or a snapshot record came since the last F_LAST


@dataclass
class Book:
    """Every instrument's orders, by (slot, order id), and readings, by slot."""

    orders: dict[tuple[int, int], Order] = field(default_factory=dict)
    readings: dict[int, Reading] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    stamp: int = 0


def apply_event(book: Book, event: Event) -> int:
    """Apply one event; return its bits."""
    if event.action == "A":
        _add(book, event)
    elif event.action == "C":
        _cancel(book, event)
    elif event.action == "M":
        _modify(book, event)
    elif event.action == "R":
        _clear(book, event)
    bits = BOOK_CLEARED if event.action == "R" else APPLIED
    reading = book.readings.setdefault(event.slot, Reading())
    _note_flags(book, reading, event)
    if event.flags & LAST:
        bits |= _read(book, reading, event.slot)
    return bits


def _add(book: Book, event: Event) -> None:
    """Replace a live id; without contracts there is no order, without side no level."""
    if book.orders.pop((event.slot, event.order_id), None) is not None:
        book.counts["replaced_adds"] += 1
    _place(book, event)


def _place(book: Book, event: Event) -> None:
    if event.size == 0:
        book.counts["empty_orders"] += 1
        return
    if event.side not in "AB":
        book.counts["sideless_orders"] += 1
    if event.price == UNDEF_PRICE:
        book.counts["unpriced_orders"] += 1
    book.stamp += 1
    order = Order(event.side, event.price, event.size, book.stamp)
    book.orders[event.slot, event.order_id] = order


def _cancel(book: Book, event: Event) -> None:
    """C reduces by its size at the table's price; at or above the rest it removes."""
    order = book.orders.get((event.slot, event.order_id))
    if order is None:
        book.counts["unknown_cancels"] += 1
        return
    if event.size > order.size:
        book.counts["excess_cancels"] += 1
    order.size -= event.size
    if order.size <= 0:
        del book.orders[event.slot, event.order_id]


def _modify(book: Book, event: Event) -> None:
    """M of an unknown id is an add; size 0 removes; the side never changes.

    A change of price or a larger size goes to the tail of its queue; less size keeps the place.
    """
    order = book.orders.get((event.slot, event.order_id))
    if order is None:
        book.counts["unknown_modifies"] += 1
        _place(book, event)
        return
    if event.side != order.side:
        book.counts["side_changes"] += 1
    if event.size == 0:
        del book.orders[event.slot, event.order_id]
        return
    if event.price == UNDEF_PRICE:
        book.counts["unpriced_orders"] += 1
    if event.price != order.price or event.size > order.size:
        book.stamp += 1
        order.stamp = book.stamp
    order.price, order.size = event.price, event.size


def _clear(book: Book, event: Event) -> None:
    """R drops the instrument's orders, no other's."""
    book.counts["clears"] += 1
    book.orders = {key: order for key, order in book.orders.items() if key[0] != event.slot}


def _note_flags(book: Book, reading: Reading, event: Event) -> None:
    if event.action == "R" or event.flags & SNAPSHOT:
        reading.broken = True
        if event.action == "R":  # what a snapshot adds leaves what a gap left behind
            reading.state &= ~SUSPECT
        reading.state |= REBUILT if event.flags & SNAPSHOT else RESET
    if event.flags & MAYBE_BAD:
        book.counts["bad_book_flags"] += 1
        reading.state |= SUSPECT


def _read(book: Book, reading: Reading, slot: int) -> int:
    """Read the best prices; return BBO_CHANGED if any of six values differs, or at the first."""
    before, after = reading.touch, touch_of(book, slot)
    crossed = after.bid[2] > 0 and after.ask[2] > 0 and after.bid[0] >= after.ask[0]
    reading.state = (reading.state & ~CROSSED) | (CROSSED if crossed else 0)
    changed = reading.changes == 0 or before != after
    if changed:
        whole = before.bid[2] and before.ask[2] and after.bid[2] and after.ask[2]
        if whole and not reading.broken:
            reading.ofi += flow_imbalance(before, after)
        reading.changes += 1
        book.counts["crossed_changes"] += crossed
        reading.touch = after
    reading.broken = False
    return BBO_CHANGED if changed else APPLIED


def flow_imbalance(before: Touch, after: Touch) -> int:
    """Return the level-1 order-flow imbalance of one BBO change (Cont, Kukanov, Stoikov)."""
    flow = 0
    if after.bid[0] >= before.bid[0]:
        flow += after.bid[1]
    if after.bid[0] <= before.bid[0]:
        flow -= before.bid[1]
    if after.ask[0] <= before.ask[0]:
        flow -= after.ask[1]
    if after.ask[0] >= before.ask[0]:
        flow += before.ask[1]
    return flow


def levels(book: Book, slot: int, side: str) -> list[tuple[int, int, int]]:
    """Return one side's (price, contracts, orders), the best price first."""
    summed: dict[int, tuple[int, int]] = {}
    for key, order in book.orders.items():
        if key[0] == slot and order.side == side and order.price != UNDEF_PRICE:
            contracts, count = summed.get(order.price, (0, 0))
            summed[order.price] = (contracts + order.size, count + 1)
    ranked = sorted(summed, reverse=side == "B")
    return [(price, *summed[price]) for price in ranked]


def orders(book: Book, slot: int, side: str) -> list[tuple[int, int, int]]:
    """Return one side's (order id, price, size) by price, best first, none last, then priority."""
    sign = -1 if side == "B" else 1
    found = [
        (order.price == UNDEF_PRICE, order.price * sign, order.stamp, key[1], order)
        for key, order in book.orders.items()
        if key[0] == slot and order.side == side
    ]
    return [(order_id, order.price, order.size) for *_, order_id, order in sorted(found)]


def touch_of(book: Book, slot: int) -> Touch:
    """Return the best prices as the orders stand now."""
    bids, asks = levels(book, slot, "B"), levels(book, slot, "A")
    empty = (UNDEF_PRICE, 0, 0)
    return Touch(bids[0] if bids else empty, asks[0] if asks else empty)
