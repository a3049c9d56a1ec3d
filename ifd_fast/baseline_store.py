"""The DuckDB file of past sessions: its tables, and opening it for a moment at a time.

DuckDB lets one process write or many read, never both. So nobody keeps the file open: a writer
does one short transaction, and whoever finds it locked tries again until `wait_s` has passed.

- meta       one row: the schema's version
- coverage   one row a session: digests, hours, what was observed
- windows    one row a window of a session: its bin, whether it was observed, its best grade
- pulses     one row a window and underlying with trades in its options: votes, the future's mid
- listings   one row an instrument that was listed in a session
- facts      the traded 300 s windows, as the replay wrote them (times are UTC)
- handovers  what the scorer was given, in its order: sessions are scored again from them
- derived, derived_cells, derived_season   the estimates last built, as of one trade date
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ifd_fast.errors import AlreadyRunningError, DataError, IfdError, UsageError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["open_store", "prune_sessions", "transaction"]

SCHEMA_VERSION: Final = 2
SESSION_TABLES: Final = ("coverage", "windows", "pulses", "listings", "facts", "handovers")
LOCK_WAIT_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.5
# Measured on the rebuild of 2.8 M facts: 150 MB keeps the process under 300 MB, costs no time.
_SETTINGS: Final = {
    "memory_limit": "150MB",
    "threads": "2",
    "preserve_insertion_order": "false",
}

FACT_COLUMNS: Final = {
    "window_start": "TIMESTAMP_NS",
    "window_end": "TIMESTAMP_NS",
    "trade_date": "DATE",
    "instrument_id": "UINTEGER",
    "symbol": "VARCHAR",
    "root": "VARCHAR",
    "underlying": "VARCHAR",
    "expiration": "TIMESTAMP_NS",
    "strike": "DOUBLE",
    "option_type": "VARCHAR",
    "bid_volume": "BIGINT",
    "ask_volume": "BIGINT",
    "unknown_volume": "BIGINT",
    "pressure_ratio": "DOUBLE",
    "total_trades": "BIGINT",
    "avg_trade_size": "DOUBLE",
    "dominant_side": "VARCHAR",
    "confidence": "DOUBLE",
    "bid_price": "DOUBLE",
    "ask_price": "DOUBLE",
    "ofi": "BIGINT",
    "underlying_price": "DOUBLE",
    "quality": "VARCHAR",
    "window_s": "INTEGER",
    "bid_votes_1": "BIGINT",
    "ask_votes_1": "BIGINT",
    "bid_votes_10": "BIGINT",
    "ask_votes_10": "BIGINT",
}
HANDOVER_COLUMNS: Final = {
    "trade_date": "DATE",
    "instant": "TIMESTAMP_NS",
    "instrument_id": "UINTEGER",
    "age_s": "INTEGER",
    "bid_volume": "BIGINT",
    "ask_volume": "BIGINT",
    "moved": "TINYINT",
    "twin_moved": "TINYINT",
}
LISTING_COLUMNS: Final = {
    "instrument_id": "UINTEGER",
    "symbol": "VARCHAR",
    "root": "VARCHAR",
    "underlying": "VARCHAR",
    "expiration": "TIMESTAMP_NS",
    "strike": "DOUBLE",
    "option_type": "VARCHAR",
    "mapped": "BOOLEAN",
}


def _columns(columns: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


_SCHEMA: Final = f"""
CREATE TABLE meta (schema_version INTEGER);
INSERT INTO meta VALUES ({SCHEMA_VERSION});
CREATE TABLE coverage (
    trade_date DATE, source_digest VARCHAR, facts_digest VARCHAR, config_digest VARCHAR,
    open_ns BIGINT, close_ns BIGINT, observed_from_ns BIGINT, observed_to_ns BIGINT,
    windows INTEGER, windows_observed INTEGER, listed INTEGER, fact_rows BIGINT, handovers BIGINT);
CREATE TABLE windows (
    trade_date DATE, window_end_ns BIGINT, bin INTEGER, observed BOOLEAN, grade VARCHAR,
    fact_rows INTEGER);
CREATE TABLE pulses (
    trade_date DATE, window_end_ns BIGINT, underlying VARCHAR, votes_1 BIGINT, mid DOUBLE);
CREATE TABLE listings (trade_date DATE, {_columns(LISTING_COLUMNS)});
CREATE TABLE facts ({_columns(FACT_COLUMNS)});
CREATE TABLE handovers ({_columns(HANDOVER_COLUMNS)}, number INTEGER);
CREATE TABLE derived (as_of DATE, lookback_sessions INTEGER, sessions INTEGER, digest VARCHAR);
CREATE TABLE derived_season (bin INTEGER, share_before DOUBLE);
CREATE TABLE derived_cells (
    level UTINYINT, underlying VARCHAR, option_type VARCHAR, dte_class TINYINT,
    moneyness TINYINT, strike DOUBLE, votes_1 DOUBLE, votes_10 DOUBLE, log_ratio_mean DOUBLE,
    log_ratio_sd DOUBLE, log_ratio_quantiles DOUBLE[], sessions DOUBLE, traded_windows BIGINT);
"""  # noqa: S608  # our own constants


@contextmanager
def open_store(
    path: Path, *, write: bool = False, wait_s: float = LOCK_WAIT_S
) -> Iterator[DuckDBPyConnection]:
    """Open the store, made at first write, and close it at the end of the block.

    Raises
    ------
    UsageError
        If it is to be read and there is none.
    AlreadyRunningError
        If another process held it for all of `wait_s`; names the process where DuckDB does.
    DataError
        If the file is no store, or one of another schema version.
    """
    if not write and not path.is_file():
        raise UsageError(f"No baseline store at {path}. Make one with `ifd baseline build`.")
    if write:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise IfdError(f"Folder {path.parent} can't be made: {error}.") from error
    connection = _connect(path, write=write, wait_s=wait_s)
    try:
        _check_schema(connection, path, write=write)
        yield connection
    finally:
        connection.close()


@contextmanager
def transaction(connection: DuckDBPyConnection) -> Iterator[None]:
    """Commit what the block did, or undo all of it if the block raises."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def prune_sessions(connection: DuckDBPyConnection, keep_sessions: int) -> list[str]:
    """Drop all but the newest `keep_sessions` sessions; return the dropped trade dates."""
    if keep_sessions < 1:
        raise UsageError(
            f"`keep_sessions` must be at least 1, was {keep_sessions}. "
            "To drop all history, delete the file."
        )
    old = connection.execute(
        "SELECT trade_date FROM coverage ORDER BY trade_date DESC OFFSET ?", [keep_sessions]
    ).fetchall()
    if not old:
        return []
    with transaction(connection):
        for table in SESSION_TABLES:
            query = f"DELETE FROM {table} WHERE trade_date <= ?"  # noqa: S608  # our own names
            connection.execute(query, [old[0][0]])
    connection.execute("CHECKPOINT")
    return sorted(str(row[0]) for row in old)


def _connect(path: Path, *, write: bool, wait_s: float) -> DuckDBPyConnection:
    import duckdb

    deadline = time.monotonic() + wait_s
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return duckdb.connect(
                str(path),
                read_only=not write,
                config={**_SETTINGS, "temp_directory": f"{path}.tmp"},
            )
        except duckdb.ConnectionException as error:  # this very process has it open otherwise
            holder = f"this process ({error})"
        except duckdb.IOException as error:
            if "lock" not in str(error):
                raise DataError(f"{path} is no DuckDB file that can be opened: {error}.") from error
            found = re.search(r"held in (.+?) \(PID (\d+)\)", str(error))
            holder = f"process {found[2]} ({found[1]})" if found else "another process"
        except duckdb.Error as error:
            raise DataError(f"{path} is no DuckDB file that can be opened: {error}.") from error
        if time.monotonic() >= deadline:
            raise AlreadyRunningError(
                f"Baseline store {path} was locked for {wait_s:g} s by {holder}. "
                "Wait until it is done, or end it."
            )
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _check_schema(connection: DuckDBPyConnection, path: Path, *, write: bool) -> None:
    tables = {row[0] for row in connection.execute("SHOW TABLES").fetchall()}
    if write and not tables:
        with transaction(connection):
            connection.execute(_SCHEMA)
        return
    if "meta" not in tables or "coverage" not in tables:
        raise DataError(f"{path} is a DuckDB file, but no baseline store. Choose another path.")
    rows = connection.execute("SELECT schema_version FROM meta").fetchall()
    if rows != [(SCHEMA_VERSION,)]:
        version = rows[0][0] if rows else "none"
        raise DataError(
            f"Baseline store {path} has schema version {version}, this program reads "
            f"{SCHEMA_VERSION}. Move it away and build again from the replay folders."
        )
