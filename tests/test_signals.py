"""`InstitutionalSignalV3`: its fields, its classes, its id, its frames and its JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from ifd_fast.calendar import load_sessions
from ifd_fast.signals import (
    SIGNAL_SCHEMA,
    InstitutionalSignalV3,
    build_signals,
    code_digest,
    iterate_signals,
)
from ifd_kernels.layout import KIND_CALL, KIND_PUT
from ifd_kernels.signals import SIGNAL
from tests.strategies_interface import OPEN, SECOND

SEEDS = [
    "strike",
    "option_type",
    "timestamp",
    "pressure_ratio",
    "bid_volume",
    "ask_volume",
    "dominant_side",
    "pressure_confidence",
    "baseline_pressure_ratio",
    "pressure_zscore",
    "percentile_rank",
    "anomaly_detected",
    "market_making_probability",
    "straddle_coordination",
    "volatility_crush_detected",
    "raw_confidence",
    "baseline_confidence",
    "market_making_penalty",
    "coordination_bonus",
    "final_confidence",
    "signal_strength",
    "institutional_probability",
    "recommended_action",
    "risk_score",
    "position_size_multiplier",
    "max_position_risk",
]
DIGEST = "0123456789abcdef" * 4


def build(*rows: dict[str, Any], strike: float | None = 20_000.0) -> pl.DataFrame:
    """Return kernel rows with these fields as a frame; slot 0 is a call."""
    signals = np.zeros(len(rows), SIGNAL)
    signals["instant_ns"] = signals["episode_ns"] = OPEN + 3600 * SECOND
    signals["side"], signals["kind"] = 1, KIND_CALL
    for place, row in enumerate(rows):
        for name, value in row.items():
            signals[place][name] = value
    identity = pl.DataFrame(
        {
            "strike": [strike],
            "instrument_id": [101],
            "symbol": ["NQH6 C20000"],
            "underlying": ["NQH6"],
            "expiration": [None],
        },
        schema_overrides={"strike": pl.Float64, "expiration": pl.Datetime("ns", "UTC")},
    )
    return build_signals(signals, identity, load_sessions(), DIGEST)


def test_fields_are_the_seeds_then_ours() -> None:
    """The replaced system's fields come first, in its order; files have the same columns."""
    names = [one.name for one in dataclasses.fields(InstitutionalSignalV3)]
    assert names[: len(SEEDS)] == SEEDS
    assert names == list(SIGNAL_SCHEMA)
    assert build({}).schema == SIGNAL_SCHEMA


@pytest.mark.parametrize(
    ("confidence", "strength", "action", "multiplier"),
    [
        (0.5, "WEAK", "MONITOR", 1.0),
        (0.5999, "WEAK", "MONITOR", 1.0),
        (0.6, "MODERATE", "MONITOR", 1.0),
        (0.7, "HIGH", "BUY", 1.5),
        (0.8, "VERY_HIGH", "BUY", 2.0),
        (0.9, "EXTREME", "STRONG_BUY", 3.0),
        (1.0, "EXTREME", "STRONG_BUY", 3.0),
    ],
)
def test_every_class_occurs_from_its_edge(
    confidence: float, strength: str, action: str, multiplier: float
) -> None:
    """Each class begins at its edge; a sale has the mirrored action and the same size."""
    bought, sold = iterate_signals(
        build({"final_confidence": confidence}, {"final_confidence": confidence, "side": -1})
    )
    assert (bought.signal_strength, bought.recommended_action) == (strength, action)
    assert sold.recommended_action == action.replace("BUY", "SELL")
    assert (bought.dominant_side, sold.dominant_side) == ("BUY", "SELL")
    assert bought.position_size_multiplier == sold.position_size_multiplier == multiplier
    assert bought.max_position_risk == pytest.approx(0.02 * multiplier)
    assert bought.risk_score == 1.0 - confidence


def test_ids_name_date_instrument_side_instant_and_rules() -> None:
    """An id is made of what makes a signal the same, so a replay gives it again."""
    first, again, sold, later = build(
        {}, {"final_confidence": 0.9}, {"side": -1}, {"episode_ns": OPEN + 4000 * SECOND}
    )["signal_id"]
    instant = OPEN + 3600 * SECOND
    assert first == again == f"2026-02-02-101-B-{instant}-0123456789ab"
    assert sold == f"2026-02-02-101-S-{instant}-0123456789ab"
    assert later != first


def test_an_instant_at_the_close_belongs_to_its_session() -> None:
    """The last window of a session ends at its close, which is no other day's."""
    close = load_sessions().session_at(OPEN)
    assert close is not None
    (signal,) = iterate_signals(build({"instant_ns": close.close_ns}))
    assert signal.trade_date == close.trade_date


def test_a_signal_says_what_made_it() -> None:
    """Rules and code are in each signal, by their digests."""
    (signal,) = iterate_signals(build({"kind": KIND_PUT, "cell": 1, "grade": 2}))
    assert (signal.config_digest, signal.code_digest) == (DIGEST, code_digest())
    assert code_digest().startswith("0.1.0+")
    assert (signal.option_type, signal.baseline_cell, signal.quality) == ("P", "moneyness", "C")
    assert signal.institutional_probability == 1.0 - signal.market_making_probability


def test_json_of_any_signal() -> None:
    """Times are ISO 8601 in UTC, what is no number is null."""
    (signal,) = iterate_signals(build({"pressure_ratio": np.inf}, strike=None))
    plain = signal.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["timestamp"] == "2026-02-02T00:00:00+00:00"
    assert plain["trade_date"] == "2026-02-02"
    assert (plain["pressure_ratio"], plain["strike"], plain["expiration"]) == (None, None, None)


def test_no_signals() -> None:
    """An empty frame has the columns and gives nothing."""
    frame = build()
    assert frame.schema == SIGNAL_SCHEMA
    assert list(iterate_signals(frame)) == []
