"""`IFDv3Engine`: one window judged by itself, and a stream judged window by window."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifd_fast.bridge import connect_mbo_to_ifd
from ifd_fast.detection import IFDv3Engine
from ifd_fast.errors import TruncatedError, UsageError
from ifd_fast.metrics import PressureMetrics
from ifd_fast.signals import InstitutionalSignalV3
from ifd_fast.streaming import MBOStreamingClient
from tests.strategies_interface import SMALL, fed, market, record, store

pytestmark = pytest.mark.usefixtures("fixed_weights")

SHARED_ENGINE = settings(max_examples=60)
VOLUMES = st.one_of(st.integers(0, 400), st.sampled_from([0, 2**31, 2**53]))
MIRRORED = {"BUY": "SELL", "SELL": "BUY", "STRONG_BUY": "STRONG_SELL", "STRONG_SELL": "STRONG_BUY"}
# What swapping buyers and sellers turns round; all else of a signal stays as it is.
TURNED = {
    "pressure_ratio",
    "bid_volume",
    "ask_volume",
    "dominant_side",
    "baseline_pressure_ratio",
    "pressure_zscore",
    "percentile_rank",
    "recommended_action",
    "signal_id",
    "delta_sign",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a profile with everything at its smallest."""
    path = tmp_path_factory.mktemp("profile") / "small.toml"
    path.write_text(SMALL, "utf-8")
    return path


@pytest.fixture(scope="module")
def engine(small: Path) -> IFDv3Engine:
    """Return an engine with twenty sessions of history."""
    return IFDv3Engine(small, store())


@pytest.fixture(scope="module")
def bare(small: Path) -> IFDv3Engine:
    """Return an engine without any history."""
    return IFDv3Engine(small)


def judged(engine: IFDv3Engine, **changes: Any) -> InstitutionalSignalV3:
    """Return the signal of a record that has one."""
    signal = engine.analyze_pressure_event(record(**changes))
    assert signal is not None
    return signal


def test_one_sided_flow_alerts(engine: IFDv3Engine) -> None:
    """A strongly bought call is a BUY alert of grade A, at its window's end, with its reasons."""
    actual = judged(engine)
    assert (actual.dominant_side, actual.alert, actual.candidate) == ("BUY", True, True)
    assert (actual.quality, actual.baseline_cell, actual.failed_gates) == ("A", "strike", 0)
    assert (actual.signal_strength, actual.recommended_action) == ("EXTREME", "STRONG_BUY")
    assert actual.timestamp == record().window_end
    assert (actual.symbol, actual.strike, actual.delta_sign) == ("NQH6 C20000", 20_000.0, 1)
    assert actual.config_digest == engine.settings.profile.rules_digest
    assert actual.code_digest
    assert actual.anomaly_detected
    assert actual.p < 1e-6


def test_quiet_flow_is_none(engine: IFDv3Engine) -> None:
    """Two-sided, thin and empty windows are no signals."""
    assert engine.analyze_pressure_event(record(bid_volume=60, ask_volume=60)) is None
    quiet = record(bid_volume=0, ask_volume=3, total_trades=3, pressure_ratio=math.inf)
    assert engine.analyze_pressure_event(quiet) is None
    empty = record(bid_volume=0, ask_volume=0, total_trades=0, pressure_ratio=1.0)
    assert engine.analyze_pressure_event(empty) is None


@SHARED_ENGINE
@given(VOLUMES, VOLUMES, st.integers(0, 400))
def test_mirrored_flow_gives_the_mirrored_signal(
    bare: IFDv3Engine, bid: int, ask: int, trades: int
) -> None:
    """Buyers and sellers swapped: the same numbers exactly, the other side."""
    values = {"total_trades": trades}
    bought = bare.analyze_pressure_event(record(bid_volume=bid, ask_volume=ask, **values))
    sold = bare.analyze_pressure_event(record(bid_volume=ask, ask_volume=bid, **values))
    if bought is None or sold is None:
        assert bought is sold
        return
    for name in {one.name for one in dataclasses.fields(bought)} - TURNED:
        assert getattr(bought, name) == getattr(sold, name), name
    assert (bought.bid_volume, bought.ask_volume) == (sold.ask_volume, sold.bid_volume)
    assert MIRRORED.get(bought.dominant_side) == sold.dominant_side
    assert MIRRORED.get(bought.recommended_action, "MONITOR") == sold.recommended_action
    assert (bought.pressure_zscore, bought.delta_sign) == (
        -sold.pressure_zscore,
        -sold.delta_sign,
    )
    assert bought.percentile_rank == 100.0 - sold.percentile_rank


def test_mirrored_history_too(engine: IFDv3Engine) -> None:
    """With the even-handed history of the store, a sold call mirrors a bought one exactly."""
    bought, sold = judged(engine), judged(engine, bid_volume=300, ask_volume=5)
    assert bought.final_confidence == sold.final_confidence
    assert (bought.deviate, bought.p) == (sold.deviate, sold.p)
    assert (sold.dominant_side, sold.delta_sign, sold.alert) == ("SELL", -1, True)
    put = judged(engine, option_type="P", bid_volume=300, ask_volume=5)
    assert (put.dominant_side, put.delta_sign) == ("SELL", 1)


@SHARED_ENGINE
@given(st.integers(0, 60), st.integers(0, 300), st.integers(1, 300))
def test_more_one_sided_flow_never_lowers_confidence(
    engine: IFDv3Engine, bid: int, ask: int, more: int
) -> None:
    """More contracts, each a trade, on the leading side leave at least the confidence."""
    ask = max(ask, bid)
    less = engine.analyze_pressure_event(
        record(bid_volume=bid, ask_volume=ask, total_trades=bid + ask)
    )
    grown = engine.analyze_pressure_event(
        record(bid_volume=bid, ask_volume=ask + more, total_trades=bid + ask + more)
    )
    if less is not None:
        assert grown is not None
        assert grown.final_confidence >= less.final_confidence - 1e-12


@SHARED_ENGINE
@given(
    VOLUMES,
    VOLUMES,
    st.integers(0, 2**53),
    st.sampled_from([math.inf, math.nan, -1.0, 0.0, 1e300]),
    st.sampled_from([math.nan, math.inf, -math.inf, -20_000.0, 0.0, 20_000.125, 1e300]),
    st.sampled_from(["A", "B", "C", "D", "F", "?"]),
)
def test_absurd_values_stay_finite(
    engine: IFDv3Engine,
    bid: int,
    ask: int,
    trades: int,
    ratio: float,
    strike: float,
    quality: str,
) -> None:
    """Infinite ratios, no volume, 2**53 contracts, no strike: no error, no NaN, no infinity."""
    signal = engine.analyze_pressure_event(
        record(
            bid_volume=bid,
            ask_volume=ask,
            total_trades=trades,
            pressure_ratio=ratio,
            confidence=ratio,
            avg_trade_size=ratio,
            strike=strike,
            quality=quality,
        )
    )
    if signal is not None:
        values = [one for one in dataclasses.astuple(signal) if isinstance(one, float)]
        assert all(math.isfinite(one) for one in values)
        json.dumps(signal.to_dict(), allow_nan=False)


@pytest.mark.parametrize("kind", ["F", "S", ""])
def test_no_option_is_none(engine: IFDv3Engine, kind: str) -> None:
    """Futures, spreads and unknown instruments are reported, never judged."""
    assert engine.analyze_pressure_event(record(option_type=kind, strike=math.nan)) is None


def test_outside_sessions_is_none(engine: IFDv3Engine) -> None:
    """A Saturday has no session, so its window has no history and no signal."""
    saturday = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
    assert engine.analyze_pressure_event(record(time_window=saturday, window_end=None)) is None


def test_a_record_that_cannot_be_is_refused(engine: IFDv3Engine) -> None:
    """A time without a zone and a negative volume are the caller's error, named."""
    with pytest.raises(UsageError, match="time zone"):
        engine.analyze_pressure_event(record(time_window=dt.datetime(2026, 2, 2)))  # noqa: DTZ001
    with pytest.raises(UsageError, match="`bid_volume` must be"):
        engine.analyze_pressure_event(record(bid_volume=-1))


@pytest.mark.parametrize(("quality", "alert"), [("A", True), ("D", False), ("F", False)])
def test_bad_quality_never_alerts(engine: IFDv3Engine, quality: str, *, alert: bool) -> None:
    """The same flow at grade D or F stays a candidate, and says which gate it failed."""
    actual = judged(engine, quality=quality)
    assert (actual.candidate, actual.alert) == (True, alert)
    assert actual.quality == quality
    assert (actual.failed_gates == 0) == alert


def test_ten_fields_alone_never_alert(engine: IFDv3Engine) -> None:
    """Who gives the seeds' ten fields gets a signal, of grade F since nothing more is known."""
    full = record()
    names = [one.name for one in dataclasses.fields(PressureMetrics)][:10]
    ten = PressureMetrics(*[getattr(full, name) for name in names])
    actual = engine.analyze_pressure_event(ten)
    assert actual is not None
    assert (actual.quality, actual.alert, actual.dominant_side) == ("F", False, "BUY")
    assert actual.timestamp == full.window_end


def test_without_history_nothing_alerts(bare: IFDv3Engine) -> None:
    """No baselines: candidates, grade F, no anomaly claimed."""
    actual = judged(bare)
    assert (actual.alert, actual.quality, actual.baseline_cell) == (False, "F", "none")
    assert not actual.anomaly_detected
    assert (actual.percentile_rank, actual.baseline_sessions) == (50.0, 0.0)


def test_a_shorter_window_is_judged_by_its_own_length(engine: IFDv3Engine) -> None:
    """In a fifth of the time a fifth of the votes are expected, so the same flow says more."""
    short = record().time_window + dt.timedelta(seconds=60)
    actual = judged(engine, window_end=short)
    assert actual.expected_for == pytest.approx(judged(engine).expected_for / 5)
    assert actual.timestamp == short
    assert actual.evidence_window_s == 60


def test_history_as_of_the_open(small: Path) -> None:
    """Estimates are made once a session, from sessions before it: the first one has none."""
    asked: list[dt.date] = []

    class Counting:
        digests: dict[str, str] = {}  # noqa: RUF012  # none are given out

        def arrays_for(self, trade_date: dt.date) -> None:
            asked.append(trade_date)

    engine = IFDv3Engine(small, Counting())
    for hours in (0, 1, 2):
        start = record().time_window + dt.timedelta(hours=hours)
        engine.analyze_pressure_event(record(time_window=start, window_end=None))
    assert asked == [dt.date(2026, 2, 2)]


def test_a_missing_store_is_named(small: Path, tmp_path: Path) -> None:
    """A store that was asked for and isn't there is an error at once, with the way out."""
    with pytest.raises(UsageError, match="ifd baseline build"):
        IFDv3Engine(small, tmp_path / "none.duckdb")


def test_callback_path_and_feed_give_the_same(small: Path) -> None:
    """`connect_mbo_to_ifd` and `feed`, in one piece or many, find the same signals."""
    engine = IFDv3Engine(small, store())
    by_callback: list[InstitutionalSignalV3] = []
    client = MBOStreamingClient(profile=small)
    connect_mbo_to_ifd(client, engine, by_callback.append)
    client.feed(market())
    client.flush()
    by_feed = engine.feed(market()) + engine.flush()
    assert by_feed == by_callback
    data, pieces = market(), []
    for start in range(0, len(data), 777):
        pieces += engine.feed(data[start : start + 777])
    assert pieces + engine.flush() == by_feed
    found = [(one.symbol, one.dominant_side, one.alert) for one in by_feed]
    assert found == [
        ("NQH6 C20000", "BUY", True),
        ("NQH6 P20000", "SELL", True),
        ("NQH6 C20000", "SELL", True),
        ("NQH6 P20000", "BUY", True),
    ]


def test_rolling_signals_beside(small: Path) -> None:
    """`feed` hands rolling signals to who is asked for at that moment, earlier than windows."""
    engine = IFDv3Engine(small, store())
    data = market()
    rolling: list[InstitutionalSignalV3] = []
    engine.feed(data[: len(data) // 4])
    engine.on_rolling_signal = rolling.append
    windows = engine.feed(data[len(data) // 4 :]) + engine.flush()
    sides = {(one.symbol, one.dominant_side) for one in rolling}
    assert {(one.symbol, one.dominant_side) for one in windows} <= sides
    assert any(one.alert for one in rolling)
    assert rolling[0].timestamp < windows[0].timestamp


def test_a_score_that_fails_degrades_and_no_more(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows go on, each failure is counted and reported, and the next success ends it."""
    engine = IFDv3Engine(small, store())
    reported: list[tuple[Exception, Any]] = []
    engine.on_error = lambda error, argument: reported.append((error, argument))
    real, calls = engine.analyze_pressure_event, []

    def failing(metrics: PressureMetrics) -> InstitutionalSignalV3 | None:
        calls.append(metrics)
        if len(calls) <= 7:
            raise RuntimeError("scorer")
        return real(metrics)

    monkeypatch.setattr(engine, "analyze_pressure_event", failing)
    half = len(market()) // 2
    engine.feed(market()[:half])
    assert engine.degraded == (0 < len(calls) <= 7)
    found = engine.feed(market()[half:]) + engine.flush()
    assert len(calls) == 15
    assert (engine.failures, len(reported), engine.degraded) == (7, 7, False)
    assert [argument for _, argument in reported] == calls[:7]
    assert [one.symbol for one in found] == ["NQH6 C20000", "NQH6 P20000"]


def test_a_torn_end_then_a_new_stream(small: Path) -> None:
    """A stream that ends inside a record raises; its signals and a new stream come after."""
    engine = IFDv3Engine(small, store())
    torn = market()[:-3]
    early = engine.feed(torn)
    with pytest.raises(TruncatedError):
        engine.flush()
    late = engine.flush()
    assert len(early + late) == 4
    assert len(engine.feed(market()) + engine.flush()) == 4


def test_windows_do_not_depend_on_the_engine(small: Path) -> None:
    """The client gives the same windows with an engine connected and without."""
    alone = fed(MBOStreamingClient(profile=small), [market()])
    client = MBOStreamingClient(profile=small)
    connect_mbo_to_ifd(client, IFDv3Engine(small, store()), lambda _: None)
    client.feed(market())
    client.flush()
    assert len(client.recent) > 0
    assert repr(list(client.recent)) == repr(alone[-len(client.recent) :])
