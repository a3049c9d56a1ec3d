"""Small histories for the baseline tests, as dicts and as the folders a replay writes."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

__all__ = ["FIRST_DAY", "histories", "make_session", "write_folder"]

FIRST_DAY = dt.date(2026, 1, 5)
WINDOW_NS = 300 * 10**9
DAY_NS = 86_400 * 10**9
UTC_NS = pl.Datetime("ns", "UTC")
FACTS: dict[str, Any] = {
    "window_start": UTC_NS,
    "window_end": UTC_NS,
    "trade_date": pl.Date,
    "instrument_id": pl.UInt32,
    "symbol": pl.String,
    "root": pl.String,
    "underlying": pl.String,
    "expiration": UTC_NS,
    "strike": pl.Float64,
    "option_type": pl.String,
    "bid_volume": pl.Int64,
    "ask_volume": pl.Int64,
    "unknown_volume": pl.Int64,
    "pressure_ratio": pl.Float64,
    "total_trades": pl.Int64,
    "avg_trade_size": pl.Float64,
    "dominant_side": pl.String,
    "confidence": pl.Float64,
    "bid_price": pl.Float64,
    "ask_price": pl.Float64,
    "ofi": pl.Int64,
    "underlying_price": pl.Float64,
    "quality": pl.String,
    "window_s": pl.Int64,
    "bid_votes_1": pl.Int64,
    "ask_votes_1": pl.Int64,
    "bid_votes_10": pl.Int64,
    "ask_votes_10": pl.Int64,
}
INSTRUMENTS: dict[str, Any] = {
    "instrument_id": pl.UInt32,
    "symbol": pl.String,
    "root": pl.String,
    "underlying": pl.String,
    "expiration": UTC_NS,
    "strike": pl.Float64,
    "option_type": pl.String,
    "first_seen": UTC_NS,
    "last_seen": UTC_NS,
    "mapped": pl.Boolean,
}


def open_ns(day: dt.date) -> int:
    """Return the open of a session, 23:00 UTC of the day before."""
    return (day.toordinal() - 719_163) * DAY_NS - 3_600 * 10**9


def make_session(
    day: dt.date,
    options: list[dict[str, Any]],
    trades: list[dict[str, Any]],
    observed: tuple[int, int] = (0, 276),
    bins: int = 276,
) -> dict[str, Any]:
    """Return a session: `options` listed, `trades` (by option's place and bin) as fact rows."""
    begin = open_ns(day)
    instruments = [
        {
            "instrument_id": 100 + place,
            "symbol": f"OPT{place}",
            "root": "OPT",
            "mapped": True,
            "first_seen": begin,
            "last_seen": begin,
            **option,
        }
        for place, option in enumerate(options)
    ]
    facts = []
    for trade in trades:
        option = instruments[trade["option"]]
        end = begin + (trade["bin"] + 1) * WINDOW_NS
        bid, ask = trade["bid"], trade["ask"]
        row = {name: option[name] for name in FACTS if name in option}
        facts.append({
            **row,
            "window_start": end - WINDOW_NS,
            "window_end": end,
            "trade_date": day,
            "bid_volume": bid,
            "ask_volume": ask,
            "unknown_volume": 1,
            "pressure_ratio": 1.0,
            "total_trades": 1,
            "avg_trade_size": 1.0,
            "dominant_side": "NEUTRAL",
            "confidence": 0.5,
            "bid_price": None,
            "ask_price": None,
            "ofi": 0,
            "underlying_price": trade["mid"],
            "quality": trade["quality"],
            "window_s": 300,
            "bid_votes_1": min(bid, 1),
            "ask_votes_1": min(ask, 1),
            "bid_votes_10": min(bid, 10),
            "ask_votes_10": min(ask, 10),
        })  # fmt: skip
    return {
        "trade_date": day,
        "open_ns": begin,
        "close_ns": begin + bins * WINDOW_NS,
        "observed_from_ns": begin + observed[0] * WINDOW_NS,
        "observed_to_ns": begin + observed[1] * WINDOW_NS,
        "facts_digest": f"facts {day}",
        "facts": facts,
        "instruments": instruments,
    }


def write_folder(folder: Path, sessions: list[dict[str, Any]]) -> Path:
    """Write sessions as one replay's output folder; their instruments must not differ."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = [row for session in sessions for row in session["facts"]]
    pl.DataFrame(facts, schema=FACTS, orient="row").write_parquet(folder / "facts.parquet")
    listed = [row for session in sessions for row in session["instruments"]]
    frame = pl.DataFrame(listed, schema=INSTRUMENTS, orient="row")
    frame.unique("instrument_id", keep="first", maintain_order=True).write_parquet(
        folder / "instruments.parquet"
    )
    keys = ("open_ns", "close_ns", "observed_from_ns", "observed_to_ns", "facts_digest")
    entries = [
        {"trade_date": session["trade_date"].isoformat(), **{key: session[key] for key in keys}}
        for session in sessions
    ]
    document = {"sessions": entries, "config_digest": "config"}
    (folder / "session.json").write_text(json.dumps(document))
    return folder


@st.composite
def histories(
    draw: st.DrawFn, max_sessions: int = 4, min_sessions: int = 1
) -> list[dict[str, Any]]:
    """Draw sessions of a small chain: partly observed, short, with F rows and unknown mids."""
    count = draw(st.integers(min_sessions, max_sessions))
    return [draw(_sessions(FIRST_DAY + dt.timedelta(days=number))) for number in range(count)]


@st.composite
def _sessions(draw: st.DrawFn, day: dt.date) -> dict[str, Any]:
    bins = draw(st.sampled_from([12, 228, 276]))
    observed = sorted(draw(st.tuples(st.integers(0, bins), st.integers(0, bins))))
    if draw(st.booleans()):
        observed = [0, bins]
    options = draw(st.lists(_options(day), min_size=1, max_size=6))
    trades = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "option": st.integers(0, len(options) - 1),
                    "bin": st.integers(0, min(bins, 8) - 1) | st.integers(0, bins - 1),
                    "bid": st.sampled_from([0, 0, 1, 3, 25]),
                    "ask": st.sampled_from([0, 0, 1, 4, 30]),
                    "mid": st.sampled_from([None, 19_900.0, 20_000.125, 20_700.0]),
                    "quality": st.sampled_from("AABDF"),
                }
            ),
            max_size=12,
            unique_by=lambda trade: (trade["option"], trade["bin"]),
        )
    )
    return make_session(day, options, trades, (observed[0], observed[1]), bins)


def _options(day: dt.date) -> st.SearchStrategy[dict[str, Any]]:
    close = open_ns(day) + 22 * 3_600 * 10**9  # 21:00 UTC
    return st.fixed_dictionaries({
        "underlying": st.sampled_from(["NQH6", "NQH6", "NQM6"]),
        "expiration": st.sampled_from([0, 1, 2, 5, 6, 20, 21, 61]).map(
            lambda days: close + days * DAY_NS
        ),
        "strike": st.sampled_from([19_000.0, 19_950.0, 20_000.0, 20_000.125, 20_100.0, 21_000.0]),
        "option_type": st.sampled_from("CCPPF"),
        "mapped": st.sampled_from([True, True, True, False]),
    })  # fmt: skip
