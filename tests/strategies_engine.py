"""Streams around every edge of event time, and how to play them by the rules and for real."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ifd_fast.calendar import Sessions
from ifd_fast.engine import FlowEngine
from ifd_fast.framing import Framer
from ifd_fast.profiles import Profile
from ifd_kernels.layout import UNDEF_PRICE
from ifd_kernels.pressure import ROW_FACTS, ROW_REPORT
from tests.oracle import engine as oracle
from tests.strategies_instruments import define
from tests.strategies_wire import mbo

__all__ = [
    "DAY",
    "FIELDS",
    "FUTURE",
    "HOUR",
    "OPEN",
    "OPTION",
    "SECOND",
    "SESSIONS",
    "SETTINGS",
    "as_bytes",
    "as_sessions",
    "by_rules",
    "counted",
    "event",
    "feed",
    "make_engine",
    "plain_rows",
    "play",
    "rows_of",
    "streams",
]

SECOND = 10**9
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
HIGH_NOON = 1_715_256_000 * SECOND  # 2024-05-09 12:00 UTC, a multiple of an hour
OPEN = HIGH_NOON + 25 * MINUTE  # no multiple of an hour: windows of one are cut
SESSIONS = [
    (OPEN, OPEN + 50 * MINUTE),
    (OPEN + 60 * MINUTE, OPEN + 60 * MINUTE + 23 * HOUR),
    (OPEN + 1000 * DAY, OPEN + 1000 * DAY + 3 * HOUR + 15 * MINUTE),  # an early close
]
FUTURE, OPTION, STRANGER = 7, 1, 900
UNDERLYING = {OPTION: FUTURE}
LENGTHS = [(300, 300), (60, 60), (300, 60), (3600, 300), (3600, 3600), (8, 8), (24, 8), (10, 5)]
SETTINGS = [
    {"window_s": length, "step_s": step, "lateness_ns": lateness}
    for length, step in LENGTHS
    for lateness in [0, SECOND // 2, SECOND, 3 * SECOND]
]
FIELDS = (
    *("window_start", "window_end", "instrument_id", "bid_volume", "ask_volume"),
    *("unknown_volume", "total_trades", "bid_price", "ask_price", "ofi", "underlying_mid2"),
    *("bid_votes_1", "ask_votes_1", "bid_votes_10", "ask_votes_10"),
)
KERNEL_NAMES = {
    "window_start": "window_start_ns",
    "window_end": "window_end_ns",
    "total_trades": "trades",
    "bid_price": "bid_price_1e9",
    "ask_price": "ask_price_1e9",
    "underlying_mid2": "underlying_mid2_1e9",
}

Event = dict[str, Any]


def event(ts_event: int, action: str = "T", side: str = "B", **changes: Any) -> Event:
    """Return one MBO record of the option, received a tenth of a millisecond later."""
    plain = {
        "instrument_id": OPTION,
        "ts_event": ts_event,
        "ts_recv": ts_event + 100_000,
        "action": action,
        "side": side,
        "order_id": 1,
        "price": 5 * SECOND,
        "size": 1,
        "flags": 128,
    }
    return plain | changes


# --- strategies -----------------------------------------------------------------------------------
_edges = st.tuples(
    st.sampled_from([SECOND, SECOND, MINUTE, 300 * SECOND, HOUR, "open", "close"]),
    st.sampled_from([-1, 0, 1, SECOND // 2, SECOND - 1, SECOND, SECOND + 1, 3 * SECOND]),
)
_near = [0, 0, 1, 1_000_000, SECOND // 3, SECOND, 2 * SECOND, 7 * SECOND, 61 * SECOND]
_far = [299 * SECOND, 301 * SECOND, 20 * MINUTE, 5 * HOUR, DAY, 900 * DAY, 40 * 366 * DAY]
_steps = st.integers(0, 19).flatmap(
    lambda chance: (
        st.sampled_from(_near) if chance < 15 else _edges if chance < 19 else st.sampled_from(_far)
    )
)
_backs = st.sampled_from([0] * 16 + [1, SECOND // 2, SECOND, SECOND + 1, 4 * SECOND, MINUTE, HOUR])
_lags = st.sampled_from(
    [100_000] * 20 + [0, 2 * SECOND, 2 * SECOND + 1, -SECOND, -SECOND - 1, "undefined"]
)
_flags = st.sampled_from([128] * 30 + [0, 0, 130, 40, 168, 32, 136, 136, 8, 132, 4])
_sizes = st.sampled_from([1] * 6 + [2, 3, 5, 11, 40] * 2 + [0, 2**32 - 1])
_odd_prices = [UNDEF_PRICE, UNDEF_PRICE - 1, -(2**63), 2**62, 2**62 - 1, 0]
_parts = st.tuples(
    _steps,
    _backs,
    _lags,
    st.sampled_from("TTTTTTTTTAAAAAAAAACMMMRFN"),
    st.sampled_from("ABABABABABN"),
    st.integers(1, 6),
    st.sampled_from([0, 1, 2, 3] * 8 + _odd_prices),
    _sizes,
    _flags,
    st.sampled_from([OPTION, OPTION, FUTURE, FUTURE, STRANGER]),
)


def _next_time(now: int, step: int | tuple[Any, int]) -> int:
    """Return the time a step leads to, never before `now`."""
    if isinstance(step, int):
        return now + step
    span, offset = step
    if span in {"open", "close"}:
        edges = [edge for one in SESSIONS for edge in one if edge > now]
        return max(now, (edges[0] if edges else now) + offset)
    return max(now, (now // int(span) + 1) * int(span) + offset)


def _build(start: int, parts: Sequence[tuple[Any, ...]], mad: int) -> list[Event]:
    """Turn drawn parts into a stream; `mad` replaces the time of the sixth record, if any."""
    now, stream = start, list[Event]()
    for step, back, lag, action, side, order_id, tick, size, flags, instrument_id in parts:
        now = _next_time(now, step)
        ts_event = mad if mad != 0 and len(stream) == 5 else now - back
        price = tick
        if 0 <= tick <= 3:  # asks above bids, but for one tick
            price = 250_000_000 * (tick - (3 if side == "B" else 0))
        ts_recv = -1 if lag == "undefined" else max(ts_event, 0) + lag
        stream.append(
            event(
                ts_event,
                action,
                side,
                ts_recv=min(max(ts_recv, -1), 2**63 - 1),
                order_id=order_id,
                price=price,
                size=size,
                flags=flags,
                instrument_id=instrument_id,
            )
        )
    return stream


_mad_times = st.sampled_from([0] * 30 + [-1, 1, 2**62 - 1, 2**62, 2**63 - 1, 4 * 10**18])


def streams(max_size: int = 80) -> st.SearchStrategy[list[Event]]:
    """Return streams of records around the edges of seconds, panes, windows and sessions."""
    starts = st.sampled_from(
        [OPEN - HOUR, OPEN - 1, OPEN, *[OPEN + 7 * MINUTE] * 3, SESSIONS[0][1] - 1]
    )
    short = st.lists(_parts, max_size=max_size // 4)
    long = st.lists(_parts, min_size=max_size // 2, max_size=max_size)
    return st.builds(_build, starts, short | long, _mad_times)


# --- playing --------------------------------------------------------------------------------------
def as_bytes(stream: Sequence[Event]) -> bytes:
    """Return the records as DBN bytes; -1 is UNDEF."""
    whole = [
        mbo(**{**one, "ts_event": one["ts_event"] % 2**64, "ts_recv": one["ts_recv"] % 2**64})
        for one in stream
    ]
    return b"".join(whole)


def as_sessions(edges: Sequence[tuple[int, int]] = tuple(SESSIONS)) -> Sessions:
    """Return a calendar of the given opens and closes."""
    array = np.array(edges, np.int64)
    dates = (array[:, 1] // DAY).astype("datetime64[D]")
    return Sessions("test", dates, array[:, 0].copy(), array[:, 1].copy(), "test")


def make_engine(
    settings: dict[str, int],
    *,
    instruments: int = 1,
    kind: type[FlowEngine] = FlowEngine,
    ring_capacity_events: int = 1024,
    **changes: Any,
) -> FlowEngine:
    """Return an engine with everything at its smallest, an option and its future defined."""
    profile = Profile(
        window_s=settings["window_s"],
        window_step_s=settings["step_s"],
        lateness_s=settings["lateness_ns"] / SECOND,
        ring_capacity_events=ring_capacity_events,
        book_capacity_orders=16,
        book_capacity_instruments=instruments,
        **changes,
    )
    engine = kind(profile, as_sessions())
    engine.instruments.add_definition(define(OPTION))
    engine.instruments.add_definition(define(FUTURE, "ESM4", "F"))
    engine.use_slots()
    return engine


def feed(engine: FlowEngine, chunks: Sequence[bytes]) -> None:
    """Feed one raw stream in chunks."""
    framer = Framer(engine.state.ring, 3)
    for chunk in chunks:
        engine.feed(framer, chunk)
    framer.finish()


def play(stream: Sequence[Event], settings: dict[str, int], **changes: Any) -> FlowEngine:
    """Return an engine that has been fed the stream in one piece, and flushed."""
    engine = make_engine(settings, **changes)
    feed(engine, [as_bytes(stream)])
    engine.flush()
    return engine


def plain_rows(engine: FlowEngine, rows: NDArray[np.void], kind: int) -> list[dict[str, Any]]:
    """Return the kernel's rows of one kind as the oracle has them, sorted as frames are."""
    ids = engine.instruments.identities["instrument_id"]
    plain = []
    for row in rows[rows["rows"] & kind != 0]:
        one: dict[str, Any] = {"instrument_id": int(ids[row["slot"]])}
        for name in FIELDS:
            if name != "instrument_id":
                value = int(row[KERNEL_NAMES.get(name, name)])
                undefined = value == UNDEF_PRICE and ("price" in name or "mid2" in name)
                one[name] = None if undefined else value
        plain.append(one)
    return sorted(plain, key=lambda one: (one["window_end"], one["instrument_id"]))


def rows_of(engine: FlowEngine) -> dict[str, list[dict[str, Any]]]:
    """Return windows and facts that the engine has emitted since the last call."""
    rows = engine.take_rows()
    return {
        "windows": plain_rows(engine, rows, ROW_REPORT),
        "facts": plain_rows(engine, rows, ROW_FACTS),
    }


def by_rules(
    stream: Sequence[Event], settings: dict[str, int], at: int | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Return what the rules say of the stream: all rows, or those due at one record."""
    found = oracle.replay(list(stream), SESSIONS, settings, UNDERLYING)
    return {
        name: [
            {key: row[key] for key in FIELDS}
            for row in found[name]
            if at is None or row["emitted_at"] == at
        ]
        for name in ("windows", "facts")
    }


def counted(engine: FlowEngine) -> dict[str, int]:
    """Return what became of the trades."""
    from ifd_fast.accounts import count_engine

    trades: dict[str, int] = count_engine(engine)["trades"]
    return trades
