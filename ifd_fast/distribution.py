"""Where signals go: dashboards, alert handlers, and the limits in between."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from ifd_fast.callbacks import ErrorHandler, GuardedCallback
from ifd_fast.profiles import Profile

if TYPE_CHECKING:
    import datetime as dt

    from ifd_fast.signals import InstitutionalSignalV3

__all__ = ["AlertHandler", "DashboardClient", "LiveStreamingConfig", "SignalDistributor"]

_HOUR_S: Final = 3600.0


class DashboardClient(Protocol):
    """A page, a socket, a terminal: gets every signal that is passed on."""

    def send_signal(self, signal: InstitutionalSignalV3) -> object:
        """Show one signal."""


class AlertHandler(Protocol):
    """A pager, a chat, a mailbox: gets confident signals only."""

    def send_alert(self, signal: InstitutionalSignalV3) -> object:
        """Alert on one signal."""


class LiveStreamingConfig:
    """What is passed on.

    LiveStreamingConfig()                                     the production profile's limits
    LiveStreamingConfig(load_settings("ifd_v3_testing").profile)    another profile's
    """

    def __init__(self, profile: Profile | None = None) -> None:
        """Take the distribution limits of `profile`."""
        chosen = profile or Profile()
        self.min_confidence_threshold = chosen.min_confidence_threshold
        self.alert_confidence_threshold = chosen.alert_confidence_threshold
        self.max_signals_per_hour = chosen.max_signals_per_hour

    def should_process_signal(self, signal: InstitutionalSignalV3) -> bool:
        """Return whether the signal is confident enough to be passed on."""
        return signal.final_confidence >= self.min_confidence_threshold


class SignalDistributor:
    """Passes signals on to dashboards and alert handlers, each guarded from the others.

    Attributes
    ----------
    dashboard_clients, alert_handlers
        May be appended to at any time.
    withheld
        Counted: signals below the threshold, and beyond the hour's limit.
    failures
        How often receivers raised.
    """

    def __init__(
        self,
        config: LiveStreamingConfig | None = None,
        on_error: ErrorHandler | None = None,
    ) -> None:
        """Distribute by `config`; a receiver's exceptions go to `on_error`, else to the log."""
        self.config = config or LiveStreamingConfig()
        self.on_error = on_error
        self.dashboard_clients: list[DashboardClient] = []
        self.alert_handlers: list[AlertHandler] = []
        self.failures = 0
        self.withheld = {"below_threshold": 0, "beyond_hourly_limit": 0}
        self._sent: deque[dt.datetime] = deque()
        self._guards: dict[tuple[int, str], GuardedCallback[InstitutionalSignalV3]] = {}

    def distribute_signal(self, signal: InstitutionalSignalV3) -> bool:
        """Pass one signal on; return whether it was."""
        if not self.config.should_process_signal(signal):
            self.withheld["below_threshold"] += 1
            return False
        if not self._fits_hour(signal.timestamp):
            self.withheld["beyond_hourly_limit"] += 1
            return False
        for client in tuple(self.dashboard_clients):  # a receiver may take itself out
            self._send(client, "send_signal", signal)
        if signal.final_confidence > self.config.alert_confidence_threshold:
            for handler in tuple(self.alert_handlers):
                self._send(handler, "send_alert", signal)
        return True

    def _fits_hour(self, when: dt.datetime) -> bool:
        """Count the signal in if fewer than the limit were passed on in the hour before it."""
        while self._sent and (when - self._sent[0]).total_seconds() >= _HOUR_S:
            self._sent.popleft()
        if len(self._sent) >= self.config.max_signals_per_hour:
            return False
        self._sent.append(when)
        return True

    def _send(self, receiver: object, name: str, signal: InstitutionalSignalV3) -> None:
        guard = self._guard(receiver, name)
        if not guard(signal):
            self.failures += 1

    def _guard(self, receiver: object, name: str) -> GuardedCallback[InstitutionalSignalV3]:
        method = getattr(receiver, name)
        guard = self._guards.get((id(receiver), name))
        if guard is None or guard.function != method:
            # The guard holds its receiver, so that no other can get the same id.
            guard = GuardedCallback(method, lambda: self.on_error)
            self._guards[id(receiver), name] = guard
        return guard
