"""What a window is worth, in plain Python: marks by pane, then the worst grade that applies.

Rules: design §5 (`quality`) and "Quality, to the letter" in ARCHITECTURE.md. Events are those of
`tests.oracle.engine`; a status is an event without action: instrument_id, ts_event, halted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.oracle import book as books
from tests.oracle import engine

__all__ = ["grade", "window_marks"]

COVERS = (
    *("pressure.note_mark", "pressure.crossed_inside", "pressure.note_halt"),
    *("pressure.note_touch", "windows.seal_pane"),
)

SECOND = 10**9
SNAPSHOT, MAYBE_BAD = 32, 4
F_MARKS = {"tape_gap", "unmapped", "partly_observed"}
D_MARKS = {"bad_book", "lagging", "crossed"}
C_MARKS = {"halted"}
B_MARKS = {"rebuilt", "late"}

Event = dict[str, Any]
Settings = dict[str, int]


class Note(NamedTuple):
    """That a mark holds once, from here on ("begins") or no longer ("ends")."""

    pane: int
    place: int
    mark: str
    how: str


def stands_at(event: Event, watermark: int) -> int:
    """Return when a record stands; a status from over a second after the watermark stands there."""
    if "action" in event:
        return engine.own_time(event, watermark)
    ts_ns = int(event["ts_event"])
    ahead = watermark >= 0 and ts_ns > watermark + SECOND
    return watermark if ahead or ts_ns < 0 else ts_ns


def pane_of(event: Event, watermark: int, settings: Settings) -> int:
    """Return the pane of a record, or the first open one if that is sealed."""
    if watermark < 0:
        return engine.BEFORE_TIME
    pane = stands_at(event, watermark) // engine.pane_ns(settings)
    return max(pane, engine.first_open_pane(watermark, settings))


def notes_of(events: list[Event], number: int, settings: Settings) -> list[Note]:
    """Return what one instrument's records say about the quality of its windows."""
    found, seen = [], 0
    marks = engine.watermarks(events)
    touches = {place for place, _, _ in touches_of(events, number)}
    for place, (event, watermark) in enumerate(zip(events, marks, strict=True)):
        if event["instrument_id"] != number:
            continue
        pane = pane_of(event, watermark, settings)
        if "action" not in event:
            found.append(Note(pane, place, "halted", "begins" if event["halted"] else "ends"))
            continue
        if event["action"] == "R":
            found.append(Note(pane, place, "bad_book", "ends"))
            if event["flags"] & SNAPSHOT:
                found.append(Note(pane, place, "rebuilt", "once"))
            elif seen:  # the first R of all loses nothing
                found.append(Note(pane, place, "tape_gap", "once"))
        if event["flags"] & MAYBE_BAD:
            found.append(Note(pane, place, "bad_book", "begins"))
        if event["action"] == "T" and is_late(event, watermark, settings):
            first = engine.first_open_pane(watermark, settings)
            found.append(Note(first, place, "late", "once"))
        seen += place in touches
    return found


def is_late(event: Event, watermark: int, settings: Settings) -> bool:
    """Tell whether a trade's second is sealed."""
    return engine.judge_trade(event, watermark, [], settings) == "late"


def touches_of(events: list[Event], number: int) -> list[tuple[int, bool, Event]]:
    """Return (place, crossed, event) of each BBO change of one instrument, in order of arrival."""
    book, found = books.Book(), []
    for place, event in enumerate(events):
        if event["instrument_id"] != number or "action" not in event:
            continue
        plain = [event[name] for name in ("action", "side", "order_id", "price", "size", "flags")]
        if books.apply_event(book, books.Event(number, *plain)) & books.BBO_CHANGED:
            touch = book.readings[number].touch
            whole = touch.bid[2] > 0 and touch.ask[2] > 0
            found.append((place, whole and touch.bid[0] >= touch.ask[0], event))
    return found


def crossed_spans(events: list[Event], number: int) -> list[tuple[int, int, int, int]]:
    """Return (from ns, to ns, place it began, place it ended) of crossed books that trade.

    What is still crossed at the end has no end: its last two are infinite. What is crossed when
    event time begins has been so since then: since when is not known.
    """
    endless = 2**80
    marks = engine.watermarks(events)
    begun = next((place for place, mark in enumerate(marks) if mark >= 0), len(marks))
    touches = {place: crossed for place, crossed, _ in touches_of(events, number)}
    spans, crossed, halted, since = [], False, False, (-1, -1)
    for place, (event, watermark) in enumerate(zip(events, marks, strict=True)):
        if place == begun and since[1] >= 0:
            since = (watermark, place)
        if event["instrument_id"] != number:
            continue
        crossed, halted = touches.get(place, crossed), event.get("halted", halted)
        if crossed and not halted and since[1] < 0:
            since = (stands_at(event, watermark), place)
        if (halted or not crossed) and since[1] >= 0:
            if place >= begun:
                spans.append((since[0], stands_at(event, watermark), since[1], place))
            since = (-1, -1)
    return [*spans, (since[0], endless, since[1], endless)] if since[1] >= 0 else spans


def is_crossed(
    spans: list[tuple[int, int, int, int]], pane: int, sealed_at: int, opened_ns: int, length: int
) -> bool:
    """Tell whether a book had been crossed for over a second at some time in a pane.

    As known when the pane is sealed, before the record at `sealed_at`; what is crossed then is so
    to the pane's end. Time before the session's open does not count.
    """
    for since, until, began, ended in spans:
        end = (pane + 1) * length
        if ended < sealed_at:
            end = min(end, until)
        if began < sealed_at and end - max(since, opened_ns) > SECOND and end > pane * length:
            return True
    return False


def window_marks(
    events: list[Event], sessions: engine.Sessions, settings: Settings, row: engine.Row
) -> set[str]:
    """Return the marks of one row of `engine.replay`, but for who the instrument is."""
    length, number = engine.pane_ns(settings), row["instrument_id"]
    notes = notes_of(events, number, settings)
    spans = crossed_spans(events, number)
    marks = engine.watermarks(events)
    found = set()
    for pane in range(row["window_start"] // length, -(-row["window_end"] // length)):
        found |= {one.mark for one in notes if one.pane == pane and one.how != "ends"}
        for mark in ("bad_book", "halted"):
            before = [one for one in notes if one.mark == mark and one.pane < pane]
            if (
                before
                and max(before, key=lambda one: (one.pane, one.place, one.how == "begins")).how
                == "begins"
            ):
                found.add(mark)
        due = (pane + 1) * length + settings["lateness_ns"]
        sealed_at = next((place for place, mark in enumerate(marks) if mark >= due), len(marks))
        session = engine.session_of(row["window_start"], sessions)
        assert session is not None
        if is_crossed(spans, pane, sealed_at, session[0], length):
            found.add("crossed")
    if lag_ns(events, row["emitted_at"]) > 2 * SECOND:
        found.add("lagging")
    return found


def began_ns(events: list[Event]) -> int:
    """Return when event time began: windows that began earlier are partly observed."""
    return next(mark for mark in engine.watermarks(events) if mark >= 0)


def lag_ns(events: list[Event], place: int) -> int:
    """Return how late the record came that last moved event time, the one at `place` included."""
    marks = [-1, *engine.watermarks(events)]
    moved = [at for at in range(min(place + 1, len(events))) if marks[at + 1] > marks[at]]
    return int(events[moved[-1]]["ts_recv"] - events[moved[-1]]["ts_event"])


def grade(marks: set[str], unknown: int, volume: int) -> str:
    """Return the worst grade that applies."""
    if marks & F_MARKS:
        return "F"
    if marks & D_MARKS:
        return "D"
    if marks & C_MARKS or 10 * unknown > 3 * volume:
        return "C"
    if marks & B_MARKS or 10 * unknown > volume:
        return "B"
    return "A"
