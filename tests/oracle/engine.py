"""Event time in plain Python: a stream of records to window rows, in several slow passes.

Rules: design §4 and §5, and "Event time, to the letter" in ARCHITECTURE.md. An event is a dict:
instrument_id, ts_event, ts_recv, action, side, order_id, price, size, flags; or a status:
instrument_id, halted. Times are ns UTC, -1 where undefined. Sessions are (open, close) in ns.
"""

from __future__ import annotations

import math
from typing import Any

from tests.oracle import book as books

__all__ = ["judge_trade", "replay", "watermarks"]

SECOND = 10**9
FACTS_S = 300
UNDEF_SIZE = 2**32 - 1
PRICE_LIMIT = 2**62  # of prices beyond it (UNDEF_PRICE is one) there is no mid
TIME_LIMIT = 2**62  # the year 2116: what is later is no time
UNDEF_PRICE = books.UNDEF_PRICE
SNAPSHOT, BAD_TS_RECV = 32, 8
BEFORE_TIME = -(2**62)  # the pane of touches that came before event time began
VERDICTS = (
    "counted",
    "without_size",
    "without_time",
    "off_session",
    "late",
    "ahead",
    "in_snapshot",
)
COVERS = (
    *("advance", "passing.pass_time", "pressure.add_trade", "pressure.open_pane"),
    *("windows.begin_pane", "windows.emit_rows", "windows.seal_pane", "windows.seal_second"),
    *("windows.set_next", "windows.start_clock"),
    "prefetch_pane",
)

Event = dict[str, Any]
Row = dict[str, Any]
Settings = dict[str, int]
Sessions = list[tuple[int, int]]


def pane_ns(settings: Settings) -> int:
    """Return the longest piece of which steps and facts are whole numbers."""
    return math.gcd(settings["step_s"], FACTS_S) * SECOND


def is_ahead(event: Event, watermark: int) -> bool:
    """Tell whether the record claims a time over a second after it came.

    When it came is not known of F_BAD_TS_RECV: the watermark stands in, if event time has begun.
    """
    if event["flags"] & SNAPSHOT or event["ts_event"] < 0:
        return False
    if event["flags"] & BAD_TS_RECV:
        return bool(watermark < 0 or event["ts_event"] > watermark + SECOND)
    unknown = event["ts_recv"] < 0 or event["ts_event"] >= TIME_LIMIT
    return bool(unknown or event["ts_event"] > event["ts_recv"] + SECOND)


def moves_time(event: Event) -> bool:
    """Tell whether the record moves the watermark."""
    return not event["flags"] & (SNAPSHOT | BAD_TS_RECV) and not is_ahead(event, -1)


def own_time(event: Event, watermark: int) -> int:
    """Return when the record stands: its own time, or the watermark if it has none."""
    timeless = event["flags"] & SNAPSHOT or event["ts_event"] < 0 or is_ahead(event, watermark)
    return watermark if timeless else int(event["ts_event"])


def watermarks(events: list[Event]) -> list[int]:
    """Return the watermark at each event, the event itself included; -1 before it begins."""
    found, watermark = [], -1
    for event in events:
        if "action" in event and moves_time(event):
            watermark = max(watermark, event["ts_event"])
        found.append(watermark)
    return found


def session_of(ts_ns: int, sessions: Sessions) -> tuple[int, int] | None:
    """Return the session that holds a time."""
    return next((one for one in sessions if one[0] <= ts_ns < one[1]), None)


def judge_trade(event: Event, watermark: int, sessions: Sessions, settings: Settings) -> str:
    """Return "counted", or the first reason why a T record adds nothing to flow."""
    if event["flags"] & SNAPSHOT:
        return "in_snapshot"
    if is_ahead(event, watermark):
        return "ahead"
    if event["size"] in (0, UNDEF_SIZE):
        return "without_size"
    if event["ts_event"] < 0:
        return "without_time"
    second_end = (event["ts_event"] // SECOND + 1) * SECOND
    if watermark >= 0 and second_end + settings["lateness_ns"] <= watermark:
        return "late"
    if session_of(event["ts_event"], sessions) is None:
        return "off_session"
    return "counted"


def first_open_pane(watermark: int, settings: Settings) -> int:
    """Return the first pane that is not sealed: end + lateness > watermark."""
    return (watermark - settings["lateness_ns"]) // pane_ns(settings)


def read_books(events: list[Event], settings: Settings) -> list[dict[str, Any]]:
    """Return each BBO change with its pane, its touch and what it adds to the imbalance."""
    book, changes = books.Book(), []
    for index, watermark in enumerate(watermarks(events)):
        event = events[index]
        if "action" not in event:
            continue
        before = book.readings.get(event["instrument_id"], books.Reading()).ofi
        plain = [event[name] for name in ("action", "side", "order_id", "price", "size", "flags")]
        bits = books.apply_event(book, books.Event(event["instrument_id"], *plain))
        if not bits & books.BBO_CHANGED:
            continue
        reading = book.readings[event["instrument_id"]]
        pane = own_time(event, watermark) // pane_ns(settings)
        first = first_open_pane(watermark, settings)
        timely = watermark >= 0 and pane >= first
        changes.append(
            {
                "instrument_id": event["instrument_id"],
                "pane": max(pane, first) if watermark >= 0 else BEFORE_TIME,
                "touch": reading.touch,
                "ofi": reading.ofi - before if timely else 0,
            }
        )
    return changes


def last_touch(changes: list[dict[str, Any]], instrument_id: int, before_pane: int) -> Any:
    """Return the touch of the latest change in a pane before `before_pane`, the last to come."""
    mine = [one for one in changes if one["instrument_id"] == instrument_id]
    ranked = [
        (one["pane"], place, one) for place, one in enumerate(mine) if one["pane"] < before_pane
    ]
    return max(ranked, key=lambda entry: entry[:2])[2]["touch"] if ranked else books.Touch()


def sum_window(
    trades: list[Event], changes: list[dict[str, Any]], window: tuple[int, int], settings: Settings
) -> Row:
    """Sum one instrument's trades and changes over [start, end)."""
    start, end = window
    inside = [one for one in trades if start <= one["ts_event"] < end]
    row = {"window_start": start, "window_end": end, "total_trades": len(inside)}
    for side, name in (("A", "bid_volume"), ("B", "ask_volume"), ("N", "unknown_volume")):
        row[name] = sum(one["size"] for one in inside if one["side"] == side)
    for cap in (1, 10):
        for side, name in (("A", "bid_votes"), ("B", "ask_votes")):
            row[f"{name}_{cap}"] = sum(
                min(
                    sum(
                        o["size"]
                        for o in inside
                        if o["side"] == side and o["ts_event"] // SECOND == s
                    ),
                    cap,
                )
                for s in {one["ts_event"] // SECOND for one in inside}
            )
    pane = pane_ns(settings)
    row["ofi"] = sum(
        one["ofi"] for one in changes if start // pane <= one["pane"] < -(-end // pane)
    )
    return row


def replay(
    events: list[Event], sessions: Sessions, settings: Settings, underlying: dict[int, int]
) -> dict[str, Any]:
    """Return windows and facts in order of emission, and what was counted.

    `emitted_at` of a row is the index of the event before which it is due; at the end, the number
    of events.
    """
    marks = watermarks(events)
    trades: dict[int, list[Event]] = {}
    counts = dict.fromkeys(VERDICTS, 0)
    for event, watermark in zip(events, marks, strict=True):
        if event.get("action") == "T":
            verdict = judge_trade(event, watermark, sessions, settings)
            counts[verdict] += 1
            if verdict == "counted":
                trades.setdefault(event["instrument_id"], []).append(event)
    changes = read_books(events, settings)
    begun = min((mark for mark in marks if mark >= 0), default=-1)
    spans = {"windows": (settings["window_s"], settings["step_s"]), "facts": (FACTS_S, FACTS_S)}
    found: dict[str, Any] = {"counts": counts}
    for name, (length_s, step_s) in spans.items():
        rows = []
        for instrument_id, mine in trades.items():
            own = [one for one in changes if one["instrument_id"] == instrument_id]
            for window in windows_of(mine, sessions, length_s * SECOND, step_s * SECOND):
                row = sum_window(mine, own, window, settings)
                row["instrument_id"] = instrument_id
                row["emitted_at"] = emitted_at(window[1], marks, trades, settings)
                add_prices(row, changes, underlying, settings, begun)
                rows.append(row)
        rows.sort(key=lambda row: (row["window_end"], row["instrument_id"]))
        found[name] = [row for row in rows if row["emitted_at"] is not None]
    return found


def windows_of(
    trades: list[Event], sessions: Sessions, length: int, step: int
) -> list[tuple[int, int]]:
    """Return the windows that hold a trade: they end at the next `length` / `step` multiples.

    Windows are cut where the session opens and closes; the last one ends past the close.
    """
    found = set()
    for trade in trades:
        session = session_of(trade["ts_event"], sessions)
        assert session is not None
        for count in range(length // step):
            end = (trade["ts_event"] // step + 1 + count) * step
            if end - step < session[1]:
                found.add((max(end - length, session[0]), min(end, session[1])))
    return sorted(found)


def emitted_at(
    window_end: int, marks: list[int], trades: dict[int, list[Event]], settings: Settings
) -> int | None:
    """Return the index of the event that makes the window due, or the end if it is open there.

    At the end, steps and facts are open that hold the watermark or a trade after it.
    """
    due = window_end + settings["lateness_ns"]
    for index, watermark in enumerate(marks):
        if watermark >= due:
            return index
    spans = (settings["step_s"] * SECOND, FACTS_S * SECOND)
    newest = max(trade["ts_event"] for mine in trades.values() for trade in mine)
    flushed = max((max(*marks, newest) // span + 1) * span for span in spans)
    return len(marks) if window_end <= flushed else None


def add_prices(
    row: Row,
    changes: list[dict[str, Any]],
    underlying: dict[int, int],
    settings: Settings,
    begun: int,
) -> None:
    """Add the touch at the window's end and the underlying's mid at its start.

    None is known of a start before event time `begun`: what a record said earlier, without a time
    of its own, need not have been so then.
    """
    pane = pane_ns(settings)
    touch = last_touch(changes, row["instrument_id"], -(-row["window_end"] // pane))
    row["bid_price"] = touch.bid[0] if touch.bid[2] else None
    row["ask_price"] = touch.ask[0] if touch.ask[2] else None
    future = underlying.get(row["instrument_id"])
    row["underlying_mid2"] = None
    if future is not None and row["window_start"] // pane >= first_open_pane(begun, settings):
        touch = last_touch(changes, future, row["window_start"] // pane)
        if abs(touch.bid[0]) < PRICE_LIMIT and abs(touch.ask[0]) < PRICE_LIMIT:
            row["underlying_mid2"] = touch.bid[0] + touch.ask[0]
