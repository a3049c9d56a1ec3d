"""The book on real market data, against what others have made of the same bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from ifd_fast import books
from ifd_kernels import book as kernel
from ifd_kernels.layout import TOUCH_CROSSED, TOUCH_REBUILT, TOUCH_RESET, UNDEF_PRICE
from tests import strategies
from tests.oracle import book as oracle
from tests.oracle.book import Event

Find = Callable[[str], Path]

MBO = np.dtype(
    [
        ("header", "<u8"),
        ("ts_event", "<u8"),
        ("order_id", "<u8"),
        ("price", "<i8"),
        ("size", "<u4"),
        ("flags", "u1"),
        ("channel_id", "u1"),
        ("action", "u1"),
        ("side", "u1"),
        ("ts_recv", "<u8"),
        ("ts_in_delta", "<i4"),
        ("sequence", "<u4"),
    ]
)
ESH4 = "glbx/futures/esh4-20231225-first24000.mbo.dbn.zst"
ESH4_SNAPSHOT = "glbx/futures/esh4-20231224-snapshot.mbo.dbn.zst"
ESM4 = "glbx/futures/esm4-20240508.mbo.dbn.zst"


def read_dbn(path: Path) -> list[Event]:
    """Return the events of one instrument's MBO file."""
    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        raw = reader.read()
    records = np.frombuffer(raw, MBO, offset=8 + int.from_bytes(raw[4:8], "little"))
    fields = ("action", "side", "order_id", "price", "size", "flags")
    rows = zip(*(records[name].tolist() for name in fields), strict=True)
    return [Event(0, chr(row[0]), chr(row[1]), *row[2:]) for row in rows]


def run(events: list[Event], book: kernel.Book | None = None) -> kernel.Book:
    """Apply the events to a book that starts tiny."""
    slots = 1 + max(event.slot for event in events)
    book = books.allocate(slots, orders=4) if book is None else book
    return books.apply(strategies.as_ring(events), 0, len(events), book)


def best(book: kernel.Book) -> tuple[int, ...]:
    """Return (levels, price, contracts, orders) of the bids, then of the asks."""
    bids, asks = books.levels(book, 0)
    return (len(bids), *bids[0], len(asks), *asks[0])


def test_esh4_evening(real_data: Find) -> None:
    """A snapshot without R, a crossed pre-open, the auction and eight minutes end as known."""
    events = read_dbn(real_data(ESH4))
    book = run(events)
    counts = books.counts(book)
    assert len(events) == 24_000
    assert best(book) == (917, 4_806_500_000_000, 9, 7, 568, 4_806_750_000_000, 15, 10)
    assert counts.pop("live_orders") == 9_970
    assert counts.pop("crossed_changes") == 15
    assert not any(counts.values())
    assert int(book.touch[0]["changes"]) == 4_576
    assert int(book.touch[0]["state"]) == TOUCH_REBUILT


def test_esh4_crossed_event_ends(real_data: Find) -> None:
    """891 events of the evening end crossed or locked, as the data's manifest counts them."""
    events = read_dbn(real_data(ESH4))
    ring, book = strategies.as_ring(events), books.allocate(1)
    crossed = 0
    for i, event in enumerate(events):
        kernel.apply_event(book, ring, i)
        crossed += bool(event.flags & 128 and book.touch[0]["state"] & TOUCH_CROSSED)
    assert crossed == 891


def test_esm4(real_data: Find) -> None:
    """An R, a snapshot and two live seconds end as known."""
    book = run(read_dbn(real_data(ESM4)))
    assert best(book) == (976, 5_214_000_000_000, 28, 22, 571, 5_214_250_000_000, 17, 11)
    assert books.counts(book)["live_orders"] == 13_598
    assert int(book.touch[0]["changes"]) == 136
    assert int(book.touch[0]["state"]) & ~TOUCH_RESET == TOUCH_REBUILT


def test_snapshot_then_session(real_data: Find) -> None:
    """A session that re-adds the ids of the snapshot before it doubles nothing."""
    snapshot, session = read_dbn(real_data(ESH4_SNAPSHOT)), read_dbn(real_data(ESH4))
    book = run(snapshot)
    assert best(book) == (892, 4_799_000_000_000, 16, 4, 559, 4_799_500_000_000, 23, 4)
    file_order = [event.order_id for event in snapshot if event.side == "B"]
    at_best = [order.order_id for order in books.orders(book, 0)[0][:4]]
    assert at_best == [order_id for order_id in file_order if order_id in at_best]
    ids = {event.order_id for event in snapshot}
    again = sum(event.order_id in ids for event in session if event.action == "A")
    book = run(session, book)
    assert books.levels(book, 0) == books.levels(run(session), 0)
    assert books.counts(book)["live_orders"] == 9_970
    assert books.counts(book)["replaced_adds"] == again


def test_session_is_oracle(real_data: Find) -> None:
    """The evening's orders stand in the queues in which the oracle has them."""
    events = read_dbn(real_data(ESH4))
    expected = oracle.Book()
    for event in events:
        oracle.apply_event(expected, event._replace(flags=event.flags & ~128))
    actual = books.orders(run(events), 0)
    assert [tuple(order) for order in actual[0]] == oracle.orders(expected, 0, "B")
    assert [tuple(order) for order in actual[1]] == oracle.orders(expected, 0, "A")


def top(book: kernel.Book, slot: int, depth: int) -> list[tuple[int, ...]]:
    """Return `depth` levels as (bid, contracts, orders, ask, contracts, orders), 0 if none."""
    none = books.Level(UNDEF_PRICE, 0, 0)
    sides = [(side + [none] * depth)[:depth] for side in books.levels(book, slot)]
    return [(*bid, *ask) for bid, ask in zip(*sides, strict=True)]


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file by column name."""
    return csv.DictReader(io.StringIO(path.read_text()))


def price_1e9(text: str | None) -> int:
    """Return a decimal price at 1e-9, exactly; no text is no price."""
    whole, _, part = (text or "").partition(".")
    return int(whole) * 10**9 + int(part.ljust(9, "0")[:9] or 0) if text else UNDEF_PRICE


def test_arl_ten_levels(real_data: Find) -> None:
    """Each row of the ten-level book that somebody else made from the day is ours, in order."""
    rows = list(read_csv(real_data("xnas/arl-20250717.mbo.csv")))
    events = [
        Event(0, row["action"], row["side"], int(row["order_id"]), price_1e9(row["price"]),
              int(row["size"]), int(row["flags"]))
        for row in rows
    ]  # fmt: skip
    book, ring = books.allocate(1), strategies.as_ring(events)
    seen: dict[tuple[str, str], list[list[tuple[int, ...]]]] = {}
    for i, row in enumerate(rows):
        book = books.apply(ring, i, i + 1, book)
        seen.setdefault((row["ts_event"], row["sequence"]), []).append(top(book, 0, 10))
    matched = 0
    for row in read_csv(real_data("xnas/arl-20250717.mbp-10.csv")):
        expected = [
            tuple(
                price_1e9(row[f"{side}_px_{level:02}"]) if kind == "px"
                else int(row[f"{side}_{kind}_{level:02}"])
                for side in ("bid", "ask") for kind in ("px", "sz", "ct")
            )
            for level in range(10)
        ]  # fmt: skip
        assert expected in seen[row["ts_event"], row["sequence"]]
        matched += 1
    assert matched == 3_928


@pytest.mark.parametrize("name", ["aapl", "msft"])
def test_lobster_ten_levels(real_data: Find, name: str) -> None:
    """After each LOBSTER message the ten best levels are those of its order book file.

    The file's first row opens the book: one order a level stands for those of unknown ids.
    """
    messages = real_data(f"lobster/{name}-20120621.message.csv").read_text().split()
    rows = [
        [int(number) for number in line.split(",")]
        for line in real_data(f"lobster/{name}-20120621.orderbook-50.csv").read_text().split()
    ]
    opening = [
        Event(0, "A", side, 10**12 + rows[0][at], rows[0][at], rows[0][at + 1], 128)
        for at in range(0, 200, 2)
        for side in ("A" if at % 4 == 0 else "B",)
    ]
    book, known = run(opening), set[int]()
    for message, row in zip(messages[1:], rows[1:], strict=True):
        _, kind, order_id, size, price, direction = map(float, message.split(","))
        side = "B" if direction > 0 else "A"
        number = int(order_id) if int(order_id) in known else 10**12 + int(price)
        if kind == 1:
            known.add(int(order_id))
            event = Event(0, "A", side, int(order_id), int(price), int(size), 128)
        else:
            event = Event(0, "T" if kind == 5 else "C", side, number, 0, int(size), 128)
        book = run([event], book)
        expected = [(row[4 * k + 2 : 4 * k + 4], row[4 * k : 4 * k + 2]) for k in range(10)]
        actual = [([bid, held], [ask, offered])
                  for bid, held, _, ask, offered, _ in top(book, 0, 10)]  # fmt: skip
        assert actual == expected
    assert books.counts(book)["unknown_cancels"] == 0


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_eurex_options(real_data: Find, number: int) -> None:
    """R and two-sided adds of Eurex options, no trades, end like the oracle's."""
    text = real_data(f"xeur/euco-options-{number}.mbo.json").read_text()
    records: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines() if line]
    slots: dict[int, int] = {}
    events = [
        Event(slots.setdefault(r["hd"]["instrument_id"], len(slots)), r["action"], r["side"],
              int(r["order_id"]), price_1e9(r["price"]), r["size"], r["flags"])
        for r in records
    ]  # fmt: skip
    expected = oracle.Book()
    for event in events:
        oracle.apply_event(expected, event)
    actual = run(events)
    assert len(slots) > 1
    for slot in slots.values():
        bids, asks = books.levels(actual, slot)
        assert [tuple(level) for level in bids] == oracle.levels(expected, slot, "B")
        assert [tuple(level) for level in asks] == oracle.levels(expected, slot, "A")
    assert books.counts(actual)["clears"] == expected.counts["clears"] > 0
