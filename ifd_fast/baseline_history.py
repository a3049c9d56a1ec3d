"""Count the history of a lookback in DuckDB: votes, exposure and log ratios of every cell.

Everything here reads. What comes back is small: one entry a cell, whatever the length of the
history. Facts count if their instrument was a mapped call or put of that session, their window
was observed, and their grade is not F; an F row takes its own exposure away.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ifd_fast.baseline_cells import (
    DAY_NS,
    DTE_LAST,
    HALF_LIFE_SESSIONS,
    MONEYNESS_CLASSES,
    MONEYNESS_FACTORS,
    NO_CLASS,
    SEASON_BINS,
)
from ifd_fast.baseline_ratios import COUNT, NO_RATIO, RATIO_UNIT, fill_ratios

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["DTE_CASE", "GROUP", "History", "read_history"]

GROUP: Final = np.dtype([("underlying", "<i8"), ("option_type", "<i8"), ("dte_class", "<i8")])


@dataclass(frozen=True)
class History:
    """What a lookback holds; arrays of COUNT are sorted by their keys.

    `season` (277,) is the share of a session's votes before each bin and at the end. `digest_of`
    lists (trade date, source digest) oldest first. `underlyings` are (symbol, the future's
    newest instrument_id or 0, newest mid or nan).
    """

    digest_of: list[tuple[str, str]]
    season: NDArray[np.float64]
    underlyings: list[tuple[str, int, float]]
    groups: NDArray[Any]
    strikes: NDArray[Any]
    moneyness: NDArray[Any]
    dte: NDArray[Any]
    types: NDArray[Any]


DTE_CASE: Final = (
    "CASE "
    + " ".join(f"WHEN days <= {last} THEN {number}" for number, last in enumerate(DTE_LAST))
    + f" ELSE {len(DTE_LAST)} END"
)
_MONEYNESS: Final = (
    f"CASE WHEN coalesce(m.mid, 0) <= 0 THEN {NO_CLASS} ELSE "
    + " + ".join(f"(l.strike >= m.mid * {factor}::DOUBLE)::INTEGER" for factor in MONEYNESS_FACTORS)
    + " END"
)
# ln x - ln y, not ln(x / y): swapping the sides gives the exact negative.
_LOG_RATIO: Final = "ln(f.ask_volume + 0.5::DOUBLE) - ln(f.bid_volume + 0.5::DOUBLE)"
_FACTS: Final = f"""
    SELECT l.strike_cell::INTEGER AS cell, ({_MONEYNESS})::TINYINT AS near,
        (f.bid_votes_1 + f.ask_votes_1)::DOUBLE AS votes_1,
        (f.bid_votes_10 + f.ask_votes_10)::DOUBLE AS votes_10,
        CASE WHEN f.bid_volume + f.ask_volume > 0
            THEN round(({_LOG_RATIO}) * {RATIO_UNIT})::INTEGER ELSE {NO_RATIO} END AS ratio
    FROM facts AS f
    JOIN listed AS l USING (trade_date, instrument_id)
    JOIN mids AS m ON m.window_end = f.window_end AND m.underlying_id = l.underlying_id
    WHERE f.trade_date = $day AND l.trade_date = $day AND m.trade_date = $day AND f.quality <> 'F'
"""  # noqa: S608  # our own constants


def read_history(connection: DuckDBPyConnection, as_of: dt.date, lookback: int) -> History:
    """Count the newest `lookback` sessions before `as_of`. O(facts of the lookback)."""
    _stage_sessions(connection, as_of, lookback)
    _stage_listed(connection)
    season = _season(connection)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE shares AS SELECT unnest(?::INTEGER[]) AS bin, "
        "unnest(?::DOUBLE[]) AS share",
        [list(range(SEASON_BINS)), np.diff(season).tolist()],
    )
    _stage_mids(connection)
    groups = _fetch_groups(connection)
    strikes, dte, types = _exposures(connection, groups)
    moneyness = _moneyness_exposure(connection, len(groups))
    _add_facts(connection, strikes, moneyness, dte, types, groups)
    _take_excluded(connection, strikes, moneyness, dte, types)
    return History(
        digest_of=connection.execute(
            "SELECT trade_date::VARCHAR, source_digest FROM history ORDER BY trade_date"
        ).fetchall(),
        season=season,
        underlyings=_underlyings(connection),
        groups=groups,
        strikes=strikes,
        moneyness=moneyness[moneyness["sessions"] > 0],
        dte=dte,
        types=types[types["sessions"] > 0],
    )


def _stage_sessions(connection: DuckDBPyConnection, as_of: dt.date, lookback: int) -> None:
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE history AS
        SELECT *, pow(0.5, age / $half_life) AS weight FROM (
            SELECT trade_date, source_digest,
                row_number() OVER (ORDER BY trade_date DESC) - 1 AS age
            FROM coverage WHERE trade_date < $as_of)
        WHERE age < $lookback
        """,
        {"half_life": float(HALF_LIFE_SESSIONS), "as_of": as_of, "lookback": lookback},
    )
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE seen AS
        SELECT trade_date, make_timestamp_ns(window_end_ns) AS window_end, bin, weight
        FROM windows JOIN history USING (trade_date) WHERE observed
        """
    )


def _stage_listed(connection: DuckDBPyConnection) -> None:
    """Give each listed option its cells: `strike_cell` and `group_id` are dense, sorted by key."""
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE listed AS
        SELECT *,
            dense_rank() OVER (ORDER BY underlying) - 1 AS underlying_id,
            dense_rank() OVER (ORDER BY underlying, option_type, dte_class) - 1 AS group_id,
            dense_rank() OVER (ORDER BY underlying, option_type, dte_class, strike) - 1
                AS strike_cell
        FROM (
            SELECT trade_date, instrument_id, underlying, strike, weight,
                (option_type = 'P')::INTEGER AS option_type, {DTE_CASE} AS dte_class
            FROM (
                SELECT trade_date, instrument_id, coalesce(underlying, '') AS underlying,
                    strike, weight, option_type,
                    epoch_ns(expiration) // {DAY_NS}
                        - date_diff('day', DATE '1970-01-01', trade_date) AS days
                FROM listings JOIN history USING (trade_date) SEMI JOIN seen USING (trade_date)
                WHERE mapped AND option_type IN ('C', 'P')
                    AND strike IS NOT NULL AND expiration IS NOT NULL))
        """  # noqa: S608  # our own constants
    )


def _season(connection: DuckDBPyConnection) -> NDArray[np.float64]:
    """Return the cumulative share of votes before each bin and at the end (277,).

    A bin's rate is its votes by the sessions that observed it, beside one session's weight of
    the mean rate: no bin of a short history is ever impossible.
    """
    rows = connection.execute(
        """
        SELECT bin, count(*), coalesce(sum(votes), 0) FROM seen LEFT JOIN (
            SELECT make_timestamp_ns(window_end_ns) AS window_end, sum(votes_1)::BIGINT AS votes
            FROM pulses SEMI JOIN history USING (trade_date) GROUP BY ALL)
        USING (window_end) GROUP BY bin
        """
    ).fetchall()
    votes, sessions = np.zeros(SEASON_BINS), np.zeros(SEASON_BINS)
    for number, count, total in rows:
        votes[number], sessions[number] = total, count
    if votes.sum() == 0:
        return np.arange(SEASON_BINS + 1) / SEASON_BINS
    rates = (votes + votes.sum() / sessions.sum()) / (sessions + 1)
    curve = np.concatenate(([0.0], np.cumsum(rates)))
    share: NDArray[np.float64] = curve / curve[-1]
    return share


def _stage_mids(connection: DuckDBPyConnection) -> None:
    """Write the mid of each underlying and observed window, carried forward where unknown."""
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE mids AS
        WITH known AS (
            SELECT underlying, make_timestamp_ns(window_end_ns) AS window_end, mid
            FROM pulses SEMI JOIN history USING (trade_date) WHERE mid IS NOT NULL)
        SELECT a.trade_date, a.underlying_id, a.window_end, k.mid,
            a.weight * s.share AS amount, s.share
        FROM (SELECT * FROM seen CROSS JOIN (
            SELECT DISTINCT underlying, underlying_id FROM listed)) AS a
        JOIN shares AS s USING (bin)
        ASOF LEFT JOIN known AS k
            ON k.underlying = a.underlying AND a.window_end >= k.window_end
        """
    )


def _fetch_groups(connection: DuckDBPyConnection) -> NDArray[Any]:
    columns = connection.execute(
        "SELECT DISTINCT group_id, underlying_id, option_type, dte_class FROM listed "
        "ORDER BY group_id"
    ).fetchnumpy()
    groups = np.zeros(len(columns["group_id"]), GROUP)
    groups["underlying"] = columns["underlying_id"]
    groups["option_type"], groups["dte_class"] = columns["option_type"], columns["dte_class"]
    return groups


def _exposures(
    connection: DuckDBPyConnection, groups: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the cells of strikes, groups and types with exposure and sessions filled in.

    DuckDB counts, numpy adds day by day: a database adds doubles in any order, and its ordered
    aggregates made the whole rebuild a quarter slower.
    """
    days = _observed_shares(connection)
    listed = connection.execute(
        "SELECT strike_cell, min(strike) AS strike, min(group_id) AS group_id, trade_date, "
        "count(*) AS n FROM listed GROUP BY strike_cell, trade_date"
    ).fetchnumpy()
    strikes = np.zeros(int(listed["strike_cell"].max()) + 1 if len(listed["n"]) else 0, COUNT)
    strikes["strike"][listed["strike_cell"]] = listed["strike"]
    strikes["group"][listed["strike_cell"]] = listed["group_id"]
    tables = (strikes, np.zeros(len(groups), COUNT), np.zeros(2, COUNT))
    tables[1]["group"], tables[2]["group"] = np.arange(len(groups)), np.arange(2)
    kind = groups["option_type"].astype(np.int64)
    for day, amount, part in days:
        here = listed["trade_date"] == day
        cell, n = listed["strike_cell"][here], listed["n"][here]
        group = strikes["group"][cell]
        for table, key in zip(tables, (cell, group, kind[group]), strict=True):
            counts = np.bincount(key, n, len(table))  # whole numbers: exact in any order
            table["exposure"] += counts * amount
            table["sessions"] += (counts > 0) * part
    for table in tables:
        table["moneyness"] = NO_CLASS
    return tables


def _observed_shares(
    connection: DuckDBPyConnection,
) -> list[tuple[np.datetime64, float, float]]:
    """Return each past day with the season's share it observed, weighted and as it is."""
    rows = connection.execute(
        "SELECT trade_date, weight, list(share ORDER BY bin) FROM seen JOIN shares USING (bin) "
        "GROUP BY trade_date, weight ORDER BY trade_date"
    ).fetchall()
    return [
        (np.datetime64(day, "D"), float(weight) * math.fsum(shares), math.fsum(shares))
        for day, weight, shares in rows
    ]


def _moneyness_exposure(connection: DuckDBPyConnection, groups: int) -> NDArray[Any]:
    """Return a cell for every group and moneyness class, group by group, with its exposure.

    Of each session's and group's sorted strikes, those in a class at each window are counted
    by bisection: windows x edges, not windows x instruments.
    """
    cells = np.zeros((groups, MONEYNESS_CLASSES), COUNT)
    cells["group"] = np.arange(groups)[:, None]
    cells["moneyness"] = np.arange(MONEYNESS_CLASSES)
    listed = connection.execute(
        "SELECT date_diff('day', DATE '1970-01-01', trade_date) AS day, underlying_id, group_id, "
        "strike FROM listed ORDER BY day, group_id, strike"
    ).fetchnumpy()
    mids = connection.execute(
        "SELECT date_diff('day', DATE '1970-01-01', trade_date) AS day, underlying_id, mid, "
        "amount, share FROM mids WHERE mid > 0 ORDER BY day, underlying_id, window_end"
    ).fetchnumpy()
    key = listed["day"].astype(np.int64) * groups + listed["group_id"]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    window_key = mids["day"].astype(np.int64) * groups + mids["underlying_id"]
    factors = np.array(MONEYNESS_FACTORS)
    for start, stop in itertools.pairwise([*starts.tolist(), len(key)]):
        wanted = int(listed["day"][start]) * groups + int(listed["underlying_id"][start])
        first, last = np.searchsorted(window_key, [wanted, wanted + 1])
        edges = np.asarray(mids["mid"][first:last], np.float64)[:, None] * factors
        below = np.searchsorted(listed["strike"][start:stop], edges, side="left")
        counts = np.diff(below, axis=1, prepend=0, append=stop - start)
        amount = np.asarray(mids["amount"][first:last], np.float64)
        row = cells[int(listed["group_id"][start])]
        row["exposure"] += amount @ counts
        row["sessions"] += np.asarray(mids["share"][first:last], np.float64) @ (counts > 0)
    return cells.reshape(-1)


def _add_facts(
    connection: DuckDBPyConnection,
    strikes: NDArray[Any],
    moneyness: NDArray[Any],
    dte: NDArray[Any],
    types: NDArray[Any],
    groups: NDArray[Any],
) -> None:
    """Add votes and log ratios to the cells of all four levels, in one pass over the facts."""
    cell, near, ratio = _read_facts(connection, strikes, moneyness)
    kind = groups["option_type"]
    for name in ("votes_1", "votes_10"):
        dte[name] = np.bincount(strikes["group"], strikes[name], len(dte))
        types[name] = np.bincount(kind, dte[name], len(types))
    fill_ratios(strikes, cell, ratio)
    group = strikes["group"].astype(np.int32)[cell]
    fill_ratios(dte, group, ratio)
    fill_ratios(types, kind.astype(np.int32)[group], ratio)
    known = near >= 0
    group = group[known] * MONEYNESS_CLASSES + near[known]
    fill_ratios(moneyness, group, ratio[known])


def _read_facts(
    connection: DuckDBPyConnection, strikes: NDArray[Any], moneyness: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[np.int8], NDArray[np.int32]]:
    """Add up votes session by session; return strike cell, class and log ratio of each row.

    Tried: DuckDB's quantile_cont over grouping sets, which is one query but holds every value
    four times and runs out of 200 MB on 2.8 M facts; apart, the four queries took 1.2 s.
    """
    cells, classes, ratios = [], [], []
    days = connection.execute("SELECT trade_date, weight FROM history ORDER BY 1").fetchall()
    for day, weight in days:
        columns = connection.execute(_FACTS, {"day": day}).fetchnumpy()
        cell, near = columns["cell"], columns["near"]
        known = near >= 0
        wide = strikes["group"][cell[known]] * MONEYNESS_CLASSES + near[known]
        for name in ("votes_1", "votes_10"):
            votes = columns[name]  # whole numbers: their sums are exact in any order
            strikes[name] += weight * np.bincount(cell, votes, len(strikes))
            moneyness[name] += weight * np.bincount(wide, votes[known], len(moneyness))
        traded = columns["ratio"] != NO_RATIO
        cells.append(cell[traded])
        classes.append(near[traded])
        ratios.append(columns["ratio"][traded])
    if not days:
        return np.empty(0, np.int32), np.empty(0, np.int8), np.empty(0, np.int32)
    return np.concatenate(cells), np.concatenate(classes), np.concatenate(ratios)


def _take_excluded(
    connection: DuckDBPyConnection,
    strikes: NDArray[Any],
    moneyness: NDArray[Any],
    dte: NDArray[Any],
    types: NDArray[Any],
) -> None:
    """Take the exposure of F rows in observed windows away: what they hold isn't known."""
    rows = connection.execute(
        f"""
        SELECT l.strike_cell, l.group_id, l.option_type, {_MONEYNESS} AS near, m.amount
        FROM facts AS f
        JOIN listed AS l USING (trade_date, instrument_id)
        JOIN mids AS m ON m.window_end = f.window_end AND m.underlying_id = l.underlying_id
        WHERE f.quality = 'F' ORDER BY f.window_end, f.instrument_id
        """  # noqa: S608  # our own constants
    ).fetchnumpy()
    amount = np.asarray(rows["amount"], np.float64)
    for cells, key in ((strikes, "strike_cell"), (dte, "group_id"), (types, "option_type")):
        np.subtract.at(cells["exposure"], rows[key].astype(np.int64), amount)
    known = rows["near"] >= 0
    at = rows["group_id"][known].astype(np.int64) * MONEYNESS_CLASSES + rows["near"][known]
    np.subtract.at(moneyness["exposure"], at, amount[known])


def _underlyings(connection: DuckDBPyConnection) -> list[tuple[str, int, float]]:
    rows = connection.execute(
        """
        SELECT u.underlying, coalesce(f.instrument_id, 0), coalesce(m.mid, 'nan'::DOUBLE)
        FROM (SELECT DISTINCT underlying, underlying_id FROM listed) AS u
        LEFT JOIN (
            SELECT symbol, arg_max(instrument_id, trade_date) AS instrument_id
            FROM listings SEMI JOIN history USING (trade_date)
            WHERE option_type = 'F' GROUP BY symbol) AS f ON f.symbol = u.underlying
        LEFT JOIN (
            SELECT underlying_id, arg_max(mid, window_end) AS mid
            FROM mids WHERE mid IS NOT NULL GROUP BY underlying_id) AS m USING (underlying_id)
        ORDER BY u.underlying
        """
    ).fetchall()
    return [(str(row[0]), int(row[1]), float(row[2])) for row in rows]
