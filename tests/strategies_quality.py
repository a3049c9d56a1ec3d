"""Streams in which books cross, halt, turn suspect and are rebuilt, and trades come late."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import polars as pl
from hypothesis import strategies as st

from ifd_fast.desks import RecordDesk
from ifd_fast.draining import Drain
from ifd_fast.engine import FlowEngine
from ifd_fast.framing import Framer
from ifd_kernels import layout
from ifd_kernels.layout import UNDEF_PRICE
from ifd_kernels.pressure import ROW_FACTS, ROW_REPORT
from tests.oracle import engine as oracle
from tests.oracle import quality
from tests.strategies_engine import (
    FUTURE,
    OPEN,
    OPTION,
    SECOND,
    SESSIONS,
    UNDERLYING,
    as_bytes,
    event,
    make_engine,
)

__all__ = ["PACES", "by_rules", "marked_streams", "play_graded", "play_marked", "status"]

STRANGER = 900
MARKS = {
    "tape_gap": layout.MARK_TAPE_GAP,
    "bad_book": layout.MARK_BAD_BOOK,
    "lagging": layout.MARK_LAGGING,
    "crossed": layout.MARK_CROSSED,
    "halted": layout.MARK_HALTED,
    "rebuilt": layout.MARK_REBUILT,
    "late": layout.MARK_LATE,
}
PACES = [
    {"window_s": length, "step_s": step, "lateness_ns": lateness}
    for length, step in [(5, 5), (8, 8), (10, 5), (24, 8), (60, 60), (60, 10), (300, 300)]
    for lateness in [0, SECOND // 2, SECOND, 3 * SECOND]
]
Event = dict[str, Any]


def status(ts_event: int, *, trading: bool, instrument_id: int = OPTION) -> bytes:
    """Return one status record."""
    stamp = ts_event % 2**64
    head = struct.pack("<BBHIQQHHH", 10, 0x12, 1, instrument_id, stamp, stamp, 0, 0, 0)
    return (head + (b"Y" if trading else b"N")).ljust(40, b"~")


# --- strategies -----------------------------------------------------------------------------------
_steps = st.sampled_from(
    [0, 0, 1, 10**8, 3 * 10**8, 5 * 10**8, SECOND - 1, SECOND, SECOND + 1]
    + [count * SECOND for count in (2, 3, 5, 11)]
)
_backs = st.sampled_from([0] * 12 + [1, SECOND // 2, SECOND, SECOND + 1, 4 * SECOND, 9 * SECOND])
_aheads = st.sampled_from([0] * 8 + [SECOND // 2, SECOND, SECOND + 1, 30 * SECOND])
_lags = st.sampled_from([100_000] * 12 + [2 * SECOND, 2 * SECOND + 1, -SECOND, -SECOND - 1])
_flags = st.sampled_from([128] * 14 + [0, 4, 132, 40, 168, 172, 136, 8])
_records = st.tuples(
    st.sampled_from("TTTTAAAAAAMMCCR"),
    st.sampled_from("ABABABABN"),
    st.integers(1, 4),
    st.sampled_from([-2, -1, 0, 1, 2]),
    st.sampled_from([1, 1, 2, 5]),
    _flags,
)
_parts = st.tuples(
    _steps,
    _backs,
    _lags,
    st.sampled_from([OPTION] * 5 + [FUTURE] * 3 + [STRANGER]),
    st.one_of(_records, _records, _records, st.tuples(st.booleans(), _aheads)),
)


def _build(start: int, parts: Sequence[tuple[Any, ...]]) -> list[Event]:
    now, stream = start, list[Event]()
    for step, back, lag, instrument_id, what in parts:
        now += step
        times = {"ts_event": now - back, "ts_recv": now - back + lag}
        if len(what) == 2:
            stream.append(
                {
                    "instrument_id": instrument_id,
                    "halted": what[0],
                    "ts_event": now - back + what[1],
                }
            )
            continue
        action, side, order_id, tick, size, flags = what
        plain = {"order_id": order_id, "price": 250_000_000 * tick, "size": size, "flags": flags}
        if action == "R":
            plain |= {"order_id": 0, "price": UNDEF_PRICE, "size": 0}
        stream.append(
            event(action=action, side=side, instrument_id=instrument_id, **times, **plain)
        )
    return stream


def marked_streams(max_size: int = 80) -> st.SearchStrategy[list[Event]]:
    """Return streams of seconds to minutes, with status records among the others."""
    starts = st.sampled_from(
        [OPEN - 3 * SECOND, *[OPEN + 20 * SECOND] * 4, SESSIONS[0][1] - 9 * SECOND]
    )
    short = st.lists(_parts, max_size=max_size // 4)
    long = st.lists(_parts, min_size=max_size // 2, max_size=max_size)
    return st.builds(_build, starts, short | long)


# --- playing --------------------------------------------------------------------------------------
def feed_all(engine: FlowEngine, stream: Sequence[Event]) -> None:
    """Feed an engine records and statuses as bytes, and flush it."""
    framer, desk = Framer(engine.state.ring, 3), RecordDesk(3)
    engine.on_records = lambda handed: desk.take(engine, handed)
    engine.feed(framer, b"".join(as_record(one) for one in stream))
    framer.finish()
    engine.flush()


def as_record(one: Event) -> bytes:
    """Return one record's bytes."""
    if "action" in one:
        return as_bytes([one])
    trading = not one["halted"]
    return status(one["ts_event"], trading=trading, instrument_id=one["instrument_id"])


def play_marked(stream: Sequence[Event], settings: dict[str, int]) -> dict[str, list[Any]]:
    """Return (window_end, instrument_id, marks) of each window and fact, as the kernels have it."""
    engine = make_engine(settings)
    feed_all(engine, stream)
    rows, ids = engine.take_rows(), engine.instruments.identities["instrument_id"]
    found = {}
    for name, kind in (("windows", ROW_REPORT), ("facts", ROW_FACTS)):
        found[name] = sorted(
            (int(row["window_end_ns"]), int(ids[row["slot"]]), names_of(int(row["marks"])))
            for row in rows[rows["rows"] & kind != 0]
        )
    return found


def names_of(marks: int) -> list[str]:
    """Return the names of the bits of `marks`, sorted."""
    return sorted(name for name, bit in MARKS.items() if marks & bit)


def play_graded(stream: Sequence[Event], settings: dict[str, int]) -> dict[str, list[Any]]:
    """Return (window_end, instrument_id, quality) of each window and fact, through the border."""
    engine = make_engine(settings)
    frames: dict[str, list[pl.DataFrame]] = {"windows": [], "facts": [], "signals": []}
    drain = Drain(engine, lambda name, frame: frames[name].append(frame), frames)
    feed_all(engine, stream)
    drain.drain()
    columns = [pl.col("window_end").cast(pl.Int64), "instrument_id", "quality"]
    return {
        name: [row for frame in frames[name] for row in frame.select(columns).iter_rows()]
        for name in ("windows", "facts")
    }


def by_rules(
    stream: Sequence[Event], settings: dict[str, int], *, graded: bool
) -> dict[str, list[Any]]:
    """Return what the rules say of the same: marks by name, or grades."""
    events = list(stream)
    found = oracle.replay(events, SESSIONS, settings, UNDERLYING)
    judged: dict[str, list[Any]] = {}
    for name in ("windows", "facts"):
        judged[name] = []
        for row in found[name]:
            marks = quality.window_marks(events, SESSIONS, settings, row)
            known: list[str] | str = sorted(marks)
            if graded:
                if row["instrument_id"] == STRANGER:
                    marks.add("unmapped")
                if row["window_start"] < quality.began_ns(events):
                    marks.add("partly_observed")
                volumes = [row[key] for key in ("bid_volume", "ask_volume", "unknown_volume")]
                known = quality.grade(marks, volumes[2], sum(volumes))
            judged[name].append((row["window_end"], row["instrument_id"], known))
    return judged
