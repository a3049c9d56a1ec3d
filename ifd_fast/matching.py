"""Signals against planted truth: which alert found which episode, and what the others were.

A signal matches a planted episode of its instrument and side from the episode's start until
`window_s` after its end. The members of a cluster stand for one unit: one found is all found.
An alert that matches nothing is a false one; if a hard negative of its instrument ran then, that
is its cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ALERT_SCHEMA", "Matched", "match_alerts", "normalize_signals", "units_of"]

WINDOW_S: Final = 300.0
SECOND_NS: Final = 1_000_000_000
BACKGROUND: Final = "background"

# What every column of the comparison brings: one row an episode of alerts.
ALERT_SCHEMA: Final = pl.Schema(
    {
        "session": pl.Int32(),
        "instrument_id": pl.UInt32(),
        "side": pl.Int8(),
        "instant_ns": pl.Int64(),
        "score": pl.Float64(),
    }
)


class Matched(NamedTuple):
    """Alerts with `unit`, `label_id`, `cause`; units with `found`, `delay_s`, `found_ns`."""

    alerts: pl.DataFrame
    units: pl.DataFrame


def normalize_signals(
    signals: pl.DataFrame,
    session: int,
    *,
    keep: Sequence[str] = (),
    each: Sequence[str] = ("signal_id",),
) -> pl.DataFrame:
    """Return signals of SIGNAL_SCHEMA as rows of ALERT_SCHEMA: the first of each episode.

    The first of each combination of the columns `each`, to be exact; those of `keep` come along.
    """
    side = pl.when(pl.col("dominant_side") == "BUY").then(1).otherwise(-1)
    frame = signals.sort("timestamp", "instrument_id", "dominant_side").unique(
        list(each), keep="first", maintain_order=True
    )
    return frame.select(
        pl.lit(session, pl.Int32).alias("session"),
        pl.col("instrument_id").cast(pl.UInt32),
        side.cast(pl.Int8).alias("side"),
        pl.col("timestamp").cast(pl.Int64).alias("instant_ns"),
        pl.col("final_confidence").alias("score"),
        *keep,
    )


def units_of(truth: pl.DataFrame) -> pl.DataFrame:
    """Return the planted positives with `unit`: their cluster's first label, else their own."""
    planted = truth.filter("positive")
    first = pl.col("label_id").min().over("session", "cluster_id")
    alone = pl.col("cluster_id").is_null()
    unit = pl.when(alone).then(pl.col("label_id")).otherwise(first)
    return planted.with_columns(
        unit.cast(pl.Int64).alias("unit"),
        pl.col("start").cast(pl.Int64).alias("start_ns"),
        pl.col("end").cast(pl.Int64).alias("end_ns"),
    )


def match_alerts(alerts: pl.DataFrame, truth: pl.DataFrame, window_s: float = WINDOW_S) -> Matched:
    """Match `alerts` (ALERT_SCHEMA and more) with `truth`, both of any number of sessions.

    Of several episodes an alert matches, the one that started first has it. Rows keep their order.
    """
    numbered = alerts.with_row_index("alert")
    planted = units_of(truth)
    hits = _overlaps(numbered, planted, window_s).filter(pl.col("side") == pl.col("side_planted"))
    best = (
        hits.sort("alert", "start_ns", "label_id")
        .unique("alert", keep="first", maintain_order=True)
        .select("alert", "label_id", "unit", "start_ns")
    )
    whys = (
        _overlaps(numbered, _negatives(truth), window_s)
        .sort("alert", "start_ns", "label_id")
        .unique("alert", keep="first", maintain_order=True)
        .select("alert", pl.col("kind").alias("cause"))
    )
    marked = (
        numbered.join(best, "alert", how="left")
        .join(whys, "alert", how="left")
        .with_columns(
            pl.when(pl.col("unit").is_null())
            .then(pl.col("cause").fill_null(BACKGROUND))
            .otherwise(pl.lit(None, pl.String))
            .alias("cause"),
        )
        .sort("alert")
    )
    repeated = pl.col("unit").is_not_null() & (
        pl.col("alert") != pl.col("alert").get(0).over("session", "unit", order_by="instant_ns")
    )
    marked = marked.with_columns(repeated.alias("repeated")).drop("start_ns", "alert")
    return Matched(marked, _found(planted, marked))


def _negatives(truth: pl.DataFrame) -> pl.DataFrame:
    """Return the hard negatives in the form of units."""
    return truth.filter(~pl.col("positive")).with_columns(
        pl.col("label_id").cast(pl.Int64).alias("unit"),
        pl.col("start").cast(pl.Int64).alias("start_ns"),
        pl.col("end").cast(pl.Int64).alias("end_ns"),
    )


def _overlaps(alerts: pl.DataFrame, episodes: pl.DataFrame, window_s: float) -> pl.DataFrame:
    """Return every pair of an alert and an episode of its instrument that runs then.

    An episode without an instrument is one of all instruments: a gap in the feed.
    """
    grace_ns = round(window_s * SECOND_NS)
    wanted = episodes.select(
        "session", "instrument_id", "label_id", "unit", "kind", "start_ns", "end_ns",
        pl.col("side").alias("side_planted"),
    )  # fmt: skip
    of_all = wanted.filter(pl.col("instrument_id").is_null()).drop("instrument_id")
    pairs = [
        alerts.join(wanted, ["session", "instrument_id"]),
        alerts.join(of_all, ["session"]),
    ]
    return pl.concat(pairs).filter(
        (pl.col("instant_ns") >= pl.col("start_ns"))
        & (pl.col("instant_ns") <= pl.col("end_ns") + grace_ns)
    )


def _found(planted: pl.DataFrame, alerts: pl.DataFrame) -> pl.DataFrame:
    """Return one row a unit: its first member's columns, and when it was found."""
    first = (
        alerts.filter(pl.col("unit").is_not_null())
        .group_by("session", "unit")
        .agg(pl.col("instant_ns").min().alias("found_ns"))
    )
    began = pl.col("start_ns").min().over("session", "unit")
    units = (
        planted.with_columns(
            began.alias("unit_start_ns"), pl.len().over("session", "unit").alias("members")
        )
        .sort("session", "unit", "label_id")
        .unique(["session", "unit"], keep="first", maintain_order=True)
    )
    return units.join(first, ["session", "unit"], how="left", maintain_order="left").with_columns(
        pl.col("found_ns").is_not_null().alias("found"),
        ((pl.col("found_ns") - pl.col("unit_start_ns")) / SECOND_NS).alias("delay_s"),
    )
