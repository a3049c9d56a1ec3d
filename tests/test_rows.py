"""Rows as users see them: grades, ratios and the dominant side, by hand at their limits."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest

from ifd_fast.rows import FACTS_SCHEMA, WINDOW_SCHEMA, build_rows, sort_rows
from ifd_kernels.layout import (
    MARK_BAD_BOOK,
    MARK_HALTED,
    MARK_LATE,
    MARK_REBUILT,
    MARK_TAPE_GAP,
    MARK_UNMAPPED,
    UNDEF_PRICE,
)
from ifd_kernels.pressure import ROW, ROW_FACTS, ROW_REPORT

DATES = np.array(["2024-05-09"], "datetime64[D]")
IDENTITY = pl.DataFrame(
    {
        "instrument_id": [9, 4],
        "symbol": ["ESM4 C5000", None],
        "root": ["ES", None],
        "underlying": ["ESM4", None],
        "expiration": [None, None],
        "strike": [5000.0, None],
        "option_type": ["C", None],
    }
)


def row(**fields: int) -> dict[str, Any]:
    """Return the one window made of kernel fields; without any, one trade of one contract."""
    return window([fields]).row(0, named=True)


def window(rows: list[dict[str, int]]) -> pl.DataFrame:
    """Return kernel rows as windows."""
    raw = np.zeros(len(rows), ROW)
    raw["trades"], raw["bid_price_1e9"], raw["ask_price_1e9"] = 1, UNDEF_PRICE, UNDEF_PRICE
    raw["underlying_mid2_1e9"] = UNDEF_PRICE
    for number, fields in enumerate(rows):
        for name, value in fields.items():
            raw[number][name] = value
    raw["rows"] = ROW_REPORT | ROW_FACTS
    frame, facts = build_rows(sort_rows(raw, IDENTITY), IDENTITY, DATES, 300)
    assert frame.schema == WINDOW_SCHEMA
    assert facts.schema == FACTS_SCHEMA
    assert facts.select(WINDOW_SCHEMA.names()).equals(frame)
    return frame


@pytest.mark.parametrize(
    ("bid", "ask", "ratio", "side"),
    [
        (0, 0, 1.0, "NEUTRAL"),
        (0, 5, float("inf"), "BUY"),
        (5, 0, 0.0, "SELL"),
        (4, 6, 1.5, "NEUTRAL"),
        (39, 61, 61 / 39, "BUY"),
        (6, 4, 4 / 6, "NEUTRAL"),
        (61, 39, 39 / 61, "SELL"),
    ],
)
def test_ratio_and_side(bid: int, ask: int, ratio: float, side: str) -> None:
    """The ratio is ask over bid, infinite without bids; 60 and 40 % are neutral still."""
    found = row(bid_volume=bid, ask_volume=ask, unknown_volume=1)
    assert (found["pressure_ratio"], found["dominant_side"]) == (ratio, side)


@pytest.mark.parametrize(
    ("marks", "unknown", "grade", "factor"),
    [
        (0, 10, "A", 1.0),
        (0, 11, "B", 0.9),
        (MARK_LATE, 0, "B", 0.9),
        (MARK_REBUILT, 30, "B", 0.9),
        (0, 31, "C", 0.7),
        (MARK_HALTED | MARK_LATE, 0, "C", 0.7),
        (MARK_BAD_BOOK | MARK_HALTED, 31, "D", 0.4),
        (MARK_TAPE_GAP | MARK_BAD_BOOK, 0, "F", 0.0),
        (MARK_UNMAPPED, 0, "F", 0.0),
    ],
)
def test_the_worst_grade_that_applies(marks: int, unknown: int, grade: str, factor: float) -> None:
    """Marks and the unknown share decide; confidence is known share, trades and the factor."""
    found = row(ask_volume=100 - unknown, unknown_volume=unknown, marks=marks, trades=10)
    assert found["quality"] == grade
    assert found["confidence"] == pytest.approx((100 - unknown) / 100 * 0.5 * factor, abs=1e-15)


def test_prices_are_points_or_null() -> None:
    """Fixed point becomes points, negative too; undefined is null; a mid may be half a tick."""
    found = row(bid_price_1e9=-250_000_000, underlying_mid2_1e9=10_000_250_000_000)
    assert (found["bid_price"], found["ask_price"]) == (-0.25, None)
    assert found["underlying_price"] == 5000.125


def test_rows_stand_by_end_and_instrument() -> None:
    """Slots come in any order; rows by window end, then instrument_id, each with its identity."""
    ends = [{"window_end_ns": 300, "slot": 0}, {"window_end_ns": 300, "slot": 1}]
    frame = window([*ends, {"window_end_ns": 200, "slot": 0}])
    assert frame["instrument_id"].to_list() == [9, 4, 9]
    assert frame["symbol"].to_list() == ["ESM4 C5000", None, "ESM4 C5000"]
    assert frame["trade_date"].to_list() == [dt.date(2024, 5, 9)] * 3


def test_windows_and_facts_are_told_apart() -> None:
    """A row of the report alone is no fact, nor a fact a window; both keep their order."""
    raw = np.zeros(4, ROW)
    raw["rows"] = [ROW_FACTS, ROW_REPORT, ROW_REPORT | ROW_FACTS, ROW_REPORT]
    raw["window_end_ns"], raw["slot"], raw["bid_volume"] = [2, 1, 1, 1], [0, 0, 1, 1], [1, 2, 3, 4]
    windows, facts = build_rows(sort_rows(raw, IDENTITY), IDENTITY, DATES, 300)
    assert windows["bid_volume"].to_list() == [3, 4, 2]
    assert facts["bid_volume"].to_list() == [3, 1]
