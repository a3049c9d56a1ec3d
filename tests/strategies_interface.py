"""A small market as bytes, and twenty sessions of its history: what the interface's tests share."""

from __future__ import annotations

import atexit
import dataclasses
import datetime as dt
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ifd_fast.baseline_estimates import estimate
from ifd_fast.baseline_file import publish_arrays
from ifd_fast.baseline_store import open_store
from ifd_fast.baselines import add_folders, arrays_path
from ifd_fast.calendar import Session
from ifd_fast.dbnwriter import encode_definitions, encode_header
from ifd_fast.metrics import PressureMetrics
from ifd_fast.optionchain import Listing
from ifd_fast.ranking import UNKNOWN_ALPHA, UNKNOWN_BETA, Ranking, make_limits, normal_ranks
from ifd_fast.simulated_files import pick_sessions
from ifd_fast.streaming import MBOStreamingClient
from tests.strategies_baselines import FIRST_DAY, make_session, write_folder
from tests.strategies_wire import mbo

__all__ = [
    "CALL",
    "CHAIN",
    "FUTURE",
    "LATE",
    "OPEN",
    "PUT",
    "SECOND",
    "SMALL",
    "SPREAD",
    "TODAY",
    "WINDOW",
    "definitions",
    "event",
    "fed",
    "head",
    "market",
    "metrics",
    "publish_ranked",
    "record",
    "run",
    "store",
]

SECOND = 10**9
WINDOW = 300 * SECOND
HISTORY: list[Session] = pick_sessions(FIRST_DAY, 21)
TODAY = HISTORY[-1]
OPEN = TODAY.open_ns
FUTURE, CALL, PUT, SPREAD, LATE = 42, 101, 102, 150, 199
EXPIRATION = OPEN + 100 * 86_400 * SECOND
STRIKES = [20_000.0, 20_050.0, 20_100.0]


def _option(instrument_id: int, right: str, strike: float) -> Listing:
    symbol = f"NQH6 {right}{strike:.0f}"
    return Listing(instrument_id, symbol, right, "NQ", "NQH6", FUTURE, strike, EXPIRATION, ())


CHAIN = [
    Listing(FUTURE, "NQH6", "F", "NQ", "NQH6", 0, 0.0, EXPIRATION, ()),
    *[_option(101 + 2 * n, "C", strike) for n, strike in enumerate(STRIKES)],
    *[_option(102 + 2 * n, "P", strike) for n, strike in enumerate(STRIKES)],
    Listing(SPREAD, "UD:1V: VT 260101", "T", "NQ", "", 0, 0.0, EXPIRATION, ((1, "B"), (4, "B"))),
]
UNLISTED = _option(LATE, "C", 20_200.0)

# A profile with everything at its smallest, so that a client costs nothing.
SMALL = """
[engine]
ring_capacity_events = 1024
book_capacity_orders = 16
book_capacity_instruments = 16
"""


def head(schema: str = "mbo", chain: Sequence[Listing] = tuple(CHAIN)) -> bytes:
    """Return the header of a file of today's session."""
    return encode_header(schema, list(chain), OPEN, TODAY.close_ns, TODAY.trade_date)


def definitions(chain: Sequence[Listing] = tuple(CHAIN), at_ns: int = OPEN) -> bytes:
    """Return definition records."""
    return encode_definitions(list(chain), at_ns)


def event(second: float, instrument_id: int = CALL, side: str = "B", size: int = 1) -> bytes:
    """Return a trade so many seconds after the open; B: a buyer lifted the ask."""
    ts_event = OPEN + round(second * SECOND)
    return mbo(
        action="T",
        side=side,
        size=size,
        order_id=0,
        instrument_id=instrument_id,
        ts_event=ts_event,
        ts_recv=ts_event + 100_000,
    )


def run(second: float, trades: int, **values: Any) -> list[tuple[float, bytes]]:
    """Return trades one after the other, two seconds apart, with their times."""
    times = [second + 2 * number for number in range(trades)]
    return [(time, event(time, **values)) for time in times]


@cache
def market() -> bytes:
    """Return a whole stream: strong buying and selling, quiet strikes, a future, a spread.

    Windows begin 3600 s after the open: calls bought and puts sold in the first, the reverse in
    the third, two-sided flow everywhere; an option that is defined only after its first window.
    """
    trades = [
        *run(3600.5, 100, instrument_id=CALL, size=3),
        *run(3601, 100, instrument_id=PUT, side="A", size=3),
        *run(3601.2, 4, instrument_id=CALL, side="A"),
        *run(4200.5, 100, instrument_id=CALL, side="A", size=3),
        *run(4201, 100, instrument_id=PUT, size=3),
        *[one for n in range(6) for one in run(3603 + n * 150, 3, instrument_id=103 + n % 4)],
        *[
            one
            for n in range(6)
            for one in run(3650 + n * 150, 3, instrument_id=103 + n % 4, side="A")
        ],
        *run(3602, 20, instrument_id=FUTURE),
        *run(3602.7, 5, instrument_id=SPREAD),
        *run(3603.3, 5, instrument_id=LATE),
        *run(4203.3, 5, instrument_id=LATE),
        *run(5400, 1, instrument_id=FUTURE),
    ]
    trades.append((3950.0, definitions([UNLISTED], OPEN + 3950 * SECOND)))
    trades.sort(key=lambda one: one[0])
    return head() + definitions() + b"".join(data for _, data in trades)


def fed(
    client: MBOStreamingClient, chunks: Iterable[bytes], name: str = "on_pressure_metrics"
) -> list[Any]:
    """Return what the client's callback saw of a stream, which is flushed."""
    found: list[Any] = []
    setattr(client, name, found.append)
    for chunk in chunks:
        client.feed(chunk)
    client.flush()
    return found


def record(**changes: Any) -> PressureMetrics:
    """Return one window of the call, strongly bought, in the middle of today's session."""
    start = dt.datetime.fromtimestamp((OPEN + 50_400 * SECOND) // SECOND, dt.UTC)
    values: dict[str, Any] = {
        "strike": 20_000.0,
        "option_type": "C",
        "time_window": start,
        "bid_volume": 5,
        "ask_volume": 300,
        "pressure_ratio": 60.0,
        "total_trades": 100,
        "avg_trade_size": 3.05,
        "dominant_side": "BUY",
        "confidence": 1.0,
        "window_end": start + dt.timedelta(seconds=300),
        "trade_date": TODAY.trade_date,
        "instrument_id": CALL,
        "symbol": "NQH6 C20000",
        "root": "NQ",
        "underlying": "NQH6",
        "expiration": dt.datetime.fromtimestamp(EXPIRATION // SECOND, dt.UTC),
        "quality": "A",
    }
    return PressureMetrics(**(values | changes))


def metrics(count: int, build: Callable[[int], dict[str, Any]]) -> list[PressureMetrics]:
    """Return records that differ as `build` says."""
    return [record(**build(number)) for number in range(count)]


@cache
def store() -> Path:
    """Return a baseline store of twenty quiet, two-sided sessions of the chain."""
    folder = Path(tempfile.mkdtemp(prefix="ifd-interface-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    options = [
        {
            "instrument_id": one.instrument_id,
            "symbol": one.symbol,
            "root": "NQ",
            "underlying": "NQH6",
            "expiration": EXPIRATION,
            "strike": one.strike,
            "option_type": one.instrument_class,
        }
        for one in CHAIN
        if one.instrument_class in {"C", "P"}
    ]
    trades = [
        {"option": o, "bin": b, "bid": 1 + b % 2, "ask": 2 - b % 2, "mid": 20_020.0, "quality": "A"}
        for o in range(len(options))
        for b in range(0, 276, 3)
    ]
    path = folder / "store.duckdb"
    folders = []
    for number, session in enumerate(HISTORY[:-1]):
        made = make_session(session.trade_date, options, trades)
        made["facts_digest"] = f"facts {number}"
        folders.append(write_folder(folder / str(number), [made]))
    add_folders(path, folders)
    publish_ranked(path, HISTORY[-1].trade_date)
    return path


def publish_ranked(path: Path, as_of: dt.date) -> None:
    """Publish the store's estimates with ranks that are ready: of a normal tail.

    The quiet sessions hold no hand-overs, and so give none of their own.
    """
    with open_store(path) as connection:
        arrays = estimate(connection, as_of, 20)
    limits = make_limits(ready=True, sessions=20.0, line=(UNKNOWN_ALPHA, UNKNOWN_BETA))
    ranked = dataclasses.replace(arrays, ranking=Ranking(normal_ranks(), limits))
    publish_arrays(arrays_path(path), ranked)
