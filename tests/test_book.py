"""The book's kernel against its oracle, and the laws that hold for any stream."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast import books
from ifd_fast.errors import UsageError
from ifd_kernels import book as kernel
from ifd_kernels.book_state import ODD_FREE, ODD_NEXT, STAMP
from ifd_kernels.layout import BBO_CHANGED, DONE, Ring
from ifd_kernels.orders import LINE, PLACES, PRICE_BIT
from tests import strategies
from tests.examples import more_examples
from tests.oracle import book as oracle
from tests.oracle.book import Event

SLOTS = 3
any_stream = st.one_of(strategies.streams(), strategies.wild_streams(), strategies.legal_streams())


def run_kernel(
    stream: list[Event], *, tight: bool = False, first_stamp: int = 0
) -> tuple[kernel.Book, list[int]]:
    """Apply `stream` one event a call; `tight` starts with no room and grows by the least."""
    ring = strategies.as_ring(stream)
    book = books.allocate(SLOTS, orders=4 if tight else 1024)
    book.counters[STAMP] = first_stamp
    bits = []
    for i in range(len(stream)):
        while (status := kernel.check_room(book)) != DONE:
            book = books.grow(book, status)
        kernel.prefetch_order(book, ring, i)
        kernel.prefetch_book(book, ring, i)
        bits.append(int(kernel.apply_event(book, ring, i)))
    return book, bits


def run_batches(ring: Ring, start: int, cuts: list[int], orders: int = 4) -> kernel.Book:
    """Apply the ring's events in batches that end at `cuts`."""
    book = books.allocate(SLOTS, orders=orders)
    for stop in cuts:
        book = books.apply(ring, start, stop, book)
        start = stop
    return book


def run_oracle(stream: list[Event]) -> tuple[oracle.Book, list[int]]:
    """Apply `stream` to the oracle."""
    book = oracle.Book()
    return book, [oracle.apply_event(book, event) for event in stream]


def seen(book: kernel.Book) -> dict[str, Any]:
    """Return all that can be seen of the kernel's book, with plain types."""
    touch = [record.item()[:-1] for record in book.touch]
    levels = [
        [tuple(level) for level in side] for s in range(SLOTS) for side in books.levels(book, s)
    ]
    orders = [
        [tuple(order) for order in side] for s in range(SLOTS) for side in books.orders(book, s)
    ]
    return {"touch": touch, "levels": levels, "orders": orders, "counts": books.counts(book)}


def expected_of(book: oracle.Book) -> dict[str, Any]:
    """Return the same of the oracle's book."""
    readings = [book.readings.get(slot, oracle.Reading()) for slot in range(SLOTS)]
    touch = [
        (
            *(r.touch.bid[0], r.touch.ask[0], r.touch.bid[1], r.touch.ask[1]),
            *(r.touch.bid[2], r.touch.ask[2], r.ofi, r.changes, r.state),
        )
        for r in readings
    ]
    both = [(slot, side) for slot in range(SLOTS) for side in "BA"]
    return {
        "touch": touch,
        "levels": [oracle.levels(book, slot, side) for slot, side in both],
        "orders": [oracle.orders(book, slot, side) for slot, side in both],
        "counts": {"live_orders": len(book.orders)} | book.counts,
    }


@more_examples
@given(any_stream)
def test_kernel_is_oracle(stream: list[Event]) -> None:
    """Bits, touches, levels, orders by priority and every count equal the oracle's."""
    expected_book, expected_bits = run_oracle(stream)
    actual_book, actual_bits = run_kernel(stream)
    assert actual_bits == expected_bits
    assert seen(actual_book) == expected_of(expected_book)


@more_examples
@given(any_stream)
def test_growth_changes_nothing(stream: list[Event]) -> None:
    """A book that starts with four places and grows at any event ends like the oracle."""
    actual_book, actual_bits = run_kernel(stream, tight=True)
    expected_book, expected_bits = run_oracle(stream)
    assert actual_bits == expected_bits
    assert seen(actual_book) == expected_of(expected_book)


@more_examples
@given(any_stream, st.booleans(), st.integers(0, 30))
def test_stamps_beyond_their_word(stream: list[Event], tight: bool, left: int) -> None:
    """When the table's 32 bits for queue places are used up, nothing that can be seen changes."""
    actual_book, actual_bits = run_kernel(stream, tight=tight, first_stamp=2**32 - left)
    expected_book, expected_bits = run_oracle(stream)
    assert actual_bits == expected_bits
    assert seen(actual_book) == expected_of(expected_book)


@given(any_stream, st.booleans())
def test_odd_orders_give_their_rows_back(stream: list[Event], tight: bool) -> None:
    """Each row for what doesn't fit is either free or named by just one order of a table."""
    book, _ = run_kernel(stream, tight=tight)
    free, row = [], int(book.counters[ODD_FREE])
    while row >= 0:
        free.append(row)
        row = int(book.odd[row]["stamp"])
    named: list[int] = []
    for table in (book.orders, book.old_orders):
        lines = table.reshape(-1, LINE)[:, :PLACES]
        terms = lines["terms"][lines["identity"] != 0]
        named += [int(word) >> PRICE_BIT for word in terms if int(word) >> 1 & 0x7FFF == 0]
    assert sorted(free + named) == list(range(int(book.counters[ODD_NEXT])))


@given(any_stream, st.data())
def test_splits_change_nothing(stream: list[Event], data: st.DataObject) -> None:
    """Batches cut anywhere, in a ring that wraps, end like one batch."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    first = data.draw(st.integers(0, 2**40))
    ring = strategies.as_ring(stream, first=first)
    stop = first + len(stream)
    expected = seen(run_batches(ring, first, [stop], orders=1024))
    actual = seen(run_batches(ring, first, [*(first + cut for cut in cuts), stop]))
    assert actual == expected


@given(any_stream, st.data())
def test_prefix(stream: list[Event], data: st.DataObject) -> None:
    """What is said of the first events does not depend on what follows."""
    cut = data.draw(st.integers(0, len(stream)))
    assert run_kernel(stream[:cut])[1] == run_kernel(stream)[1][:cut]


@given(strategies.streams(), st.integers(-3, 3))
def test_mirror(stream: list[Event], shift: int) -> None:
    """Sides swapped and prices turned around mirror the touch and negate the imbalance."""
    swapped = {"A": "B", "B": "A", "N": "N"}
    turn = shift * 250_000_000
    turned = [
        event._replace(side=swapped[event.side], price=turn - event.price) for event in stream
    ]
    book, bits = run_kernel(stream)
    mirror, mirror_bits = run_kernel(turned)
    assert mirror_bits == bits
    for slot in range(SLOTS):
        one, other = book.touch[slot], mirror.touch[slot]
        assert int(one["ofi"]) == -int(other["ofi"])
        assert (one["bid_size"], one["bid_count"]) == (other["ask_size"], other["ask_count"])
        if one["bid_count"]:
            assert int(one["bid_price_1e9"]) == turn - int(other["ask_price_1e9"])
        bids, asks = books.orders(book, slot)
        turned_bids, turned_asks = books.orders(mirror, slot)
        assert [order.order_id for order in bids] == [order.order_id for order in turned_asks]
        assert [order.order_id for order in asks] == [order.order_id for order in turned_bids]


@given(any_stream)
def test_slots_are_apart(stream: list[Event]) -> None:
    """An instrument's touch is what its own events alone make it, and slots can be added."""
    whole, _ = run_kernel(stream)
    alone = books.allocate(1)
    alone = books.add_slots(alone, SLOTS)
    for slot in range(SLOTS):
        own = [event for event in stream if event.slot == slot]
        alone = books.apply(strategies.as_ring(own), 0, len(own), alone)
        assert whole.touch[slot] == alone.touch[slot]
        assert books.levels(whole, slot) == books.levels(alone, slot)


def test_worked_example() -> None:
    """One hand-made evening: imbalance, queue places, a clear, a snapshot, with its numbers."""
    tick = 250_000_000
    steps = [
        (Event(0, "A", "B", 1, 100 * tick, 5, 128), BBO_CHANGED, 0),
        (Event(0, "A", "A", 2, 102 * tick, 7, 128), BBO_CHANGED, 0),  # no ask before
        (Event(0, "A", "B", 3, 100 * tick, 4, 128), BBO_CHANGED, 4),  # bid 5 -> 9: +4
        (Event(0, "M", "A", 2, 101 * tick, 7, 128), BBO_CHANGED, -3),  # better ask: -7
        (Event(0, "C", "B", 1, 0, 2, 128), BBO_CHANGED, -5),  # bid 9 -> 7: -2
        (Event(0, "C", "A", 9, 0, 2, 128), 0, -5),  # unknown: nothing
        (Event(0, "M", "B", 1, 100 * tick, 8, 0), 0, -5),  # more contracts: to the tail, unread
        (Event(0, "T", "A", 0, 100 * tick, 1, 128), BBO_CHANGED, 0),  # read here: +5
        (Event(0, "A", "B", 4, 101 * tick, 1, 130), BBO_CHANGED, 1),  # new best bid: +1, locked
        (Event(0, "R", "N", 0, 2**63 - 1, 0, 0), 2, 1),
        (Event(0, "A", "B", 1, 99 * tick, 1, 40), 0, 1),
        (Event(0, "A", "A", 2, 103 * tick, 1, 168), BBO_CHANGED, 1),  # snapshot: no imbalance
    ]
    book = books.allocate(1)
    for number, (event, bits, ofi) in enumerate(steps):
        assert kernel.apply_event(book, strategies.as_ring([event]), 0) == bits, number
        assert int(book.touch[0]["ofi"]) == ofi, number
        if number == 7:
            assert [order.order_id for order in books.orders(book, 0)[0]] == [3, 1]
        if number == 8:
            assert int(book.touch[0]["state"]) == 1
    assert int(book.touch[0]["state"]) == 4 | 8
    assert books.counts(book)["unknown_cancels"] == 1


def test_many_clears_do_not_fill_the_table() -> None:
    """Orders that clears have left dead are dropped when the table is rebuilt: it stays small."""
    book = books.allocate(1, orders=256)
    for session in range(200):
        added = [Event(0, "A", "B", session * 100 + i, i, 1, 128) for i in range(100)]
        stream = [*added, Event(0, "R", "N", 0, 2**63 - 1, 0, 128)]
        book = books.apply(strategies.as_ring(stream), 0, len(stream), book)
    assert books.counts(book)["live_orders"] == 0
    assert books.capacity_orders(book) <= 1024


@pytest.mark.skipif(not books.HAS_SMALL_PAGES, reason="memory is given back on Linux only")
def test_old_table_is_given_back_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a table that has been left, every piece goes back once, in order, none beyond its end."""
    given: list[tuple[int, int, int]] = []

    class Watched(mmap.mmap):
        released_bytes = 0

        def madvise(self, option: int, start: int = 0, length: int = 0) -> None:
            if option == mmap.MADV_DONTNEED:
                given.append((len(self), start, length))

    monkeypatch.setattr(books, "_Memory", Watched)
    book = books.allocate(1, orders=4096)
    for first in range(0, 40_000, 1000):
        stream = [Event(0, "A", "B", 1 + first + i, i, 1, 128) for i in range(1000)]
        book = books.apply(strategies.as_ring(stream), 0, len(stream), book)
    piece = given[0][2]
    whole = sorted({size for size, _, _ in given})
    assert whole
    assert given == [(size, at, piece) for size in whole for at in range(0, size, piece)]
    assert max(whole) > piece


def test_refusals() -> None:
    """A capacity that is no power of two and a status that asks for nothing are refused."""
    with pytest.raises(UsageError, match="power of two"):
        books.allocate(1, orders=1000)
    with pytest.raises(UsageError, match="NEED_ORDERS"):
        books.grow(books.allocate(1), DONE)


def test_unresolved_events_are_left_out() -> None:
    """An event without a slot changes nothing."""
    ring = strategies.as_ring([Event(-1, "A", "B", 1, 1, 1, 128)])
    book = books.apply(ring, 0, 1, books.allocate(1))
    assert books.counts(book)["live_orders"] == 0
    assert np.all(book.touch["changes"] == 0)
