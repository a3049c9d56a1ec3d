"""Retired slots are used again, and nothing else tells.

Method: a future quotes for three hours while options are opened in batches, trade, and lose their
ids to new ones; a replay that uses slots again is held to one that never does.
"""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

import numpy as np
import polars as pl
import pytest

from bench.openings import BATCHES_LIVE, Openings
from ifd_fast import ReplayResult, books, replay, replaying, sources
from ifd_fast.calendar import load_sessions
from ifd_fast.dbnwriter import encode_definitions, encode_header
from ifd_fast.engine import FlowEngine
from ifd_fast.optionchain import Listing
from ifd_fast.retired import Retired
from tests.strategies_wire import mbo

SECOND = 10**9
TRADE_DATE = dt.date(2026, 2, 2)
SESSION = next(one for one in load_sessions() if one.trade_date == TRADE_DATE)
OPEN = SESSION.open_ns
EXPIRATION = OPEN + 5 * 86_400 * SECOND
FUTURE = Listing(7, "NQH6", "F", "NQ", "", 0, 0.0, EXPIRATION, ())
BATCH = 20
BATCHES = 24
STEP_S = 450


def quote(second: int, order_id: int, side: str, price: int) -> bytes:
    """Return an order of the future."""
    at = OPEN + second * SECOND
    return mbo(
        order_id=order_id, side=side, price=price * SECOND, ts_event=at, ts_recv=at, instrument_id=7
    )


def trades(second: int, ids: list[int], side: str) -> bytes:
    """Return a trade of each id in that second."""
    at = OPEN + second * SECOND
    return b"".join(
        mbo(action="T", side=side, instrument_id=one, ts_event=at, ts_recv=at, size=3, order_id=0)
        for one in ids
    )


def market() -> bytes:
    """Return a stream in which options open, 20 at a time, their ids used again after six times.

    Two more ids mean another option twice in most windows.
    """
    openings = Openings(FUTURE, EXPIRATION, batch=BATCH)
    renamed = Openings(FUTURE, EXPIRATION, batch=2, batches_live=1, first_id=8)
    parts = [
        encode_header("mbo", [FUTURE], OPEN, SESSION.close_ns, TRADE_DATE),
        encode_definitions([FUTURE], OPEN),
        quote(1, 1, "B", 21_000) + quote(1, 2, "A", 21_001),
    ]
    for number in range(BATCHES):
        start = 10 + number * STEP_S
        busy = openings.next_ids()[:2].tolist()
        parts.append(openings.batch(OPEN + start * SECOND))
        parts += [renamed.batch(OPEN + (start + late) * SECOND) for late in (1, 60)]
        parts += [
            trades(second, busy[:1], "B") + trades(second, busy[1:], "A")
            for second in range(start + 61, start + 120)
        ]
        parts.append(quote(start + 130, 100 + number, "B", 20_900))
    return b"".join(parts)


pytestmark = [pytest.mark.jit, pytest.mark.slow, pytest.mark.usefixtures("fixed_weights")]


@pytest.fixture(scope="module")
def stream() -> bytes:
    """Return the stream of all tests here."""
    return market()


def run(
    stream: bytes, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> tuple[ReplayResult, FlowEngine]:
    """Return what a replay found, and its engine as the stream left it."""
    engines: list[FlowEngine] = []

    class Kept(FlowEngine):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            engines.append(self)

    monkeypatch.setattr(replaying, "FlowEngine", Kept)
    return replay(io.BytesIO(stream), **settings), engines[0]


@pytest.mark.parametrize("window", [(300, 300), (300, 60)])
def test_using_slots_again_changes_nothing(
    stream: bytes, monkeypatch: pytest.MonkeyPatch, window: tuple[int, int]
) -> None:
    """Windows, facts, signals, listing and counts are those of a replay with a slot for each."""
    settings = {"window_s": window[0], "window_step_s": window[1]}
    actual, small = run(stream, monkeypatch, **settings)
    none = np.zeros(0, np.int64)
    monkeypatch.setattr(Retired, "take_over", lambda *_: none)
    expected, large = run(stream, monkeypatch, **settings)
    assert large.instruments.slots == 1 + BATCHES * (BATCH + 4)
    assert small.instruments.slots < (BATCHES_LIVE + 6) * (BATCH + 4)
    assert actual.windows.equals(expected.windows)
    assert actual.facts.equals(expected.facts)
    assert actual.signals.equals(expected.signals)
    assert expected.signals.height > 10
    order = ["symbol", "instrument_id"]
    assert actual.instruments.sort(order).equals(expected.instruments.sort(order))
    assert actual.counts["live_orders"] < expected.counts["live_orders"]  # those of the retired
    assert {**actual.counts, "live_orders": 0} == {**expected.counts, "live_orders": 0}


def test_any_chunking_uses_the_same_slots(stream: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """How the stream was cut, between two definitions too, doesn't change which slot is used."""
    expected, whole = run(stream, monkeypatch)
    for chunk_bytes in (97, 4_096, 33_333):
        monkeypatch.setattr(sources, "RAW_CHUNK_BYTES", chunk_bytes)
        actual, cut = run(stream, monkeypatch)
        assert actual.rows_digest == expected.rows_digest
        assert actual.signals.equals(expected.signals)
        left, right = (one.instruments.identities["instrument_id"] for one in (cut, whole))
        assert np.array_equal(left, right)


def test_a_used_slot_begins_empty(stream: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The book of an instrument in a slot that was another's holds its own orders alone."""
    _, engine = run(stream, monkeypatch)
    instruments, book = engine.instruments, engine.state.book
    newest = instruments.frame_by_slot().with_row_index("slot").filter(pl.col("opened") > 0)
    for row in newest.sort("opened").tail(BATCH).iter_rows(named=True):
        bids, asks = books.orders(book, row["slot"])
        assert (len(bids), len(asks)) == (1, 1)
        assert len(books.levels(book, row["slot"])[0]) == 1
