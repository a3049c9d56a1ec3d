"""`MBOStreamingClient`: wire to windows, with a callback for each window.

Bytes of a DBN stream, header first, go in through `feed`, in any chunks. Each finished window of
each instrument comes out as `PressureMetrics` through `on_pressure_metrics`, in order of
(window end, instrument); all that end together are delivered, none is dropped. How the bytes were
cut changes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ifd_fast.calendar import load_sessions
from ifd_fast.callbacks import GuardedCallback
from ifd_fast.config import load_settings
from ifd_fast.credentials import Secret, parse_api_key
from ifd_fast.desks import RecordDesk
from ifd_fast.draining import Drain
from ifd_fast.engine import FlowEngine
from ifd_fast.errors import CredentialError, UsageError
from ifd_fast.framing import Framer
from ifd_fast.header import Header, HeaderReader
from ifd_fast.metrics import iterate_metrics
from ifd_fast.metrics_cache import MetricsCache
from ifd_fast.observing import observe
from ifd_fast.signals import iterate_signals
from ifd_fast.sources import decode_metadata
from ifd_fast.universe import load_universe

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    import polars as pl

    from ifd_fast.histories import History
    from ifd_fast.live_running import LiveRunner
    from ifd_fast.live_settings import Clock
    from ifd_fast.metrics import PressureMetrics
    from ifd_fast.session_record import SessionRecord
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
        Called with (exception, argument) when one of the above raises; None: it is logged.
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
        self.on_error: Callable[[Exception, Any], object] | None = None
        self._guards: dict[str, GuardedCallback[Any]] = {}
        self._failures: Counter[str] = Counter()
        self._drain = Drain(self.engine, self._deliver, {"windows", "signals"})
        self._header = HeaderReader("stream")
        self._framer: Framer | None = None
        self._finished = False
        self._busy = False
        self._runner: LiveRunner | None = None

    @property
    def on_pressure_metrics(self) -> Callable[[PressureMetrics], object] | None:
        """Who gets each finished window."""
        return self._function("on_pressure_metrics")

    @on_pressure_metrics.setter
    def on_pressure_metrics(self, function: Callable[[PressureMetrics], object] | None) -> None:
        self._guard("on_pressure_metrics", function)

    @property
    def on_signal(self) -> Callable[[InstitutionalSignalV3], object] | None:
        """Who gets each rolling signal."""
        return self._function("on_signal")

    @on_signal.setter
    def on_signal(self, function: Callable[[InstitutionalSignalV3], object] | None) -> None:
        self._guard("on_signal", function)

    @property
    def callback_failures(self) -> dict[str, int]:
        """How often each callback raised, by its name."""
        return dict(self._failures)

    @property
    def stopped_callbacks(self) -> tuple[str, ...]:
        """Callbacks that raised three times in a row and are called no more, until set again."""
        return tuple(name for name, guard in self._guards.items() if guard.stopped)

    def feed(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the stream; callbacks are called before this returns.

        Raises
        ------
        FormatError
            The stream is not DBN 1 to 3, or a record can't be walked. What came before it has
            been delivered.
        UsageError
            The stream was flushed already, or this is called from one of its callbacks.
        """
        with self._alone():
            rest: bytes | bytearray | memoryview = chunk
            if self._framer is None:
                header, taken = self._header.feed(chunk)
                if header is None:
                    return
                rest = memoryview(chunk)[taken:]
                self._framer = self._begin(header)
            try:
                self.engine.feed(self._framer, rest)
            finally:
                self._drain.drain()

    def flush(self) -> None:
        """Close what is open; the windows cut short are delivered with grade F.

        Raises
        ------
        TruncatedError
            The stream ended inside its header or a record; what it held has been delivered.
        """
        if self._finished:
            return
        with self._alone():
            self._finished = True
            try:
                if self._framer is None:
                    self._header.finish()
                else:
                    self._framer.finish()
            finally:
                observed_to_ns = self.engine.watermark_ns
                self.engine.flush()
                self._drain.drain(observed_to_ns)
                self.engine.release()

    def connect(self, record: SessionRecord | None = None, clock: Clock | None = None) -> None:
        """Connect to the live gateway; what it sends goes into `record`, None: into memory.

        Raises
        ------
        CredentialError
            There is no key, or the gateway doesn't let it in.
        RequestError
            Nobody answers there.
        """
        from ifd_fast.live_running import LiveRunner
        from ifd_fast.live_session import LiveSession
        from ifd_fast.live_settings import LiveSettings
        from ifd_fast.session_record import MemoryRecord

        if self.api_key is None:
            raise CredentialError("A live connection needs `api_key`; none was given.")
        if self._runner is not None or self._framer is not None or self._finished:
            raise UsageError("This client has a stream already; make a new MBOStreamingClient.")
        settings = LiveSettings.of_profile(self.settings.profile, symbols=self.symbols)
        session = LiveSession(
            self.engine, self._drain, record or MemoryRecord(), settings, self.api_key, clock
        )
        self._finished = True  # for `feed`: bytes come from the gateway
        self._runner = LiveRunner(session)
        self._runner.connect()

    def start(self) -> None:
        """Run the session in a thread, which calls the callbacks; connects first if need be."""
        if self._runner is None:
            self.connect()
        self._live().start()

    def stop(self) -> None:
        """End the live session; windows cut short come last, with grade F."""
        self._live().stop()

    def block_for_close(self, timeout_s: float | None = None) -> None:
        """Wait until the live session is over; after `timeout_s` it is ended. Raises what did."""
        self._live().wait(timeout_s)

    @property
    def state(self) -> str:
        """What the live session is doing; empty without one."""
        return "" if self._runner is None else str(self._runner.session.state)

    @property
    def alerts_withheld(self) -> int:
        """Alerts of a live session that came out as candidates: it was late, or catching up."""
        return 0 if self._runner is None else self._runner.session.counts["alerts_withheld"]

    def _live(self) -> LiveRunner:
        if self._runner is None:
            raise UsageError("This client isn't connected: call `connect` first.")
        return self._runner

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Refuse what can't work: bytes after the end, or from inside a callback."""
        if self._finished:
            raise UsageError("This stream was flushed; make a new MBOStreamingClient.")
        if self._busy:
            raise UsageError("`feed` and `flush` must not be called from a callback.")
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _begin(self, header: Header) -> Framer:
        """Take what the header says, and return the framer of the records behind it."""
        desk = RecordDesk(header.version)
        self.engine.on_records = lambda records: desk.take(self.engine, records)
        observe(self.engine, decode_metadata(header, "stream"))
        return Framer(
            self.engine.state.ring,
            header.version,
            ts_out=header.ts_out,
            offset=len(header.data),
        )

    def _deliver(self, name: str, frame: pl.DataFrame) -> None:
        if name == "windows":
            for metrics in iterate_metrics(frame):
                self.recent.add(metrics)
                self._call("on_pressure_metrics", metrics)
        elif name == "signals":
            if self._runner is not None:
                frame = self._runner.session.withhold(frame)
            for signal in iterate_signals(frame):
                self._call("on_signal", signal)

    def _call(self, name: str, argument: object) -> None:
        guard = self._guards.get(name)
        if guard is not None and not guard(argument):
            self._failures[name] += 1

    def _function(self, name: str) -> Callable[[Any], object] | None:
        guard = self._guards.get(name)
        return None if guard is None else guard.function

    def _guard(self, name: str, function: Callable[[Any], object] | None) -> None:
        self._guards.pop(name, None)
        if function is not None:
            self._guards[name] = GuardedCallback(function, lambda: self.on_error)


def _guard_key(api_key: str | Secret | None) -> Secret | None:
    if api_key is None or isinstance(api_key, Secret):
        return api_key
    return parse_api_key(api_key, "api_key")
