"""What a window is worth: each mark by one hand-made example, with its numbers.

Rules: design §4 and §5, one test each. The streams go through the engine as bytes; marks are read
from the rows as they come out.
"""

from __future__ import annotations

from typing import Any

import pytest

from ifd_fast.desks import RecordDesk
from ifd_fast.engine import FlowEngine
from ifd_fast.framing import Framer
from ifd_kernels.layout import (
    MARK_BAD_BOOK,
    MARK_CROSSED,
    MARK_HALTED,
    MARK_LAGGING,
    MARK_LATE,
    MARK_REBUILT,
    MARK_TAPE_GAP,
    UNDEF_PRICE,
)
from ifd_kernels.pressure import ROW_REPORT
from tests.strategies_engine import OPEN, SECOND, as_bytes, event, feed, make_engine
from tests.strategies_quality import status

MINUTE = 60 * SECOND
PLAIN = {"window_s": 60, "step_s": 60, "lateness_ns": SECOND}
Event = dict[str, Any]


def play(*records: Event | bytes) -> FlowEngine:
    """Return an engine that has been fed records one by one, and flushed."""
    engine = make_engine(PLAIN)
    framer, desk = Framer(engine.state.ring, 3), RecordDesk(3)
    engine.on_records = lambda handed: desk.take(engine, handed)
    for record in records:
        engine.feed(framer, record if isinstance(record, bytes) else as_bytes([record]))
    engine.flush()
    return engine


def marks(*records: Event | bytes) -> list[int]:
    """Return the marks of the option's windows, by minute since the open, 0 without a row."""
    rows = play(*records).take_rows()
    found = [0] * 6
    for row in rows[rows["rows"] & ROW_REPORT != 0]:
        found[(int(row["window_start_ns"]) - OPEN) // MINUTE] = int(row["marks"])
    return found


def trades(*minutes: int) -> list[Event]:
    """Return one trade in the middle of each minute since the open."""
    return [event(OPEN + minute * MINUTE + 30 * SECOND) for minute in minutes]


def at(minute: int, second: float, action: str = "T", side: str = "B", **changes: Any) -> Event:
    """Return a record of the option, so long after the open."""
    return event(OPEN + minute * MINUTE + int(second * SECOND), action, side, **changes)


def test_a_quiet_stream_has_no_marks() -> None:
    """Trades in time, on a whole tape, are worth an A."""
    assert marks(*trades(0, 1, 2)) == [0] * 6


def test_a_late_trade_marks_the_first_open_window() -> None:
    """A trade of minute 0 that comes in minute 2 is in no window; minute 2 says so."""
    late = at(0, 40, ts_recv=OPEN + 3 * MINUTE)
    found = marks(*trades(0, 1), at(2, 10), late, *trades(2, 3))
    assert found[:4] == [0, 0, MARK_LATE, 0]


def test_a_suspect_book_lasts_until_it_is_cleared() -> None:
    """F_MAYBE_BAD_BOOK holds from its window to that of the next R; a new R is a gap."""
    suspect = at(0, 40, "A", "B", flags=132)
    clear = at(2, 10, "R", "N", order_id=0, price=UNDEF_PRICE, size=0)
    found = marks(*trades(0), suspect, *trades(1), at(2, 5), clear, *trades(2, 3))
    assert found[0] == found[1] == MARK_BAD_BOOK
    assert found[2] == MARK_BAD_BOOK | MARK_TAPE_GAP
    assert found[3] == 0


def test_the_first_clear_is_no_gap() -> None:
    """An R before anything is known of an instrument loses nothing: feeds begin with one."""
    clear = at(0, 1, "R", "N", order_id=0, price=UNDEF_PRICE, size=0)
    assert marks(clear, *trades(0, 1))[:2] == [0, 0]


def test_a_snapshot_rebuilds() -> None:
    """An R of a snapshot stands at the watermark; its window says that the book is rebuilt."""
    clear = at(0, 0, "R", "N", order_id=0, price=UNDEF_PRICE, size=0, flags=168)
    found = marks(*trades(0), at(1, 20), clear, *trades(1, 2))
    assert found[:3] == [0, MARK_REBUILT, 0]


def test_a_halt_marks_every_window_it_touches() -> None:
    """Not trading from minute 1 to minute 3: those three windows, not the ones around them."""
    halted: list[Event | bytes] = [
        *trades(0),
        at(1, 10),
        status(OPEN + MINUTE + 20 * SECOND, trading=False),
        *trades(1, 2),
        at(3, 5),
        status(OPEN + 3 * MINUTE + 10 * SECOND, trading=True),
        *trades(3, 4),
    ]
    assert marks(*halted) == [0, MARK_HALTED, MARK_HALTED, MARK_HALTED, 0, 0]


def test_lag_counts_at_the_windows_end() -> None:
    """The record that settles a window came over 2 s late: the window is lagging."""
    timely = at(1, 5, ts_recv=OPEN + MINUTE + 7 * SECOND)
    lagging = at(2, 5, ts_recv=OPEN + 2 * MINUTE + 7 * SECOND + 1)
    found = marks(*trades(0), timely, *trades(1), lagging, *trades(2))
    assert found[:3] == [0, MARK_LAGGING, 0]


def quotes(second: float, bid: int, ask: int) -> list[Event]:
    """Return a bid and an ask of minute 0, in points; one event."""
    two = {"price": bid * SECOND, "order_id": 1, "flags": 0}, {"price": ask * SECOND, "order_id": 2}
    return [at(0, second, "A", "B", **two[0]), at(0, second, "A", "A", **two[1])]


@pytest.mark.parametrize(("until", "expected"), [(11.0, 0), (11.1, MARK_CROSSED)])
def test_a_book_crossed_over_a_second_counts(until: float, expected: int) -> None:
    """A bid above the ask for a second is legal; for longer it marks its window."""
    found = marks(at(0, 5), *quotes(10, 6, 5), *quotes(until, 4, 5), *trades(0, 1))
    assert found[:2] == [expected, 0]


def test_a_book_crossed_before_the_open_counts_from_the_open() -> None:
    """Pre-open books may cross: what is uncrossed within a second of the open is no mark."""
    early = [{**one, "ts_event": OPEN - MINUTE} for one in quotes(0, 6, 5)]
    early = [{**one, "ts_recv": OPEN - MINUTE} for one in early]
    assert marks(*early, *quotes(0.5, 4, 5), *trades(0))[0] == 0


@pytest.mark.parametrize(("until", "expected"), [(31.0, 0), (31.1, MARK_CROSSED)])
def test_a_book_crossed_in_a_halt_counts_from_its_end(until: float, expected: int) -> None:
    """Crossed at 10 s, halted from 10.5 to 30 s: the second begins anew when trading resumes."""
    halted: list[Event | bytes] = [
        *(at(0, 5), *quotes(10, 6, 5)),
        status(OPEN + 10 * SECOND + SECOND // 2, trading=False),
        at(0, 29.5, "A", "A", order_id=9, price=9 * SECOND),
        status(OPEN + 30 * SECOND, trading=True),
        status(OPEN + 30 * SECOND + SECOND // 2, trading=True),
        *(*quotes(until, 4, 5), *trades(0, 1)),
    ]
    assert marks(*halted)[:2] == [MARK_HALTED | expected, 0]


def test_a_snapshots_adds_alone_end_no_suspicion() -> None:
    """Only an R drops what a gap left behind: adds of a snapshot without one end nothing."""
    suspect = at(0, 40, "A", "B", flags=132)
    add = at(0, 0, "A", "B", order_id=2, flags=168)
    found = marks(*trades(0), suspect, at(1, 20), add, *trades(1, 2))
    assert found[:3] == [MARK_BAD_BOOK] * 3


def test_lag_inside_a_sliding_window_is_none_of_its_own() -> None:
    """Two minutes of panes of a minute: lag as the first one ends is not lag as the window does."""
    lagging = at(1, 5, ts_recv=OPEN + MINUTE + 7 * SECOND + 1)
    engine = make_engine({"window_s": 120, "step_s": 60, "lateness_ns": SECOND})
    feed(engine, [as_bytes([*trades(0), lagging, *trades(1), at(2, 5)])])
    rows = engine.take_rows()
    rows = rows[rows["rows"] & ROW_REPORT != 0]
    ends = ((rows["window_end_ns"] - OPEN) // MINUTE).tolist()
    assert dict(zip(ends, rows["marks"].tolist(), strict=True)) == {1: MARK_LAGGING, 2: 0}


def test_a_book_crossed_before_time_began_counts_from_there() -> None:
    """A snapshot's crossed book counts from the first record that moves event time."""
    snapshot = [{**one, "flags": one["flags"] | 40} for one in quotes(0, 6, 5)]
    assert marks(*snapshot, at(0, 30), *quotes(30.5, 4, 5), *trades(1))[0] == 0


# --- facts ----------------------------------------------------------------------------------------
def test_half_open_windows_and_the_auction_that_comes_late() -> None:
    """A trade at a window's first nanosecond, 106 ms under way, belongs to that window."""
    before = event(OPEN + MINUTE - 1, size=3)
    auction = event(OPEN + MINUTE, side="N", size=44, ts_recv=OPEN + MINUTE + 105_900_000)
    rows = play(before, auction, *trades(1)).take_rows()
    rows = rows[rows["rows"] & ROW_REPORT != 0]
    assert rows["ask_volume"].tolist() == [3, 1]
    assert rows["unknown_volume"].tolist() == [0, 44]


def test_votes_are_capped_by_second_and_side() -> None:
    """Three trades of 4 in one second are 12 contracts, 10 votes and 1 vote."""
    row = play(*[at(0, 10, size=4)] * 3, at(0, 11, size=4), at(0, 11, side="A", size=2))
    one = row.take_rows()[0]
    names = ("ask_volume", "bid_volume", "ask_votes_10", "bid_votes_10", "ask_votes_1")
    assert [int(one[name]) for name in (*names, "bid_votes_1")] == [16, 2, 14, 2, 2, 1]


def test_the_imbalance_is_of_the_window_it_changed_in() -> None:
    """A bid of 1 at 4 improved by 7 at 5 is +7 in minute 1; the touch stands at each end."""
    first = [*quotes(10, 4, 6), *trades(0)]
    rows = play(*first, at(1, 20, "A", "B", price=5 * SECOND, order_id=3, size=7), *trades(1))
    found = rows.take_rows()
    found = found[found["rows"] & ROW_REPORT != 0]
    assert found["ofi"].tolist() == [0, 7]
    assert found["bid_price_1e9"].tolist() == [4 * SECOND, 5 * SECOND]
    assert found["ask_price_1e9"].tolist() == [6 * SECOND, 6 * SECOND]
