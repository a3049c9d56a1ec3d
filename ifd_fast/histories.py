"""Baselines in force, session by session, from a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ifd_fast.errors import UsageError

if TYPE_CHECKING:
    import datetime as dt

    from ifd_fast.baseline_estimates import Arrays
    from ifd_fast.profiles import Profile

__all__ = ["History", "StoreHistory"]


class History(Protocol):
    """Who knows the baselines of a trading session."""

    def arrays_for(self, trade_date: dt.date) -> Arrays | None:
        """Return the estimates as of the open of `trade_date`, None if there is no history."""


class StoreHistory:
    """Estimates from a DuckDB store, made anew for each session from those before it.

    The store is opened read-only, and only while one session's estimates are made.
    """

    def __init__(self, store: str | Path, profile: Profile) -> None:
        """Look at the store once, so that a wrong path fails before any data is read."""
        self.store = Path(store)
        self.lookback_days = profile.lookback_days
        self.digests: dict[str, str] = {}
        if not self.store.is_file():
            raise UsageError(
                f"`--baselines` must be a baseline store, was {str(store)!r}: no such file. "
                "Make one with `ifd baseline build FOLDER... --db PATH`."
            )

    def arrays_for(self, trade_date: dt.date) -> Arrays | None:
        """Return the estimates from sessions before `trade_date`, None if there are none."""
        from ifd_fast.baseline_estimates import estimate
        from ifd_fast.baseline_store import open_store

        with open_store(self.store) as connection:
            arrays = estimate(connection, trade_date, self.lookback_days)
        if arrays.sessions == 0:
            return None
        self.digests[trade_date.isoformat()] = arrays.digest
        return arrays
