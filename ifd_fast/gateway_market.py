"""What all sessions of a gateway share: the tape, how far it has run, and what is to go wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ifd_fast.credentials import parse_api_key
from ifd_fast.errors import UsageError
from ifd_fast.gateway_faults import Fault, Faults
from ifd_fast.gateway_symbols import Symbology
from ifd_fast.gateway_tape import FOREVER_NS, Cursors, Tape

if TYPE_CHECKING:
    from ifd_fast.gateway_session import Session

__all__ = ["TEST_KEY", "Log", "Market"]

TEST_KEY: Final = "db-simulated0market0needs0no0key"
MOST_SESSIONS: Final = 10  # of one dataset and team
HEARTBEAT_MIN_S: Final = 5

Log = Callable[[str, dict[str, Any]], object]


class Market:
    """A tape that runs.

    Parameters
    ----------
    tape
        What is served.
    speed
        Event time per second of the clock; None: as fast as the fastest client takes it. The
        market begins with the first session.
    key
        Whoever has it is let in.
    ends
        Whether sessions end with the tape; else heartbeats go on.
    faults
        What is to go wrong.
    log
        Told of everything that happens: what, and about it.
    """

    def __init__(
        self,
        tape: Tape,
        *,
        speed: float | None = None,
        key: str = TEST_KEY,
        ends: bool = True,
        faults: Faults | None = None,
        log: Log | None = None,
        heartbeat_min_s: int = HEARTBEAT_MIN_S,
        most_sessions: int = MOST_SESSIONS,
    ) -> None:
        if speed is not None and not 0.0 < speed <= 1e6:
            raise UsageError(f"`speed` must be above 0 and at most 1,000,000, was {speed:g}.")
        self.tape = tape
        self.symbology = Symbology(tape.listed)
        self.key = parse_api_key(key, "the gateway's key")
        self.ends = ends
        self.faults = faults or Faults()
        self.heartbeat_min_s = heartbeat_min_s
        self.most_sessions = most_sessions
        self.session_count = 0
        self._speed = speed
        self._log = log
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._reached = tape.origin
        self._began_s: float | None = None
        self._origin_ns = tape.next_ns(tape.origin) or 0

    @property
    def is_closing(self) -> bool:
        """Whether sessions are to end."""
        return self._closing.is_set()

    def close(self) -> None:
        """Have all sessions end."""
        self._closing.set()

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than the gateway is open."""
        self._closing.wait(seconds)

    def until_ns(self) -> int:
        """Return up to when records have been captured by now; FOREVER_NS at no speed."""
        if self._speed is None:
            return FOREVER_NS
        if self._began_s is None:
            return self._origin_ns
        return self._origin_ns + int((time.monotonic() - self._began_s) * self._speed * 1e9)

    def now_ns(self, cursors: Cursors) -> int:
        """Return the market's time for a session at `cursors`: at no speed, of the next record."""
        if self._speed is not None:
            return self.until_ns()
        at = self.tape.next_ns(cursors)
        return self.tape.last_ns if at is None else at

    def join(self) -> Cursors:
        """Return where the market is, and let it run if it doesn't yet: a session begins there."""
        with self._lock:
            if self._began_s is None:
                self._began_s = time.monotonic()
            elif self._speed is not None:
                self._reached = self.tape.advance(self._reached, self.until_ns())
            return self._reached

    def reach(self, cursors: Cursors) -> None:
        """Note how far a session has come: at no speed that is where the market is."""
        if self._speed is None:
            with self._lock:
                if sum(cursors) > sum(self._reached):
                    self._reached = cursors

    def tell(self, what: str, **about: Any) -> None:
        """Log what happens."""
        if self._log is not None:
            self._log(what, about)

    def tell_fault(self, fault: Fault, session: Session) -> None:
        """Log a fault: its kind, the session, the bytes it was sent, and event time."""
        self.tell(
            "fault", kind=fault.kind, after_records=fault.after_records, session=session.number,
            bytes=session.sent_bytes, market_ns=session.market_ns,
        )  # fmt: skip
