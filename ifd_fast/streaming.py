"""`MBOStreamingClient`: wire to windows, with a callback for each window.

Bytes of a DBN stream, header first, go in through `feed`, in any chunks. Each finished window of
each instrument comes out as `PressureMetrics` through `on_pressure_metrics`, in order of
(window end, instrument); all that end together are delivered, none is dropped.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from ifd_fast.calendar import load_sessions
from ifd_fast.callbacks import GuardedCallback
from ifd_fast.collecting import Collector
from ifd_fast.config import load_settings
from ifd_fast.credentials import Secret, parse_api_key
from ifd_fast.desks import RecordDesk
from ifd_fast.engine import FlowEngine
from ifd_fast.errors import UsageError
from ifd_fast.framing import Framer
from ifd_fast.header import HeaderReader
from ifd_fast.metrics import iterate_metrics
from ifd_fast.metrics_cache import MetricsCache
from ifd_fast.signals import iterate_signals
from ifd_fast.universe import load_universe

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import polars as pl

    from ifd_fast.histories import History
    from ifd_fast.metrics import PressureMetrics
    from ifd_fast.signals import InstitutionalSignalV3

__all__ = ["MBOStreamingClient"]


class MBOStreamingClient:
    """Owns one stream from its bytes to its windows.

    Parameters
    ----------
    api_key
        Databento's key; needed for a live connection only. It is never shown.
    symbols
        Parents to subscribe to; None: those of the profile's universe.
    profile
        A packaged profile's name or a file; None: the one in force.
    history
        Baselines by trade date; with them, rolling signals come out too.

    Attributes
    ----------
    on_pressure_metrics
        Called with each finished window; may be set at any time.
    on_signal
        Called with each rolling signal: candidates and alerts, as their episodes begin.
    on_error
        Called with (exception, argument) when one of the above raises.
    recent
        Metrics of the last five minutes of event time.
    """

    def __init__(
        self,
        api_key: str | Secret | None = None,
        symbols: Sequence[str] | None = None,
        *,
        profile: str | os.PathLike[str] | None = None,
        history: History | None = None,
    ) -> None:
        """Make a client that is connected to nothing yet."""
        self.settings = load_settings(profile)
        settings = self.settings.profile
        self.api_key = _guard_key(api_key)
        self.symbols = tuple(symbols or load_universe(settings.universe).parents)
        self.engine = FlowEngine(settings, load_sessions(settings.calendar), history=history)
        self.recent = MetricsCache(dt.timedelta(seconds=settings.metrics_cache_s))
        self.on_error: Callable[[Exception, object], object] | None = None
        self._on_metrics: GuardedCallback[PressureMetrics] | None = None
        self._on_signal: GuardedCallback[InstitutionalSignalV3] | None = None
        self._collector = Collector(self.engine, None, self._deliver)
        self._header = HeaderReader("stream")
        self._framer: Framer | None = None
        self._finished = False

    @property
    def on_pressure_metrics(self) -> Callable[[PressureMetrics], object] | None:
        """Who gets each finished window."""
        return None if self._on_metrics is None else self._on_metrics.function

    @on_pressure_metrics.setter
    def on_pressure_metrics(self, function: Callable[[PressureMetrics], object] | None) -> None:
        self._on_metrics = self._guard(function)

    @property
    def on_signal(self) -> Callable[[InstitutionalSignalV3], object] | None:
        """Who gets each rolling signal."""
        return None if self._on_signal is None else self._on_signal.function

    @on_signal.setter
    def on_signal(self, function: Callable[[InstitutionalSignalV3], object] | None) -> None:
        self._on_signal = self._guard(function)

    def feed(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the stream; callbacks are called before this returns.

        Raises
        ------
        FormatError
            The stream is not DBN 1 to 3, or a record can't be walked.
        UsageError
            The stream was flushed already.
        """
        if self._finished:
            raise UsageError("This stream was flushed; make a new MBOStreamingClient.")
        rest: bytes | bytearray | memoryview = chunk
        if self._framer is None:
            header, taken = self._header.feed(chunk)
            if header is None:
                return
            rest = memoryview(chunk)[taken:]
            self._begin(header.version, ts_out=header.ts_out, offset=len(header.data))
        if self._framer is not None:
            self.engine.feed(self._framer, rest)
            self._collector.drain()

    def flush(self) -> None:
        """Close what is open; the windows cut short are delivered with grade F.

        Raises
        ------
        TruncatedError
            The stream ended inside a record.
        """
        if self._finished:
            return
        self._finished = True
        if self._framer is None:
            self._header.finish()
        else:
            self._framer.finish()
        self.engine.flush()
        self._collector.drain(self.engine.watermark_ns)

    def _begin(self, version: int, *, ts_out: bool, offset: int) -> None:
        desk = RecordDesk(version)
        self.engine.on_records = lambda records: desk.take(self.engine, records)
        self._framer = Framer(self.engine.state.ring, version, ts_out=ts_out, offset=offset)

    def _deliver(self, name: str, frame: pl.DataFrame) -> None:
        if name == "windows":
            for metrics in iterate_metrics(frame):
                self.recent.add(metrics)
                if self._on_metrics is not None:
                    self._on_metrics(metrics)
        elif name == "signals" and self._on_signal is not None:
            for signal in iterate_signals(frame):
                self._on_signal(signal)

    def _guard(self, function: Callable[..., object] | None) -> GuardedCallback[object] | None:
        if function is None:
            return None
        return GuardedCallback(function, self._report)

    def _report(self, error: Exception, argument: object) -> None:
        if self.on_error is None:
            raise error
        self.on_error(error, argument)


def _guard_key(api_key: str | Secret | None) -> Secret | None:
    if api_key is None or isinstance(api_key, Secret):
        return api_key
    return parse_api_key(api_key, "api_key")
