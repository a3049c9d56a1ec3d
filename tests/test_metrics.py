"""`PressureMetrics`: the users' ten fields, the frames they come from, and what is refused."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math

import polars as pl
import pytest

import ifd_fast
from ifd_fast.errors import UsageError
from ifd_fast.metrics import PressureMetrics, check_metrics, iterate_metrics
from ifd_fast.rows import WINDOW_SCHEMA
from tests.strategies_interface import record

CONTRACT = [
    "strike",
    "option_type",
    "time_window",
    "bid_volume",
    "ask_volume",
    "pressure_ratio",
    "total_trades",
    "avg_trade_size",
    "dominant_side",
    "confidence",
]
START = dt.datetime(2026, 2, 2, 13, tzinfo=dt.UTC)


def test_ten_fields_in_order() -> None:
    """The first ten fields are the users' contract; the others have defaults."""
    fields = dataclasses.fields(PressureMetrics)
    assert [one.name for one in fields[:10]] == CONTRACT
    missing = dataclasses.MISSING
    assert all(one.default is missing for one in fields[:10])
    assert all(one.default is not missing for one in fields[10:])


def test_ten_values_by_position() -> None:
    """The ten values make a record, which knows nothing else and says so by its grade."""
    actual = PressureMetrics(21_900.0, "C", START, 5, 50, 10.0, 30, 1.8, "BUY", 0.9)
    assert [getattr(actual, name) for name in CONTRACT[:3]] == [21_900.0, "C", START]
    assert (actual.quality, actual.window_end, actual.symbol) == ("F", None, "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        actual.strike = 1.0  # type: ignore[misc]  # that is the test


def test_fields_are_the_columns_of_a_window() -> None:
    """Ten fields and ours are together the columns of a window row, under the users' names."""
    fields = {one.name for one in dataclasses.fields(PressureMetrics)}
    assert fields == set(WINDOW_SCHEMA) - {"window_start"} | {"time_window"}


def test_a_frame_gives_its_rows() -> None:
    """Each row becomes a record, nulls of a future become NaN and empty texts."""
    row = {
        "window_start": START,
        "window_end": START + dt.timedelta(seconds=300),
        "trade_date": dt.date(2026, 2, 2),
        "instrument_id": 42,
        "bid_volume": 0,
        "ask_volume": 3,
        "unknown_volume": 1,
        "pressure_ratio": math.inf,
        "total_trades": 4,
        "avg_trade_size": 1.0,
        "dominant_side": "BUY",
        "confidence": 0.15,
        "ofi": -7,
        "quality": "F",
    }
    call = row | {"strike": 20_000.0, "option_type": "C", "symbol": "NQH6 C20000", "root": "NQ"}
    frame = pl.DataFrame([row, call], schema=WINDOW_SCHEMA, orient="row")
    bare, option = iterate_metrics(frame)
    assert math.isnan(bare.strike)
    assert (bare.option_type, bare.symbol, bare.bid_price, bare.ofi) == ("", "", None, -7)
    assert bare.time_window == START
    assert bare.time_window.utcoffset() == dt.timedelta(0)
    assert (option.strike, option.option_type, option.symbol) == (20_000.0, "C", "NQH6 C20000")
    assert option.pressure_ratio == math.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_window": dt.datetime(2026, 2, 2)}, "time zone"),  # noqa: DTZ001
        ({"time_window": "2026-02-02"}, "time zone"),
        ({"time_window": dt.datetime(1950, 1, 1, tzinfo=dt.UTC)}, "1970 to 2116"),
        ({"window_end": START.replace(tzinfo=None)}, "time zone"),
        ({"window_end": START - dt.timedelta(days=1)}, "must be after `time_window`"),
        ({"window_end": START + dt.timedelta(days=1)}, "by an hour at most"),
        ({"expiration": dt.datetime(2026, 3, 1)}, "time zone"),  # noqa: DTZ001
        ({"option_type": "CALL"}, "Use 'C' for a call"),
        ({"bid_volume": -1}, "`bid_volume` must be a whole number from 0 to"),
        ({"ask_volume": 1.5}, "`ask_volume` must be a whole number"),
        ({"ask_volume": math.nan}, "`ask_volume` must be a whole number"),
        ({"ask_volume": math.inf}, "`ask_volume` must be a whole number"),
        ({"bid_volume": "many"}, "`bid_volume` must be a whole number"),
        ({"total_trades": None}, "`total_trades` must be a whole number"),
        ({"ask_volume": 2**53 + 1}, "from 0 to 9007199254740992"),
        ({"instrument_id": 2**32}, "from 0 to 4294967295"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    """A value that can't be is named with its bound; what merely is unlikely is taken."""
    with pytest.raises(UsageError, match=message):
        check_metrics(record(**changes))


def test_times_and_strikes_are_exact() -> None:
    """Times to the microsecond and strikes off any tick become the wire's integers."""
    start = START + dt.timedelta(microseconds=1)
    actual = check_metrics(record(time_window=start, window_end=None, strike=20_000.125))
    assert actual.start_ns == 1_770_037_200_000_001_000
    assert actual.length_ns == 300_000_000_000
    assert actual.strike_1e9 == 20_000_125_000_000
    for strike in (math.nan, math.inf, -1e300):
        assert check_metrics(record(strike=strike)).strike is None


def test_every_public_name_is_there() -> None:
    """The seeds' names come from the package itself, and nothing unknown does."""
    for name in ifd_fast.__all__:
        assert getattr(ifd_fast, name) is not None
    assert dir(ifd_fast) == sorted(ifd_fast.__all__)
    with pytest.raises(AttributeError, match="no attribute 'detect'"):
        _ = ifd_fast.detect
