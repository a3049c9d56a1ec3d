"""Fold a replay's output folder into the store: one session, one transaction.

A folder holds `facts.parquet`, `instruments.parquet` and `session.json`, for one or several
trade dates, and in most cases `handovers.parquet`; a session without it adds nothing to the ranks
of residuals. A session that is already there with the same content is left alone; with another
content it is replaced whole.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ifd_fast.baseline_cells import SEASON_BINS, WINDOW_NS, WINDOW_S
from ifd_fast.baseline_store import (
    FACT_COLUMNS,
    HANDOVER_COLUMNS,
    LISTING_COLUMNS,
    SESSION_TABLES,
    transaction,
)
from ifd_fast.errors import DataError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Ingested", "SessionSource", "ingest_session", "insert_pulses", "read_sources"]

_TIMES: Final = ("TIMESTAMP_NS",)
_HANDOVERS: Final = "handovers.parquet"
_FILES: Final = ("facts.parquet", "instruments.parquet", "session.json")
_LINES_AT_ONCE: Final = 50_000
# What the estimates can see of a session, as lines.
_SEEN: Final = (
    """
    SELECT concat_ws('|', epoch_ns(window_end), instrument_id, bid_volume, ask_volume,
        unknown_volume, total_trades, bid_votes_1, ask_votes_1, bid_votes_10, ask_votes_10,
        coalesce(underlying_price::VARCHAR, '-'), quality)
    FROM new_facts ORDER BY window_end, instrument_id
    """,
    """
    SELECT concat_ws('|', instrument_id, symbol, coalesce(underlying, '-'),
        coalesce(epoch_ns(expiration)::VARCHAR, '-'), coalesce(strike::VARCHAR, '-'),
        coalesce(option_type, '-'), mapped)
    FROM new_listings ORDER BY instrument_id
    """,
    """
    SELECT concat_ws('|', epoch_ns(instant), instrument_id, age_s, bid_volume, ask_volume, moved,
        twin_moved)
    FROM new_handovers ORDER BY number
    """,
)


@dataclass(frozen=True)
class SessionSource:
    """One session of a replay's output folder; times in ns UTC."""

    folder: Path
    trade_date: dt.date
    open_ns: int
    close_ns: int
    observed_from_ns: int
    observed_to_ns: int
    facts_digest: str
    config_digest: str


@dataclass(frozen=True)
class Ingested:
    """What became of a session: `unchanged` if the store had it already."""

    trade_date: dt.date
    unchanged: bool
    fact_rows: int
    listed: int


def read_sources(folder: Path) -> list[SessionSource]:
    """Return the sessions that `folder` holds, by trade date.

    Raises
    ------
    DataError
        If a file is missing or unreadable, or a session's times make no session.
    """
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder} is no output folder of a replay: {', '.join(missing)} not found. "
            "Make one with `ifd replay FILE... --out DIR`."
        )
    path = folder / "session.json"
    try:
        document = json.loads(path.read_bytes())
        sessions = [_read_session(folder, document, entry) for entry in document["sessions"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} can't be read as a replay's summary ({type(error).__name__}: {error}). "
            "Run the replay again."
        ) from error
    if len({session.trade_date for session in sessions}) != len(sessions):
        raise DataError(f"{path} names a trade date twice. Run the replay again.")
    return sorted(sessions, key=lambda session: session.trade_date)


def ingest_session(connection: DuckDBPyConnection, source: SessionSource) -> Ingested:
    """Put one session into the store, in place of what it held of that trade date.

    Raises
    ------
    DataError
        If a column is missing, a key occurs twice or a window lies outside the session.
    """
    import duckdb

    try:
        _stage(connection, source)
        digest = _source_digest(connection, source)
        old = connection.execute(
            "SELECT source_digest, fact_rows, listed FROM coverage WHERE trade_date = ?",
            [source.trade_date],
        ).fetchall()
        if old and old[0][0] == digest:
            return Ingested(
                source.trade_date, unchanged=True, fact_rows=old[0][1], listed=old[0][2]
            )
        with transaction(connection):
            return _replace(connection, source, digest)
    except (duckdb.IOException, duckdb.InvalidInputException, duckdb.ConversionException) as error:
        raise DataError(f"The Parquet files of {source.folder} can't be read: {error}") from error
    finally:
        connection.execute("DROP TABLE IF EXISTS new_facts")
        connection.execute("DROP TABLE IF EXISTS new_listings")
        connection.execute("DROP TABLE IF EXISTS new_handovers")


def _read_session(folder: Path, document: dict[str, Any], entry: dict[str, Any]) -> SessionSource:
    source = SessionSource(
        folder,
        dt.date.fromisoformat(entry["trade_date"]),
        int(entry["open_ns"]),
        int(entry["close_ns"]),
        int(entry["observed_from_ns"]),
        int(entry["observed_to_ns"]),
        str(entry.get("facts_digest") or ""),
        str(document.get("config_digest") or ""),
    )
    bins, rest = divmod(source.close_ns - source.open_ns, WINDOW_NS)
    if rest or not 0 < bins <= SEASON_BINS or source.open_ns % WINDOW_NS:
        raise DataError(
            f"Session {source.trade_date} in {folder / 'session.json'} runs from {source.open_ns} "
            f"to {source.close_ns} ns: must be 1 to {SEASON_BINS} whole windows of {WINDOW_S} s."
        )
    return source


def _select(columns: dict[str, str]) -> str:
    return ", ".join(
        f"make_timestamp_ns(epoch_ns({name})) AS {name}"
        if kind in _TIMES
        else f"CAST({name} AS {kind}) AS {name}"
        for name, kind in columns.items()
    )


def _check_columns(connection: DuckDBPyConnection, path: Path, needed: set[str]) -> None:
    rows = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
    missing = sorted(needed - {row[0] for row in rows})
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}. Run the replay again.")


def _stage(connection: DuckDBPyConnection, source: SessionSource) -> None:
    """Copy the session's facts and listings to temporary tables, and check them."""
    facts, listings = source.folder / "facts.parquet", source.folder / "instruments.parquet"
    _check_columns(connection, facts, set(FACT_COLUMNS))
    _check_columns(connection, listings, {*LISTING_COLUMNS, "first_seen", "last_seen"})
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE new_facts AS
        SELECT {_select(FACT_COLUMNS)} FROM read_parquet($path)
        WHERE trade_date = $trade_date AND window_s = $window_s
        """,  # noqa: S608  # our own column names
        {"path": str(facts), "trade_date": source.trade_date, "window_s": WINDOW_S},
    )
    # An id may have been given to another instrument on the way: its newest owner that was
    # seen before the close counts, if it had not expired at the open.
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE new_listings AS
        SELECT {_select(LISTING_COLUMNS)} FROM read_parquet($path)
        WHERE coalesce(epoch_ns(first_seen) < $close, true)
          AND coalesce(epoch_ns(expiration) > $open, true)
        QUALIFY row_number() OVER (
            PARTITION BY instrument_id
            ORDER BY epoch_ns(first_seen) DESC NULLS LAST, epoch_ns(last_seen) DESC, symbol) = 1
        """,  # noqa: S608  # our own column names
        {"path": str(listings), "open": source.open_ns, "close": source.close_ns},
    )
    _stage_handovers(connection, source)
    _check_keys(connection, source)


def _stage_handovers(connection: DuckDBPyConnection, source: SessionSource) -> None:
    """Copy the session's hand-overs in their order; without a file there are none."""
    path = source.folder / _HANDOVERS
    columns = ", ".join(f"{name} {kind}" for name, kind in HANDOVER_COLUMNS.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE new_handovers ({columns}, number INTEGER)")
    if not path.is_file():
        return
    _check_columns(connection, path, set(HANDOVER_COLUMNS))
    connection.execute(
        f"""
        INSERT INTO new_handovers
        SELECT {_select(HANDOVER_COLUMNS)}, file_row_number
        FROM read_parquet($path, file_row_number = true)
        WHERE trade_date = $trade_date AND epoch_ns(instant) > $open
            AND epoch_ns(instant) <= $close
        """,  # noqa: S608  # our own column names
        {
            "path": str(path),
            "trade_date": source.trade_date,
            "open": source.open_ns,
            "close": source.close_ns,
        },
    )


def _check_keys(connection: DuckDBPyConnection, source: SessionSource) -> None:
    count, keys, early, late, ragged = _row(
        connection,
        """
        SELECT count(*), count(DISTINCT (instrument_id, window_end)),
            coalesce(min(epoch_ns(window_end)) <= $open, false),
            coalesce(max(epoch_ns(window_end)) > $close, false),
            coalesce(bool_or(epoch_ns(window_end) % $window <> 0), false)
        FROM new_facts
        """,
        {"open": source.open_ns, "close": source.close_ns, "window": WINDOW_NS},
    )
    path = source.folder / "facts.parquet"
    if count != keys:
        raise DataError(
            f"{path} holds {count - keys} rows of {source.trade_date} twice, by instrument_id and "
            "window_end. Run the replay again."
        )
    if early or late or ragged:
        raise DataError(
            f"{path} holds windows of {source.trade_date} that are no {WINDOW_S} s windows of its "
            f"session, {source.open_ns} to {source.close_ns} ns. Run the replay again."
        )


def _row(connection: DuckDBPyConnection, query: str, parameters: Any) -> tuple[Any, ...]:
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise DataError("The baseline store gave no answer to a count.")
    return row


def _source_digest(connection: DuckDBPyConnection, source: SessionSource) -> str:
    """Return the digest of what the estimates can see of the session, 64 hex digits."""
    digest = hashlib.sha256()
    times = (source.open_ns, source.close_ns, source.observed_from_ns, source.observed_to_ns)
    head = (source.trade_date.isoformat(), *times, source.facts_digest, source.config_digest)
    digest.update(json.dumps(head).encode())
    for query in _SEEN:
        digest.update(_digest_lines(connection, query).encode())
    return digest.hexdigest()


def _digest_lines(connection: DuckDBPyConnection, query: str) -> str:
    """Return the digest of a query's lines, 64 hex digits; nothing if there are none.

    Taken here, a piece at a time: in SQL all lines of a busy session would be one text, which the
    store's memory doesn't hold.
    """
    digest, separator = hashlib.sha256(), b""
    cursor = connection.execute(query)
    while rows := cursor.fetchmany(_LINES_AT_ONCE):
        digest.update(separator + "\n".join(row[0] for row in rows).encode())
        separator = b"\n"
    return digest.hexdigest() if separator else ""


def _replace(connection: DuckDBPyConnection, source: SessionSource, digest: str) -> Ingested:
    for table in SESSION_TABLES:
        connection.execute(
            f"DELETE FROM {table} WHERE trade_date = ?",  # noqa: S608  # our own table names
            [source.trade_date],
        )
    connection.execute(
        "INSERT INTO facts SELECT * FROM new_facts ORDER BY window_end, instrument_id"
    )
    connection.execute(
        "INSERT INTO listings SELECT ?, * FROM new_listings ORDER BY instrument_id",
        [source.trade_date],
    )
    connection.execute("INSERT INTO handovers SELECT * FROM new_handovers ORDER BY number")
    _insert_windows(connection, source)
    insert_pulses(connection, source.trade_date)
    handed = (source.folder / _HANDOVERS).is_file()
    facts, listed = _row(
        connection,
        "SELECT (SELECT count(*) FROM new_facts), (SELECT count(*) FROM new_listings)",
        [],
    )
    connection.execute(
        """
        INSERT INTO coverage
        SELECT $trade_date, $digest, $facts_digest, $config_digest, $open, $close, $from_, $to,
            count(*), count(*) FILTER (observed), $listed, $facts,
            CASE WHEN $handed THEN (SELECT count(*) FROM new_handovers) END
        FROM windows WHERE trade_date = $trade_date
        """,
        {
            "trade_date": source.trade_date,
            "digest": digest,
            "facts_digest": source.facts_digest,
            "config_digest": source.config_digest,
            "open": source.open_ns,
            "close": source.close_ns,
            "from_": source.observed_from_ns,
            "to": source.observed_to_ns,
            "listed": listed,
            "facts": facts,
            "handed": handed,
        },
    )
    return Ingested(source.trade_date, unchanged=False, fact_rows=facts, listed=listed)


def insert_pulses(connection: DuckDBPyConnection, trade_date: dt.date) -> None:
    """Write votes and mid of each window and underlying, over the session's mapped options.

    Two small sums that every rebuild needs first; kept, they save it a pass over all facts.
    """
    connection.execute(
        """
        INSERT INTO pulses
        SELECT $day, epoch_ns(f.window_end), coalesce(l.underlying, ''),
            sum(f.bid_votes_1 + f.ask_votes_1), max(f.underlying_price)
        FROM facts AS f
        JOIN listings AS l USING (instrument_id)
        JOIN windows AS w ON w.window_end_ns = epoch_ns(f.window_end)
        WHERE f.trade_date = $day AND l.trade_date = $day AND w.trade_date = $day
            AND w.observed AND f.quality <> 'F' AND l.mapped AND l.option_type IN ('C', 'P')
            AND l.strike IS NOT NULL AND l.expiration IS NOT NULL
        GROUP BY ALL ORDER BY ALL
        """,
        {"day": trade_date},
    )


def _insert_windows(connection: DuckDBPyConnection, source: SessionSource) -> None:
    """Write the session's windows; one in which every mapped row is grade F was not observed.

    A tape gap grades all instruments F, a single one's trouble only itself: so the best grade
    of a window says what the feed was worth in it.
    """
    connection.execute(
        """
        INSERT INTO windows
        WITH bins AS (
            SELECT bin::INTEGER AS bin, $open + (bin + 1) * $window AS window_end_ns
            FROM range(0, ($close - $open) // $window) AS r(bin)),
        grades AS (
            SELECT epoch_ns(window_end) AS window_end_ns, min(quality) AS grade,
                count(*)::INTEGER AS fact_rows
            FROM new_facts SEMI JOIN (SELECT * FROM new_listings WHERE mapped)
                USING (instrument_id)
            GROUP BY ALL)
        SELECT $trade_date, b.window_end_ns, b.bin,
            b.window_end_ns - $window >= $from_ AND b.window_end_ns <= $to
                AND coalesce(g.grade <> 'F', true),
            g.grade, coalesce(g.fact_rows, 0)
        FROM bins AS b LEFT JOIN grades AS g USING (window_end_ns) ORDER BY b.bin
        """,
        {
            "trade_date": source.trade_date,
            "open": source.open_ns,
            "close": source.close_ns,
            "from_": source.observed_from_ns,
            "to": source.observed_to_ns,
            "window": WINDOW_NS,
        },
    )
