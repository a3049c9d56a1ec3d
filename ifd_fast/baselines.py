"""Baselines: 20 sessions of history in DuckDB, and the array file the engine maps.

`add_folders` ingests replay outputs, `rebuild` makes the estimates as of a trade date, stores
and publishes them; `load_arrays` and `join_slots` are the engine's side.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ifd_fast.baseline_cells import LOOKBACK_SESSIONS
from ifd_fast.baseline_estimates import Arrays, estimate
from ifd_fast.baseline_file import load_arrays, publish_arrays
from ifd_fast.baseline_ingest import Ingested, SessionSource, ingest_session, read_sources
from ifd_fast.baseline_join import join_slot, join_slots
from ifd_fast.baseline_store import LOCK_WAIT_S, open_store, transaction
from ifd_fast.errors import UsageError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = [
    "Arrays",
    "Ingested",
    "add_folders",
    "arrays_path",
    "join_slot",
    "join_slots",
    "load_arrays",
    "rebuild",
]


def arrays_path(store: Path) -> Path:
    """Return where the arrays of a store are published: beside it, suffix `.arrays`."""
    return store.with_suffix(".arrays")


def add_folders(
    store: Path,
    folders: Iterable[Path],
    *,
    wait_s: float = LOCK_WAIT_S,
    on_session: Callable[[SessionSource, Ingested], None] | None = None,
) -> list[Ingested]:
    """Ingest every session of replay output folders, each in a transaction of its own.

    All folders are looked at before the first is written. The store is open only while one
    session is written, so that readers get their turn.
    """
    sources = [source for folder in folders for source in read_sources(folder)]
    results = []
    for source in sources:
        with open_store(store, write=True, wait_s=wait_s) as connection:
            results.append(ingest_session(connection, source))
        if on_session is not None:
            on_session(source, results[-1])
    return results


def rebuild(
    store: Path,
    as_of: dt.date | None = None,
    lookback: int = LOOKBACK_SESSIONS,
    *,
    arrays_to: Path | None = None,
    wait_s: float = LOCK_WAIT_S,
) -> Arrays:
    """Estimate as of `as_of` (default: the day after the newest session), store and publish.

    Only sessions before `as_of` are read, never the one the arrays are for. Reading, storing
    and publishing are three steps, so that the store is locked for writing only for the second.

    Raises
    ------
    UsageError
        If the store holds no session before `as_of`.
    """
    with open_store(store, wait_s=wait_s) as connection:
        when = as_of or _day_after(connection, store)
        arrays = estimate(connection, when, lookback)
    if arrays.sessions == 0:
        raise UsageError(
            f"Baseline store {store} holds no session before {when}. Add some with "
            "`ifd baseline build FOLDER...`, or choose a later --as-of."
        )
    with open_store(store, write=True, wait_s=wait_s) as connection:
        _store_derived(connection, arrays, when)
    publish_arrays(arrays_to or arrays_path(store), arrays)
    return arrays


def _day_after(connection: DuckDBPyConnection, store: Path) -> dt.date:
    row = connection.execute("SELECT max(trade_date) FROM coverage").fetchone()
    if row is None or row[0] is None:
        raise UsageError(f"Baseline store {store} holds no session. Add some first.")
    newest: dt.date = row[0]
    return newest + dt.timedelta(days=1)


def _store_derived(connection: DuckDBPyConnection, arrays: Arrays, as_of: dt.date) -> None:
    """Put the estimates in place of the last ones, in one transaction."""
    cells = arrays.cells
    names = np.array([symbol.decode() for symbol in arrays.underlyings["symbol"]] + [""])
    columns = {
        "level": cells["level"].copy(),
        "underlying": names[cells["underlying"]],
        "option_type": np.array(["C", "P"])[cells["option_type"]],
        "dte_class": cells["dte_class"].copy(),
        "moneyness": cells["moneyness"].copy(),
        "strike": cells["strike_1e9"] / 1e9,
        **{
            name: np.ascontiguousarray(cells[name])
            for name in ("votes_1", "votes_10", "log_ratio_mean", "log_ratio_sd", "sessions")
        },
        "windows": np.ascontiguousarray(cells["windows"]),
        **{f"q{at}": np.ascontiguousarray(cells["log_ratio_quantiles"][:, at]) for at in range(7)},
    }
    connection.register("new_cells", columns)
    try:
        with transaction(connection):
            for table in ("derived", "derived_season", "derived_cells"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608  # our own table names
            connection.execute(
                "INSERT INTO derived VALUES (?, ?, ?, ?)",
                [as_of, arrays.lookback_sessions, arrays.sessions, arrays.digest],
            )
            connection.execute(
                "INSERT INTO derived_season SELECT unnest(?::INTEGER[]), unnest(?::DOUBLE[])",
                [list(range(len(arrays.season))), arrays.season.tolist()],
            )
            connection.execute(
                """
                INSERT INTO derived_cells
                SELECT level, underlying, option_type, dte_class,
                    moneyness, CASE WHEN level = 0 THEN strike END, votes_1, votes_10,
                    log_ratio_mean, log_ratio_sd, [q0, q1, q2, q3, q4, q5, q6], sessions, windows
                FROM new_cells
                """
            )
    finally:
        connection.unregister("new_cells")
