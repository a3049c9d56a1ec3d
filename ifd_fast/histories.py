"""Baselines in force, session by session, from a store.

Estimates are made by a process of their own, which hands over the array file that an engine maps:
20 sessions of 10,000 instruments take the database some 200 MB, a quarter of which its process
would never give back, for 0.6 MB of estimates.
"""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from ifd_fast import errors
from ifd_fast.errors import DataError, IfdError, UsageError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ifd_fast.baseline_estimates import Arrays
    from ifd_fast.profiles import Profile

__all__ = ["History", "StoreHistory", "publish_estimates"]

_SESSIONS_KEPT: Final = 2
_PUBLISH: Final = (
    "import sys; sys.path[:] = {!r}\n"
    "from ifd_fast.histories import publish_estimates\n"
    "sys.exit(publish_estimates(*sys.argv[1:]))"
)


class History(Protocol):
    """Who knows the baselines of a trading session."""

    @property
    def digests(self) -> dict[str, str]:
        """Of the estimates given out so far, by trade date: what a run says it was scored with."""

    def arrays_for(self, trade_date: dt.date) -> Arrays | None:
        """Return the estimates as of the open of `trade_date`, None if there is no history."""


class StoreHistory:
    """Estimates from a DuckDB store, made anew for each session from those before it.

    The store is opened read-only, and only while one session's estimates are made. Those of the
    newest sessions are kept: all who ask during a session get the arrays as of its open.
    """

    def __init__(self, store: str | Path, profile: Profile) -> None:
        """Look at the store once, so that a wrong path fails before any data is read."""
        self.store = Path(store)
        self.lookback_days = profile.lookback_days
        self.false_alerts_per_session = profile.false_alerts_per_session
        self.digests: dict[str, str] = {}
        self.rankings: dict[str, dict[str, Any]] = {}
        self._kept: dict[dt.date, Arrays | None] = {}
        if not self.store.is_file():
            raise UsageError(
                f"`--baselines` must be a baseline store, was {str(store)!r}: no such file. "
                "Make one with `ifd baseline build FOLDER... --db PATH`."
            )

    def arrays_for(self, trade_date: dt.date) -> Arrays | None:
        """Return the estimates from sessions before `trade_date`, None if there are none."""
        if trade_date not in self._kept:
            found = self._estimate(trade_date)
            if len(self._kept) == _SESSIONS_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[trade_date] = found
        return self._kept[trade_date]

    def _estimate(self, trade_date: dt.date) -> Arrays | None:
        from ifd_fast.ranking import unknown_ranking

        arrays = _estimate_apart(self.store, trade_date, self.lookback_days)
        if arrays.sessions == 0:
            return None
        day = trade_date.isoformat()
        self.digests[day] = arrays.digest
        ranking = arrays.ranking or unknown_ranking()
        self.rankings[day] = ranking.describe(self.false_alerts_per_session)
        return arrays


def _estimate_apart(store: Path, trade_date: dt.date, lookback: int) -> Arrays:
    """Return the estimates as another process makes them; raise what it raised."""
    from ifd_fast.baseline_file import load_arrays
    from ifd_fast.config import child_environment

    with tempfile.TemporaryDirectory(prefix="ifd-") as folder:
        arrays = Path(folder) / "arrays"
        asked = (str(store), trade_date.isoformat(), str(lookback), str(arrays))
        done = subprocess.run(
            [sys.executable, "-c", _PUBLISH.format(sys.path), *asked],
            stdin=subprocess.DEVNULL,
            env=child_environment(),
            capture_output=True,
            check=False,
            text=True,
        )
        if done.returncode == 0:
            return load_arrays(arrays)
    kind, _, message = done.stdout.partition("\n")
    if not message:
        raise IfdError(f"Making the baselines of {trade_date} failed: {done.stderr.strip()}")
    raise getattr(errors, kind)(message)


def publish_estimates(store: str, as_of: str, lookback: str, to: str) -> int:
    """Write the array file `to`, or print kind and message of what went wrong; return the code."""
    from ifd_fast.baseline_estimates import estimate
    from ifd_fast.baseline_file import publish_arrays
    from ifd_fast.baseline_store import open_store

    try:
        with open_store(Path(store)) as connection:
            asked = (dt.date.fromisoformat(as_of), int(lookback))
            arrays = _published(connection, Path(store), *asked) or estimate(connection, *asked)
        publish_arrays(Path(to), arrays)
    except IfdError as error:
        sys.stdout.write(f"{type(error).__name__}\n{error}")
        return error.exit_code
    return 0


def _published(
    connection: DuckDBPyConnection, store: Path, as_of: dt.date, lookback: int
) -> Arrays | None:
    """Return the array file beside the store if it holds just what would be estimated."""
    from ifd_fast.baseline_estimates import digest_inputs
    from ifd_fast.baseline_file import load_arrays

    path = store.with_suffix(".arrays")
    if not path.is_file():
        return None
    try:
        arrays = load_arrays(path)
    except DataError:  # of an earlier version, or damaged: what stands in the store counts
        return None
    return arrays if arrays.digest == digest_inputs(connection, as_of, lookback) else None
