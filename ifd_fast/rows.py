"""Window rows as users see them: the kernels' integers joined with identity, ratios and a grade.

The columns of `WINDOW_SCHEMA`, in this order, are the contract: every file, frame and digest of
window rows has them. Prices and strikes are float64 points (exact: ticks and half ticks of a
1e-9 integer within 2^53), times nanoseconds UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from ifd_kernels.layout import (
    MARK_BAD_BOOK,
    MARK_CROSSED,
    MARK_HALTED,
    MARK_LAGGING,
    MARK_LATE,
    MARK_PARTLY_OBSERVED,
    MARK_QUOTE_RULE,
    MARK_REBUILT,
    MARK_STALE,
    MARK_TAPE_GAP,
    MARK_UNMAPPED,
    UNDEF_PRICE,
)
from ifd_kernels.pressure import ROW_FACTS, ROW_REPORT

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FACTS_SCHEMA", "GRADES", "WINDOW_SCHEMA", "build_rows", "grade_rows", "sort_rows"]

_NS: Final = pl.Datetime("ns", "UTC")
PRICE_SCALE: Final = 1e9

WINDOW_SCHEMA: Final = pl.Schema(
    {
        "window_start": _NS,
        "window_end": _NS,
        "trade_date": pl.Date(),
        "instrument_id": pl.UInt32(),
        "symbol": pl.String(),
        "root": pl.String(),
        "underlying": pl.String(),
        "expiration": _NS,
        "strike": pl.Float64(),
        "option_type": pl.String(),
        "bid_volume": pl.Int64(),
        "ask_volume": pl.Int64(),
        "unknown_volume": pl.Int64(),
        "pressure_ratio": pl.Float64(),
        "total_trades": pl.Int64(),
        "avg_trade_size": pl.Float64(),
        "dominant_side": pl.String(),
        "confidence": pl.Float64(),
        "bid_price": pl.Float64(),
        "ask_price": pl.Float64(),
        "ofi": pl.Int64(),
        "underlying_price": pl.Float64(),
        "quality": pl.String(),
    }
)
VOTES: Final = ("bid_votes_1", "ask_votes_1", "bid_votes_10", "ask_votes_10")
PACKAGED: Final = ("package_volume", "volatility_volume")
FACTS_SCHEMA: Final = pl.Schema(
    {**WINDOW_SCHEMA, "window_s": pl.Int32(), **dict.fromkeys((*VOTES, *PACKAGED), pl.Int64())}
)

GRADES: Final = np.array(["A", "B", "C", "D", "F"])
HEALTH: Final = np.array([1.0, 0.9, 0.7, 0.4, 0.0])  # h of the grade, in `confidence`
_MARKS_F: Final = MARK_TAPE_GAP | MARK_STALE | MARK_UNMAPPED | MARK_PARTLY_OBSERVED
_MARKS_D: Final = MARK_BAD_BOOK | MARK_LAGGING | MARK_CROSSED
_MARKS_C: Final = MARK_QUOTE_RULE | MARK_HALTED
_MARKS_B: Final = MARK_REBUILT | MARK_LATE
_UNKNOWN_C: Final = 0.30
_UNKNOWN_B: Final = 0.10
_BUY_SHARE: Final = 0.60
_SELL_SHARE: Final = 0.40
_FULL_TRADES: Final = 20


def grade_rows(
    marks: NDArray[np.int64], unknown_volume: NDArray[np.int64], volume: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the index into GRADES of each row: the worst that applies (n rows)."""
    unknown = unknown_volume / np.maximum(volume, 1)
    return np.select(
        [
            marks & _MARKS_F != 0,
            marks & _MARKS_D != 0,
            (marks & _MARKS_C != 0) | (unknown > _UNKNOWN_C),
            (marks & _MARKS_B != 0) | (unknown > _UNKNOWN_B),
        ],
        [4, 3, 2, 1],
        0,
    ).astype(np.int64)


def sort_rows(rows: NDArray[np.void], identity: pl.DataFrame) -> NDArray[np.void]:
    """Return kernel rows (n,) by window_end, instrument_id, then age of the instrument.

    `identity` has one line a slot: instrument_id, symbol, root, underlying, expiration, strike,
    option_type, and may have `opened`, which then orders instruments of one id.
    """
    ids = identity["instrument_id"].to_numpy()[rows["slot"]]
    opened = rows["slot"]
    if "opened" in identity.columns:
        opened = identity["opened"].to_numpy()[rows["slot"]]
    return rows[np.lexsort((opened, ids, rows["window_end_ns"]))]


def build_rows(
    rows: NDArray[np.void],
    identity: pl.DataFrame,
    trade_dates: NDArray[np.datetime64],
    window_s: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return sorted kernel rows (n,) as frames: the report's windows, and baseline facts.

    WINDOW_SCHEMA and FACTS_SCHEMA, in the order of `rows`. `identity`: see `sort_rows`;
    `trade_dates` one date a session of the calendar; `window_s`: the facts' length.
    """
    both = _build(rows, identity, trade_dates)
    windows = _select(both, rows["rows"] & ROW_REPORT != 0)
    facts = _select(both, rows["rows"] & ROW_FACTS != 0)
    with_length = facts.with_columns(pl.lit(window_s, pl.Int32).alias("window_s"))
    return windows.select(WINDOW_SCHEMA.names()), with_length.select(FACTS_SCHEMA.names())


def _select(frame: pl.DataFrame, wanted: NDArray[np.bool_]) -> pl.DataFrame:
    return frame if wanted.all() else frame.filter(pl.Series(wanted))


def _build(
    rows: NDArray[np.void], identity: pl.DataFrame, trade_dates: NDArray[np.datetime64]
) -> pl.DataFrame:
    known = identity[rows["slot"]]
    frame = pl.DataFrame(
        {
            "window_start": rows["window_start_ns"],
            "window_end": rows["window_end_ns"],
            "trade_date": trade_dates[rows["session"]].astype("datetime64[D]"),
            **_measures(rows),
            **{name: rows[name] for name in (*VOTES, *PACKAGED)},
        }
    )
    joined = frame.hstack(known.select("instrument_id", *_IDENTITY_TEXTS).get_columns())
    return joined.with_columns([pl.col(name).cast(dtype) for name, dtype in WINDOW_SCHEMA.items()])


_IDENTITY_TEXTS: Final = ("symbol", "root", "underlying", "expiration", "strike", "option_type")


def _measures(rows: NDArray[np.void]) -> dict[str, object]:
    """Return the numeric columns that follow from the kernel's integers alone."""
    bid, ask, unknown = rows["bid_volume"], rows["ask_volume"], rows["unknown_volume"]
    trades, known = rows["trades"], bid + ask
    volume = known + unknown
    grades = grade_rows(rows["marks"], unknown, volume)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(known == 0, 1.0, ask / bid)
        share = np.where(known == 0, 0.5, ask / np.maximum(known, 1))
        confidence = known / np.maximum(volume, 1) * np.minimum(trades / _FULL_TRADES, 1.0)
    return {
        "bid_volume": bid,
        "ask_volume": ask,
        "unknown_volume": unknown,
        "pressure_ratio": ratio,
        "total_trades": trades,
        "avg_trade_size": volume / np.maximum(trades, 1),
        "dominant_side": np.select(
            [share > _BUY_SHARE, share < _SELL_SHARE], ["BUY", "SELL"], "NEUTRAL"
        ),
        "confidence": confidence * HEALTH[grades],
        "bid_price": _points(rows["bid_price_1e9"]),
        "ask_price": _points(rows["ask_price_1e9"]),
        "ofi": rows["ofi"],
        "underlying_price": _points(rows["underlying_mid2_1e9"], 2.0),
        "quality": GRADES[grades],
    }


def _points(price_1e9: NDArray[np.int64], parts: float = 1.0) -> pl.Series:
    """Return fixed-point prices as float points, null where undefined."""
    points = pl.Series(price_1e9 / (PRICE_SCALE * parts))
    undefined = pl.Series(price_1e9 == UNDEF_PRICE)
    return pl.select(pl.when(undefined).then(None).otherwise(points)).to_series()
