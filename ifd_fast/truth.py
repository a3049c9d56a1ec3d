"""What was planted in a simulated session: the frames that detection is measured against.

A session has four: `episodes`, one row per planted metaorder or labelled hard negative and
instrument; `children`, every trade of them; `rates`, how often each option trades as a rule; and
`season`, how activity runs over the session. Beside DBN files they are Parquet files of the same
stem: `.truth.parquet`, `.children.parquet`, `.rates.parquet`, `.season.parquet`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from ifd_fast.errors import DataError

__all__ = [
    "CHILDREN_SCHEMA",
    "KINDS",
    "NEGATIVE_KINDS",
    "POSITIVE",
    "RATES_SCHEMA",
    "SEASON_SCHEMA",
    "STYLES",
    "TIERS",
    "TIER_EDGES",
    "TRUTH_SCHEMA",
    "Truth",
    "read_truth",
    "tier_of",
    "write_truth",
]

_NS: Final = pl.Datetime("ns", "UTC")

POSITIVE: Final = "metaorder"
NEGATIVE_KINDS: Final = (
    "maker_turn",  # a maker's inventory: bought, then sold again
    "straddle",  # call and put of one strike, the same side, together
    "strangle",  # call and put of two strikes, the same side, together
    "vol_crush",  # calls and puts sold while both fall
    "covered",  # an option against the future, as a spread with leg prints
    "calendar",  # one strike of two expiries, as a spread with leg prints
    "odd_lots",  # a cluster of single contracts, sides by chance
    "odd_block",  # one trade far larger than usual
    "expiry_noise",  # both sides of expiring strikes, at the end of their last hour
    "feed_gap",  # records missing, then the books again
)
KINDS: Final = (POSITIVE, *NEGATIVE_KINDS)
STYLES: Final = ("time", "volume", "sweep", "iceberg")
TIERS: Final = ("thin", "low", "mid", "busy")
TIER_EDGES: Final = (6.0, 30.0, 120.0)  # usual trades an hour of regular trading

TRUTH_SCHEMA: Final = pl.Schema(
    {
        "trade_date": pl.Date(),
        "label_id": pl.Int32(),  # unique within a session
        "kind": pl.String(),  # of KINDS
        "positive": pl.Boolean(),  # an alert on it is right
        "cluster_id": pl.Int32(),  # shared by the rows of one episode of several instruments
        "instrument_id": pl.UInt32(),  # null: all of them (feed_gap)
        "symbol": pl.String(),
        "option_type": pl.String(),  # C, P, F or S
        "strike": pl.Float64(),
        "side": pl.Int8(),  # 1 buys, -1 sells, 0 both
        "start": _NS,
        "end": _NS,  # exclusive
        "duration_s": pl.Float64(),
        "k": pl.Float64(),  # contracts_planned / mean_abs_net
        "contracts_planned": pl.Int64(),
        "contracts_filled": pl.Int64(),
        "children_planned": pl.Int64(),
        "children_filled": pl.Int64(),
        "style": pl.String(),  # of STYLES; null for hard negatives
        "tier": pl.String(),  # of TIERS; null for what is no option
        "usual_trades_hour": pl.Float64(),  # in regular trading
        "mean_abs_net": pl.Float64(),  # contracts, of this strike, time of day and duration
    }
)
CHILDREN_SCHEMA: Final = pl.Schema(
    {
        "label_id": pl.Int32(),
        "instrument_id": pl.UInt32(),
        "side": pl.Int8(),
        "ts_event": _NS,
        "order_id": pl.UInt64(),  # of the aggressor in its T records
        "asked": pl.Int64(),
        "filled": pl.Int64(),
        "price": pl.Float64(),  # of the first fill, points; null: nobody was there
    }
)
RATES_SCHEMA: Final = pl.Schema(
    {
        "instrument_id": pl.UInt32(),
        "symbol": pl.String(),
        "option_type": pl.String(),
        "strike": pl.Float64(),
        "tier": pl.String(),
        "usual_trades_hour": pl.Float64(),  # in regular trading, on a usual day
        "day_factor": pl.Float64(),  # of this session: what nobody can know beforehand
        "votes_hour": pl.Float64(),  # seconds with a buy + seconds with a sell, as above
        "contracts_hour": pl.Float64(),
    }
)
SEASON_SCHEMA: Final = pl.Schema(
    {
        "start": _NS,  # of a part of the session; parts are of one length
        "activity": pl.Float64(),  # trades as a multiple of usual_trades_hour
    }
)

_SUFFIXES: Final = {
    "episodes": ("truth", TRUTH_SCHEMA),
    "children": ("children", CHILDREN_SCHEMA),
    "rates": ("rates", RATES_SCHEMA),
    "season": ("season", SEASON_SCHEMA),
}


class Truth(NamedTuple):
    """The four frames of a session, of the schemas above."""

    episodes: pl.DataFrame
    children: pl.DataFrame
    rates: pl.DataFrame
    season: pl.DataFrame


def tier_of(trades_hour: float) -> str:
    """Return the tier of an option by its usual trades in an hour of regular trading."""
    return TIERS[sum(trades_hour >= edge for edge in TIER_EDGES)]


def write_truth(folder: Path, stem: str, truth: Truth) -> list[Path]:
    """Write the four frames as Parquet files of one stem; return their paths."""
    paths: list[Path] = []
    for name, (suffix, schema) in _SUFFIXES.items():
        path = folder / f"{stem}.{suffix}.parquet"
        aside = folder / f".{path.name}.part"
        getattr(truth, name).select(schema.names()).cast(schema).write_parquet(aside)
        aside.replace(path)
        paths.append(path)
    return paths


def read_truth(folder: Path, stem: str) -> Truth:
    """Return the four frames of a session.

    Raises
    ------
    DataError
        If a file is missing, or its columns are others.
    """
    frames: dict[str, pl.DataFrame] = {}
    for name, (suffix, schema) in _SUFFIXES.items():
        path = folder / f"{stem}.{suffix}.parquet"
        if not path.is_file():
            raise DataError(f"`truth` of {stem} has no {path.name} in {folder}. Simulate it again.")
        frames[name] = pl.read_parquet(path)
        if frames[name].schema != schema:
            raise DataError(
                f"`truth` {path.name} has columns {frames[name].schema}, not {schema}. "
                "It is of another version: simulate it again."
            )
    return Truth(**frames)
