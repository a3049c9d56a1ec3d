"""Baselines in force, session by session, from a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from ifd_fast.errors import UsageError

if TYPE_CHECKING:
    import datetime as dt

    from ifd_fast.baseline_estimates import Arrays
    from ifd_fast.profiles import Profile

__all__ = ["History", "StoreHistory"]

_SESSIONS_KEPT: Final = 2


class History(Protocol):
    """Who knows the baselines of a trading session."""

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
        self.digests: dict[str, str] = {}
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
        from ifd_fast.baseline_estimates import estimate
        from ifd_fast.baseline_store import open_store

        with open_store(self.store) as connection:
            arrays = estimate(connection, trade_date, self.lookback_days)
        if arrays.sessions == 0:
            return None
        self.digests[trade_date.isoformat()] = arrays.digest
        return arrays
