"""`PressureMetrics`: one window of one instrument, as callbacks and analyses receive it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

__all__ = ["PressureMetrics", "iterate_metrics"]


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
        texts = {name: row.pop(name) or "" for name in ("symbol", "root", "underlying")}
        strike = row.pop("strike")
        yield PressureMetrics(
            strike=float("nan") if strike is None else strike,
            option_type=row.pop("option_type") or "",
            time_window=start,
            **texts,
            **row,
        )
