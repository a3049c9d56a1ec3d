"""`IFDv3Engine`: windows to signals, one record at a time or a whole stream.

`analyze_pressure_event` judges one window by itself, by the very kernel that scores all strikes,
with a family of one. `feed` takes a stream's bytes: every window goes through
`analyze_pressure_event`, just as on the callback path, so both give the same signals; the rolling
signals, scored at every instant, come out of `on_rolling_signal` beside them.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from ifd_kernels.layout import (
    IDENTITY,
    KIND_CALL,
    KIND_FUTURE,
    KIND_PUT,
    KIND_UNKNOWN,
    MARK_HALTED,
    MARK_LAGGING,
    MARK_REBUILT,
    MARK_STALE,
    SECOND_NS,
    UNDEF_PRICE,
)

from ifd_fast.calendar import load_sessions
from ifd_fast.config import load_settings
from ifd_fast.errors import UsageError
from ifd_fast.histories import StoreHistory
from ifd_fast.scores import profile_row, score_one, unknown_expected
from ifd_fast.signals import build_signals, iterate_signals
from ifd_fast.streaming import MBOStreamingClient

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import polars as pl
    from numpy.typing import NDArray

    from ifd_fast.baseline_estimates import Arrays
    from ifd_fast.histories import History
    from ifd_fast.metrics import PressureMetrics
    from ifd_fast.signals import InstitutionalSignalV3

__all__ = ["IFDv3Engine"]

_KINDS: Final = {"C": KIND_CALL, "P": KIND_PUT, "F": KIND_FUTURE}
_OPTIONS: Final = {"C": "call", "P": "put"}
# A grade says less than the marks behind it; these stand for the grade.
_MARK_OF_GRADE: Final = {
    "A": 0,
    "B": MARK_REBUILT,
    "C": MARK_HALTED,
    "D": MARK_LAGGING,
    "F": MARK_STALE,
}
_WINDOW_NS: Final = 300 * SECOND_NS
_EVEN_SEASON: Final = np.linspace(0.0, 1.0, 277)


class IFDv3Engine:
    """Scores pressure windows against history.

    Parameters
    ----------
    profile
        A packaged profile's name or a file; None: the one in force.
    baselines
        A baseline store's path, or anything with `arrays_for`; None: the profile's store if it
        exists, else no history, with which a record is judged but nothing alerts.
    """

    def __init__(
        self,
        profile: str | os.PathLike[str] | None = None,
        baselines: str | Path | History | None = None,
    ) -> None:
        """Load settings and calendar; arrays are estimated per session, on first use."""
        self.settings = load_settings(profile)
        self.sessions = load_sessions(self.settings.profile.calendar)
        self.history = self._find_history(baselines)
        self.on_rolling_signal: Callable[[InstitutionalSignalV3], object] | None = None
        self._profile_name = profile
        self._profile_row = profile_row(self.settings.profile)
        self._arrays: dict[dt.date, Arrays | None] = {}
        self._client: MBOStreamingClient | None = None
        self._found: list[InstitutionalSignalV3] = []

    def analyze_pressure_event(
        self, pressure_metrics: PressureMetrics
    ) -> InstitutionalSignalV3 | None:
        """Judge one window; return a signal if it is a candidate (confidence 0.5), else None.

        The signal's `alert` says whether it passed the profile. Futures, spreads and unknown
        instruments give None. Raises UsageError for a naive time or a negative volume.
        """
        start_ns = _start_ns(pressure_metrics)
        if pressure_metrics.option_type not in _OPTIONS:
            return None
        if min(pressure_metrics.bid_volume, pressure_metrics.ask_volume) < 0:
            raise UsageError(
                "`bid_volume` and `ask_volume` must be 0 or more, were "
                f"{pressure_metrics.bid_volume} and {pressure_metrics.ask_volume}."
            )
        session = self.sessions.session_at(start_ns)
        if session is None:
            return None
        arrays = self._arrays_of(session.trade_date)
        expected, share = unknown_expected(1), 1 / (len(_EVEN_SEASON) - 1)
        if arrays is not None:
            expected = self._expect(arrays, pressure_metrics, session.open_ns)
            share = _share_of(arrays.season, start_ns - session.open_ns)
        row = score_one(
            self._profile_row,
            expected,
            bid_volume=pressure_metrics.bid_volume,
            ask_volume=pressure_metrics.ask_volume,
            trades=pressure_metrics.total_trades,
            kind=_KINDS[pressure_metrics.option_type],
            share=share,
            marks=_MARK_OF_GRADE.get(pressure_metrics.quality, MARK_STALE),
        )
        if not row[0]["candidate"]:
            return None
        row["instant_ns"] = row["episode_ns"] = start_ns + _WINDOW_NS
        row["instrument_id"] = pressure_metrics.instrument_id
        frame = build_signals(
            row,
            _identity_frame(pressure_metrics),
            self.sessions,
            self.settings.profile.rules_digest,
        )
        return next(iterate_signals(frame))

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[InstitutionalSignalV3]:
        """Take the next bytes of a DBN stream; return the signals of windows they finished."""
        if self._client is None:
            self._client = MBOStreamingClient(profile=self._profile_name, history=self.history)
            self._client.on_pressure_metrics = self._analyze_fed
            self._client.on_signal = self.on_rolling_signal
        self._client.feed(chunk)
        return self._take_found()

    def flush(self) -> list[InstitutionalSignalV3]:
        """End the stream given to `feed`; return the signals of the windows that closes."""
        if self._client is not None:
            self._client.flush()
            self._client = None
        return self._take_found()

    def _analyze_fed(self, metrics: PressureMetrics) -> None:
        signal = self.analyze_pressure_event(metrics)
        if signal is not None:
            self._found.append(signal)

    def _take_found(self) -> list[InstitutionalSignalV3]:
        found, self._found = self._found, []
        return found

    def _find_history(self, baselines: str | Path | History | None) -> History | None:
        if baselines is None:
            path = Path(self.settings.profile.baselines_path)
            return StoreHistory(path, self.settings.profile) if path.is_file() else None
        if isinstance(baselines, (str, Path)):
            return StoreHistory(baselines, self.settings.profile)
        return baselines

    def _arrays_of(self, trade_date: dt.date) -> Arrays | None:
        if trade_date not in self._arrays:
            history = self.history
            self._arrays[trade_date] = None if history is None else history.arrays_for(trade_date)
        return self._arrays[trade_date]

    def _expect(
        self, arrays: Arrays, metrics: PressureMetrics, open_ns: int
    ) -> NDArray[np.void]:
        """Return what history expects of the record's instrument, EXPECTED (1,)."""
        from ifd_fast.baseline_join import join_slot

        identities = np.zeros(2, IDENTITY)
        option, future = identities[0], identities[1]
        option["kind"], option["mapped"] = _KINDS[metrics.option_type], 1
        option["strike_1e9"] = _fixed(metrics.strike)
        option["expiration_ns"] = -1 if metrics.expiration is None else _ns(metrics.expiration)
        option["underlying_slot"], option["twin_slot"] = 1, -1
        future["kind"] = KIND_FUTURE if metrics.underlying else KIND_UNKNOWN
        return join_slot(arrays, identities, 0, open_ns, symbols={1: metrics.underlying})


def _start_ns(metrics: PressureMetrics) -> int:
    if metrics.time_window.tzinfo is None:
        raise UsageError(
            f"`time_window` must carry a time zone, was {metrics.time_window}. Use UTC."
        )
    return _ns(metrics.time_window)


def _ns(when: dt.datetime) -> int:
    """Return a time as ns UTC, exactly: no float on the way."""
    since = when - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * SECOND_NS + since.microseconds * 1000


def _fixed(points: float) -> int:
    """Return a price at 1e-9, UNDEF_PRICE if it is no finite number."""
    return round(points * 1e9) if np.isfinite(points) else UNDEF_PRICE


def _share_of(season: NDArray[np.float64], since_open_ns: int) -> float:
    """Return the usual share of a session's votes in the 300 s that begin so long after its open."""
    first = min(max(since_open_ns // _WINDOW_NS, 0), len(season) - 2)
    return float(season[first + 1] - season[first])


def _identity_frame(metrics: PressureMetrics) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(
        {
            "strike": [metrics.strike],
            "instrument_id": [metrics.instrument_id],
            "symbol": [metrics.symbol],
            "underlying": [metrics.underlying],
            "expiration": [metrics.expiration],
        }
    )
