"""`PressureMetrics`: one window of one instrument, as callbacks and analyses receive it."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from ifd_fast.errors import UsageError
from ifd_kernels.layout import UNDEF_PRICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

__all__ = ["CheckedWindow", "PressureMetrics", "check_metrics", "iterate_metrics"]

WINDOW_NS: Final = 300_000_000_000  # of a record that doesn't say when its window ends
_COUNT_MAX: Final = 2**53  # beyond it a float can't hold every count
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_OPTION_TYPES: Final = ("C", "P", "F", "S", "")


@dataclass(frozen=True, slots=True)
class PressureMetrics:
    """The first ten fields, in order, are the users' contract; the others have defaults.

    Attributes
    ----------
    strike
        Points; NaN for an instrument without one (a future, a spread, an unknown id).
    option_type
        "C", "P", "F" future, "S" spread, "" unknown.
    time_window
        Start of the window, UTC.
    bid_volume, ask_volume
        Contracts that hit the bid (sell aggressor) and that lifted the ask (buy aggressor).
    pressure_ratio
        ask_volume / bid_volume; infinite if only bid_volume is 0, 1.0 if both are.
    total_trades
        Trades with a size, side N included.
    avg_trade_size
        Contracts a trade.
    dominant_side
        "BUY" above 60 % of known volume, "SELL" below 40 %, else "NEUTRAL".
    confidence
        0 to 1: share of known volume, times min(trades / 20, 1), times the grade's factor.
    """

    strike: float
    option_type: str
    time_window: dt.datetime
    bid_volume: int
    ask_volume: int
    pressure_ratio: float
    total_trades: int
    avg_trade_size: float
    dominant_side: Literal["BUY", "SELL", "NEUTRAL"]
    confidence: float
    window_end: dt.datetime | None = None
    trade_date: dt.date | None = None
    instrument_id: int = 0
    symbol: str = ""
    root: str = ""
    underlying: str = ""
    expiration: dt.datetime | None = None
    unknown_volume: int = 0
    bid_price: float | None = None
    ask_price: float | None = None
    ofi: int = 0
    underlying_price: float | None = None
    quality: str = "F"


def iterate_metrics(windows: pl.DataFrame) -> Iterator[PressureMetrics]:
    """Yield one PressureMetrics a row of `windows` (columns of `rows.WINDOW_SCHEMA`)."""
    for row in windows.iter_rows(named=True):
        start = row.pop("window_start")
        texts: dict[str, Any] = {
            name: row.pop(name) or "" for name in ("symbol", "root", "underlying")
        }
        strike = row.pop("strike")
        yield PressureMetrics(
            strike=float("nan") if strike is None else strike,
            option_type=row.pop("option_type") or "",
            time_window=start,
            **texts,
            **row,
        )


class CheckedWindow(NamedTuple):
    """A record as the scorer needs it: integers, and nothing that could surprise a kernel."""

    option_type: str
    start_ns: int
    end_ns: int
    bid_volume: int
    ask_volume: int
    total_trades: int
    quality: str
    instrument_id: int
    symbol: str
    underlying: str
    strike: float | None
    strike_1e9: int
    expiration: dt.datetime | None
    expiration_ns: int

    @property
    def length_ns(self) -> int:
        """Length of the window."""
        return self.end_ns - self.start_ns


def check_metrics(metrics: PressureMetrics) -> CheckedWindow:
    """Return what a record says, checked; users may have made it themselves.

    Raises
    ------
    UsageError
        A time has no zone or order, an option type is unknown, or a count is out of bounds.
    """
    if metrics.option_type not in _OPTION_TYPES:
        raise UsageError(
            f"`option_type` must be one of 'C', 'P', 'F', 'S', was {metrics.option_type!r}."
            " Use 'C' for a call, 'P' for a put."
        )
    start_ns = _time("time_window", metrics.time_window)
    end_ns = start_ns + WINDOW_NS
    if metrics.window_end is not None:
        end_ns = _time("window_end", metrics.window_end)
    if not start_ns < end_ns <= start_ns + 12 * WINDOW_NS:
        raise UsageError(
            f"`window_end` must be after `time_window`, by an hour at most, was"
            f" {metrics.window_end} after {metrics.time_window}."
        )
    strike_1e9 = _fixed(metrics.strike)
    expiration = metrics.expiration
    return CheckedWindow(
        option_type=metrics.option_type,
        start_ns=start_ns,
        end_ns=end_ns,
        bid_volume=_count("bid_volume", metrics.bid_volume),
        ask_volume=_count("ask_volume", metrics.ask_volume),
        total_trades=_count("total_trades", metrics.total_trades),
        quality=metrics.quality,
        instrument_id=_count("instrument_id", metrics.instrument_id, 2**32 - 1),
        symbol=metrics.symbol,
        underlying=metrics.underlying,
        strike=None if strike_1e9 == UNDEF_PRICE else float(metrics.strike),
        strike_1e9=strike_1e9,
        expiration=expiration,
        expiration_ns=-1 if expiration is None else _time("expiration", expiration),
    )


def _count(name: str, value: Any, most: int = _COUNT_MAX) -> int:
    """Return a whole number within its bounds, of whatever type it is."""
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        whole = -1
    if not 0 <= whole <= most or whole != value:
        raise UsageError(f"`{name}` must be a whole number from 0 to {most}, was {value!r}.")
    return whole


def _time(name: str, when: Any) -> int:
    """Return a time as ns UTC, exactly: no float on the way."""
    if not isinstance(when, dt.datetime) or when.tzinfo is None:
        raise UsageError(f"`{name}` must be a datetime with a time zone, was {when!r}. Use UTC.")
    since = when - _EPOCH
    ts_ns = (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    if not 0 <= ts_ns < 2**62:
        raise UsageError(f"`{name}` must be within 1970 to 2116, was {when}.")
    return ts_ns


def _fixed(points: float | None) -> int:
    """Return a price at 1e-9, UNDEF_PRICE if it is no finite number of the wire's range."""
    if points is None or not math.fabs(points) < 9e9:
        return UNDEF_PRICE
    return round(points * 1e9)
