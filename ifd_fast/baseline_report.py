"""What a store holds: completeness, anomaly rate and consistency of each session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ifd_fast.baseline_cells import DAY_NS
from ifd_fast.baseline_history import DTE_CASE
from ifd_fast.baseline_store import LOCK_WAIT_S, open_store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["describe_store", "describe_strike"]

ANOMALY_SD: Final = 2.0

# Each session's strike cells: votes and listings beside what the estimates now in the store say.
_OPTIONS: Final = f"""
    SELECT trade_date, instrument_id, underlying, option_type, strike, {DTE_CASE} AS dte_class
    FROM (
        SELECT *, epoch_ns(expiration) // {DAY_NS}
            - date_diff('day', DATE '1970-01-01', trade_date) AS days
        FROM (SELECT * REPLACE (coalesce(underlying, '') AS underlying) FROM listings)
        WHERE mapped AND option_type IN ('C', 'P')
            AND strike IS NOT NULL AND expiration IS NOT NULL)
"""  # noqa: S608  # our own constants
_QUALITY: Final = f"""
    WITH options AS ({_OPTIONS}),
    cells AS (SELECT * FROM derived_cells WHERE level = 0),
    rows AS (
        SELECT trade_date, instrument_id, sum(bid_votes_1 + ask_votes_1) AS votes,
            count(*) FILTER (bid_volume + ask_volume > 0) AS traded,
            list(ln(ask_volume + 0.5::DOUBLE) - ln(bid_volume + 0.5::DOUBLE))
                FILTER (bid_volume + ask_volume > 0) AS ratios
        FROM facts WHERE quality <> 'F' GROUP BY ALL),
    joined AS (
        SELECT o.trade_date, coalesce(r.votes, 0) AS votes, c.votes_1 AS expected,
            coalesce(r.traded, 0) AS traded,
            coalesce(len(list_filter(r.ratios,
                lambda x: abs(x - c.log_ratio_mean) > {ANOMALY_SD} * c.log_ratio_sd)), 0) AS odd
        FROM options AS o
        LEFT JOIN rows AS r USING (trade_date, instrument_id)
        JOIN cells AS c USING (underlying, option_type, dte_class, strike))
    SELECT trade_date, sum(odd) / nullif(sum(traded), 0) AS anomaly_rate,
        CASE WHEN count(*) > 1 AND stddev_pop(votes) > 0 AND stddev_pop(expected) > 0
            THEN corr(ln(1 + votes), ln(1 + expected)) END AS consistency
    FROM joined GROUP BY trade_date
"""  # noqa: S608  # our own constants


def describe_store(store: Path, *, wait_s: float = LOCK_WAIT_S) -> dict[str, Any]:
    """Return the estimates in the store, and each session's quality, oldest first.

    Per session: `completeness` (observed share of its windows), `grades` (windows by their best
    grade), `anomaly_rate` (share of traded windows over 2 sd from their cell's log ratio) and
    `consistency` (correlation of its votes by strike with the expected ones, both as logarithms);
    the last two are None until estimates are built.
    """
    with open_store(store, wait_s=wait_s) as connection:
        sessions = _records(
            connection,
            "SELECT trade_date::VARCHAR AS trade_date, windows, windows_observed, "
            "windows_observed / windows AS completeness, listed, fact_rows, facts_digest "
            "FROM coverage ORDER BY trade_date",
        )
        quality = {str(row["trade_date"]): row for row in _records(connection, _QUALITY)}
        grades = _records(
            connection,
            "SELECT trade_date::VARCHAR AS trade_date, grade, count(*) AS windows FROM windows "
            "WHERE grade IS NOT NULL GROUP BY ALL ORDER BY ALL",
        )
        derived = _records(
            connection,
            "SELECT as_of::VARCHAR AS as_of, lookback_sessions, sessions, digest, "
            "(SELECT count(*) FROM derived_cells) AS cells FROM derived",
        )
    for session in sessions:
        day = session["trade_date"]
        own = quality.get(day, {})
        session["anomaly_rate"] = own.get("anomaly_rate")
        session["consistency"] = own.get("consistency")
        session["grades"] = {
            row["grade"]: row["windows"] for row in grades if row["trade_date"] == day
        }
    return {
        "store": str(store),
        "derived": derived[0] if derived else None,
        "sessions": sessions,
    }


def describe_strike(
    store: Path, strike: float, *, wait_s: float = LOCK_WAIT_S
) -> list[dict[str, Any]]:
    """Return the estimates of one strike, in points, by underlying, type and DTE class."""
    with open_store(store, wait_s=wait_s) as connection:
        return _records(
            connection,
            "SELECT underlying, option_type, dte_class, strike, votes_1, votes_10, "
            "log_ratio_mean, log_ratio_sd, sessions, traded_windows FROM derived_cells "
            "WHERE level = 0 AND strike = ? ORDER BY ALL",
            [strike],
        )


def _records(
    connection: DuckDBPyConnection, query: str, parameters: list[Any] | None = None
) -> list[dict[str, Any]]:
    answer = connection.execute(query, parameters or [])
    names = [column[0] for column in answer.description or []]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
