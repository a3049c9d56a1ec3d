"""`IFDv3Engine`: windows to signals, one record at a time or a whole stream.

`analyze_pressure_event` judges one window by itself, by the very kernel that scores all strikes,
with a family of one. `feed` takes a stream's bytes: every window goes through
`analyze_pressure_event`, just as on the callback path, so both give the same signals; the rolling
signals, scored at every instant, come out of `on_rolling_signal` beside them.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ifd_fast.calendar import load_sessions
from ifd_fast.callbacks import ErrorHandler, report_error
from ifd_fast.config import load_settings
from ifd_fast.histories import StoreHistory
from ifd_fast.metrics import WINDOW_NS, CheckedWindow, check_metrics
from ifd_fast.scores import profile_row, score_one, unknown_expected
from ifd_fast.signals import build_signals, iterate_signals
from ifd_fast.streaming import MBOStreamingClient
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
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import polars as pl
    from numpy.typing import NDArray

    from ifd_fast.baseline_estimates import Arrays
    from ifd_fast.calendar import Session
    from ifd_fast.histories import History
    from ifd_fast.metrics import PressureMetrics
    from ifd_fast.signals import InstitutionalSignalV3

__all__ = ["IFDv3Engine"]

_KINDS: Final = {"C": KIND_CALL, "P": KIND_PUT}
# A grade says less than the marks behind it; these stand for the grade.
_MARK_OF_GRADE: Final = {
    "A": 0,
    "B": MARK_REBUILT,
    "C": MARK_HALTED,
    "D": MARK_LAGGING,
    "F": MARK_STALE,
}
_BINS: Final = 276  # of 300 s in a session; without history, votes are expected evenly
_SESSIONS_KEPT: Final = 8
_INSTRUMENTS_KEPT: Final = 65_536  # about 15 MB


class IFDv3Engine:
    """Scores pressure windows against history.

    Parameters
    ----------
    profile
        A packaged profile's name or a file; None: the one in force.
    baselines
        A baseline store's path, or anything with `arrays_for`; None: the profile's store if it
        exists, else no history, with which a record is judged but nothing alerts.

    Attributes
    ----------
    on_rolling_signal
        Called with each signal of the rolling windows that `feed` finds; may be set at any time.
    on_error
        Called with (exception, argument) when scoring a fed window or a callback fails; None: it
        is logged.
    failures
        How many fed windows could not be scored; the windows themselves go on.
    degraded
        Whether that happened to the newest one.
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
        self.on_error: ErrorHandler | None = None
        self.failures = 0
        self.degraded = False
        self._profile_name = profile
        self._profile_row = profile_row(self.settings.profile)
        self._rules_digest = self.settings.profile.rules_digest
        self._arrays: dict[dt.date, Arrays | None] = {}
        self._expected: dict[tuple[object, ...], NDArray[np.void]] = {}
        self._client: MBOStreamingClient | None = None
        self._found: list[InstitutionalSignalV3] = []

    def analyze_pressure_event(
        self, pressure_metrics: PressureMetrics
    ) -> InstitutionalSignalV3 | None:
        """Judge one window; return a signal if it is a candidate (confidence 0.5), else None.

        The signal's `alert` says whether it passed the profile. Futures, spreads, unknown
        instruments and windows outside all sessions give None.

        Raises
        ------
        UsageError
            A time has no zone or order, an option type is unknown, or a count is no whole number
            from 0 to 2**53.
        """
        window = check_metrics(pressure_metrics)
        if window.option_type not in _KINDS:
            return None
        session = self.sessions.session_at(window.start_ns)
        if session is None:
            return None
        arrays = self._arrays_of(session.trade_date)
        expected, season, ranking = unknown_expected(1), None, None
        if arrays is not None:
            expected, season = self._expect(arrays, window, session), arrays.season
            ranking = arrays.ranking
        row = score_one(
            self._profile_row,
            expected,
            bid_volume=window.bid_volume,
            ask_volume=window.ask_volume,
            trades=window.total_trades,
            kind=_KINDS[window.option_type],
            share=_share_of(season, window.start_ns - session.open_ns, window.length_ns),
            marks=_MARK_OF_GRADE.get(window.quality, MARK_STALE),
            ranking=ranking,
        )
        if not row[0]["candidate"]:
            return None
        row["instant_ns"] = row["episode_ns"] = window.end_ns
        row["instrument_id"] = window.instrument_id
        row["window_s"] = window.length_ns // 1_000_000_000
        frame = build_signals(row, _identity_frame(window), self.sessions, self._rules_digest)
        return next(iterate_signals(frame))

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[InstitutionalSignalV3]:
        """Take the next bytes of a DBN stream; return the signals of windows they finished."""
        if self._client is None:
            self._client = MBOStreamingClient(profile=self._profile_name, history=self.history)
            self._client.on_pressure_metrics = self._analyze_fed
            self._client.on_signal = self._pass_rolling
        self._client.on_error = self.on_error
        self._client.feed(chunk)
        return self._take_found()

    def flush(self) -> list[InstitutionalSignalV3]:
        """End the stream given to `feed`; return the signals of the windows that closes.

        The next `feed` begins another stream. Raises TruncatedError if this one ended inside a
        record; the signals found then come with the next call.
        """
        client, self._client = self._client, None
        if client is not None:
            client.flush()
        return self._take_found()

    def _analyze_fed(self, metrics: PressureMetrics) -> None:
        try:
            signal = self.analyze_pressure_event(metrics)
        except Exception as error:  # noqa: BLE001  # windows go on, whatever happens to scores
            self.failures += 1
            self.degraded = True
            report_error(error, metrics, "IFDv3Engine.analyze_pressure_event", self.on_error)
            return
        self.degraded = False
        if signal is not None:
            self._found.append(signal)

    def _pass_rolling(self, signal: InstitutionalSignalV3) -> None:
        if self.on_rolling_signal is not None:
            self.on_rolling_signal(signal)

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
            found = None if history is None else history.arrays_for(trade_date)
            if len(self._arrays) == _SESSIONS_KEPT:
                del self._arrays[next(iter(self._arrays))]
            self._arrays[trade_date] = found
        return self._arrays[trade_date]

    def _expect(self, arrays: Arrays, window: CheckedWindow, session: Session) -> NDArray[np.void]:
        """Return what history expects of the record's instrument, EXPECTED (1,); kept, 80 µs."""
        identity = (window.option_type, window.strike_1e9, window.expiration_ns, window.underlying)
        key = (session.trade_date, *identity)
        if key not in self._expected:
            if len(self._expected) >= _INSTRUMENTS_KEPT:
                self._expected.clear()
            self._expected[key] = _join(arrays, window, session.open_ns)
        return self._expected[key]


def _join(arrays: Arrays, window: CheckedWindow, open_ns: int) -> NDArray[np.void]:
    """Look up the record's instrument in the estimates."""
    from ifd_fast.baseline_join import join_slot

    identities = np.zeros(2, IDENTITY)
    option, future = identities[0], identities[1]
    option["kind"], option["mapped"] = _KINDS[window.option_type], 1
    option["strike_1e9"] = window.strike_1e9
    option["expiration_ns"] = window.expiration_ns
    option["underlying_slot"], option["twin_slot"] = 1, -1
    future["kind"] = KIND_FUTURE if window.underlying else KIND_UNKNOWN
    return join_slot(arrays, identities, 0, open_ns, symbols={1: window.underlying})


def _share_of(season: NDArray[np.float64] | None, since_open_ns: int, length_ns: int) -> float:
    """Return the usual share of a session's votes in a window that begins so long after its open.

    `season` (b + 1,): the share before each bin of 300 s; None: all bins alike.
    """
    edges = np.array([since_open_ns, since_open_ns + length_ns]) / WINDOW_NS
    if season is None:
        return float(edges[1] - edges[0]) / _BINS
    before, after = np.interp(edges, np.arange(len(season)), season)
    return float(after - before)


def _identity_frame(window: CheckedWindow) -> pl.DataFrame:
    import polars as pl

    columns: dict[str, Any] = {
        "strike": [window.strike],
        "instrument_id": [window.instrument_id],
        "symbol": [window.symbol],
        "underlying": [window.underlying],
        "expiration": [window.expiration],
    }
    return pl.DataFrame(columns)
