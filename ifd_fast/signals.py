"""`InstitutionalSignalV3`: one signal as users receive it, and as files keep it.

A signal says that a contract's net aggressor flow is not what history, the time of day and the
rest of the market explain. Pressure is not direction: `dominant_side` is BUY or SELL pressure in
this contract, `delta_sign` what that means for the underlying's delta; no forecast is made.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from ifd_fast import __version__
from ifd_fast.rows import GRADES
from ifd_kernels._jit import sources_digest
from ifd_kernels.layout import KIND_CALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ifd_fast.calendar import Sessions

__all__ = [
    "SIGNAL_SCHEMA",
    "InstitutionalSignalV3",
    "build_signals",
    "code_digest",
    "iterate_signals",
]

_NS: Final = pl.Datetime("ns", "UTC")
_STRENGTHS: Final = ("WEAK", "MODERATE", "HIGH", "VERY_HIGH", "EXTREME")
_STRENGTH_EDGES: Final = np.array([0.6, 0.7, 0.8, 0.9])
_SIZE_MULTIPLIERS: Final = np.array([1.0, 1.0, 1.5, 2.0, 3.0])
_RISK_OF_ONE: Final = 0.02  # of the account, at multiplier 1
_CHANNELS: Final = np.array(["A", "B60", "B15", "B5", "C"])
_CELLS: Final = np.array(["strike", "moneyness", "dte", "type", "none"])


@dataclass(frozen=True, slots=True)
class InstitutionalSignalV3:
    """The fields of the replaced system, in its order, then ours; docs/fields.md has them all.

    Attributes
    ----------
    timestamp
        The scoring instant at which the evidence stood, UTC.
    pressure_ratio, bid_volume, ask_volume, dominant_side, pressure_confidence
        Of the 300 s before it: (ask + .5) / (bid + .5), contracts that hit the bid and lifted
        the ask, which side led, and how much of it was known.
    baseline_pressure_ratio, pressure_zscore, percentile_rank, anomaly_detected
        The usual ratio of this cell of history, how far this one is from it in log units, its
        rank (0 to 100), and whether that is an anomaly.
    market_making_probability, straddle_coordination, volatility_crush_detected
        How much of it looks like a maker's flow, and why.
    raw_confidence, baseline_confidence, market_making_penalty, coordination_bonus
        Components; penalty and bonus in log-odds.
    final_confidence
        0 to 1.
    signal_strength
        EXTREME from .9, VERY_HIGH .8, HIGH .7, MODERATE .6, WEAK below.
    institutional_probability
        1 - market_making_probability.
    recommended_action
        STRONG_BUY, BUY, MONITOR, SELL or STRONG_SELL: pressure, not advice.
    """

    strike: float
    option_type: str
    timestamp: dt.datetime
    pressure_ratio: float
    bid_volume: int
    ask_volume: int
    dominant_side: str
    pressure_confidence: float
    baseline_pressure_ratio: float
    pressure_zscore: float
    percentile_rank: float
    anomaly_detected: bool
    market_making_probability: float
    straddle_coordination: bool
    volatility_crush_detected: bool
    raw_confidence: float
    baseline_confidence: float
    market_making_penalty: float
    coordination_bonus: float
    final_confidence: float
    signal_strength: str
    institutional_probability: float
    recommended_action: str
    risk_score: float
    position_size_multiplier: float
    max_position_risk: float
    signal_id: str = ""
    trade_date: dt.date | None = None
    episode_start: dt.datetime | None = None
    instrument_id: int = 0
    symbol: str = ""
    underlying: str = ""
    expiration: dt.datetime | None = None
    alert: bool = False
    candidate: bool = False
    delta_sign: int = 0
    deviate: float = 0.0
    p: float = 1.0
    q: float = 1.0
    rank_decades: float = 0.0
    false_alerts: float = 0.0
    evidence_channel: str = ""
    evidence_window_s: int = 0
    votes_for: float = 0.0
    votes_against: float = 0.0
    expected_for: float = 0.0
    expected_against: float = 0.0
    usual_votes: float = 0.0
    coordination: float = 0.0
    in_step: float = 0.0
    companion_decades: float = 0.0
    volume_concentration: float = 0.0
    time_persistence: float = 0.5
    baseline_cell: str = "none"
    baseline_sessions: float = 0.0
    quality: str = "F"
    failed_gates: int = 0
    config_digest: str = ""
    code_digest: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields ready for JSON: times as ISO 8601 texts, null for what is no number."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: object) -> object:
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


SIGNAL_SCHEMA: Final = pl.Schema(
    {
        "strike": pl.Float64(),
        "option_type": pl.String(),
        "timestamp": _NS,
        "pressure_ratio": pl.Float64(),
        "bid_volume": pl.Int64(),
        "ask_volume": pl.Int64(),
        "dominant_side": pl.String(),
        "pressure_confidence": pl.Float64(),
        "baseline_pressure_ratio": pl.Float64(),
        "pressure_zscore": pl.Float64(),
        "percentile_rank": pl.Float64(),
        "anomaly_detected": pl.Boolean(),
        "market_making_probability": pl.Float64(),
        "straddle_coordination": pl.Boolean(),
        "volatility_crush_detected": pl.Boolean(),
        "raw_confidence": pl.Float64(),
        "baseline_confidence": pl.Float64(),
        "market_making_penalty": pl.Float64(),
        "coordination_bonus": pl.Float64(),
        "final_confidence": pl.Float64(),
        "signal_strength": pl.String(),
        "institutional_probability": pl.Float64(),
        "recommended_action": pl.String(),
        "risk_score": pl.Float64(),
        "position_size_multiplier": pl.Float64(),
        "max_position_risk": pl.Float64(),
        "signal_id": pl.String(),
        "trade_date": pl.Date(),
        "episode_start": _NS,
        "instrument_id": pl.UInt32(),
        "symbol": pl.String(),
        "underlying": pl.String(),
        "expiration": _NS,
        "alert": pl.Boolean(),
        "candidate": pl.Boolean(),
        "delta_sign": pl.Int32(),
        "deviate": pl.Float64(),
        "p": pl.Float64(),
        "q": pl.Float64(),
        "rank_decades": pl.Float64(),
        "false_alerts": pl.Float64(),
        "evidence_channel": pl.String(),
        "evidence_window_s": pl.Int32(),
        "votes_for": pl.Float64(),
        "votes_against": pl.Float64(),
        "expected_for": pl.Float64(),
        "expected_against": pl.Float64(),
        "usual_votes": pl.Float64(),
        "coordination": pl.Float64(),
        "in_step": pl.Float64(),
        "companion_decades": pl.Float64(),
        "volume_concentration": pl.Float64(),
        "time_persistence": pl.Float64(),
        "baseline_cell": pl.String(),
        "baseline_sessions": pl.Float64(),
        "quality": pl.String(),
        "failed_gates": pl.Int32(),
        "config_digest": pl.String(),
        "code_digest": pl.String(),
    }
)

# Columns that are a field of the kernel's record under the same or another name.
_COPIED: Final = {
    "pressure_ratio": "pressure_ratio",
    "bid_volume": "bid_volume",
    "ask_volume": "ask_volume",
    "pressure_confidence": "pressure_confidence",
    "baseline_pressure_ratio": "baseline_ratio",
    "pressure_zscore": "zscore",
    "percentile_rank": "percentile_rank",
    "market_making_probability": "maker_probability",
    "raw_confidence": "raw_confidence",
    "baseline_confidence": "baseline_confidence",
    "market_making_penalty": "market_making_penalty",
    "coordination_bonus": "coordination_bonus",
    "final_confidence": "final_confidence",
    "delta_sign": "delta_sign",
    "deviate": "deviate",
    "p": "p",
    "q": "q",
    "rank_decades": "rank",
    "false_alerts": "false_alerts",
    "evidence_window_s": "window_s",
    "votes_for": "votes_for",
    "votes_against": "votes_against",
    "expected_for": "expected_for",
    "expected_against": "expected_against",
    "usual_votes": "usual_votes",
    "coordination": "coordination",
    "in_step": "in_step",
    "companion_decades": "companion_decades",
    "volume_concentration": "volume_concentration",
    "time_persistence": "persistence",
    "baseline_sessions": "sessions",
    "failed_gates": "failed",
    "timestamp": "instant_ns",
    "episode_start": "episode_ns",
}
_FLAGS: Final = {
    "anomaly_detected": "anomaly",
    "straddle_coordination": "straddle",
    "volatility_crush_detected": "crush",
    "alert": "alert",
    "candidate": "candidate",
}


@cache
def code_digest() -> str:
    """Return what code made a signal: the version, and the digest of all kernel sources."""
    return f"{__version__}+{sources_digest()}"


def build_signals(
    signals: NDArray[np.void], identity: pl.DataFrame, sessions: Sessions, config_digest: str
) -> pl.DataFrame:
    """Return kernel signals (n,) as a frame of SIGNAL_SCHEMA, in their order.

    `identity` has one line a slot, as for window rows. Ids are made of trade date, instrument,
    side, the episode's first instant and the digest of the rules in force.
    """
    known = identity[signals["slot"]]
    session = np.searchsorted(sessions.close_ns, signals["instant_ns"])
    dates = np.asarray(sessions.trade_date)[np.minimum(session, len(sessions) - 1)]
    columns: dict[str, object] = {name: signals[field] for name, field in _COPIED.items()}
    columns |= {name: signals[field] != 0 for name, field in _FLAGS.items()}
    columns |= _judgements(signals)
    columns["trade_date"] = dates.astype("datetime64[D]")
    columns["config_digest"] = [config_digest] * len(signals)
    columns["code_digest"] = [code_digest()] * len(signals)
    columns["option_type"] = np.where(signals["kind"] == KIND_CALL, "C", "P")
    names = ("strike", "instrument_id", "symbol", "underlying", "expiration")
    frame = pl.DataFrame(columns).hstack(known.select(names).get_columns())
    side = pl.when(pl.col("dominant_side") == "BUY").then(pl.lit("B")).otherwise(pl.lit("S"))
    parts = [
        pl.col("trade_date").cast(pl.String),
        pl.col("instrument_id").cast(pl.String),
        side,
        pl.col("episode_start").cast(pl.Int64).cast(pl.String),
        pl.lit(config_digest[:12]),
    ]
    return frame.with_columns(pl.concat_str(parts, separator="-").alias("signal_id")).select(
        [pl.col(name).cast(dtype) for name, dtype in SIGNAL_SCHEMA.items()]
    )


def _judgements(signals: NDArray[np.void]) -> dict[str, object]:
    """Return what follows from confidence, side and grade."""
    confidence, side = signals["final_confidence"], signals["side"]
    strength = np.searchsorted(_STRENGTH_EDGES, confidence, side="right")
    word = np.where(side > 0, "BUY", np.where(side < 0, "SELL", "NEUTRAL"))
    strong = np.where(side > 0, "STRONG_BUY", "STRONG_SELL")
    actions = np.select([strength == 4, strength >= 2], [strong, word], "MONITOR")
    multiplier = _SIZE_MULTIPLIERS[strength]
    return {
        "dominant_side": word,
        "signal_strength": np.array(_STRENGTHS)[strength],
        "institutional_probability": 1.0 - signals["maker_probability"],
        "recommended_action": actions,
        "risk_score": 1.0 - confidence,
        "position_size_multiplier": multiplier,
        "max_position_risk": _RISK_OF_ONE * multiplier,
        "baseline_cell": _CELLS[signals["cell"]],
        "quality": GRADES[signals["grade"]],
        "evidence_channel": _CHANNELS[signals["channel"]],
    }


def iterate_signals(frame: pl.DataFrame) -> Iterator[InstitutionalSignalV3]:
    """Yield one InstitutionalSignalV3 a row of `frame` (columns of SIGNAL_SCHEMA)."""
    for row in frame.iter_rows(named=True):
        yield InstitutionalSignalV3(**row)
