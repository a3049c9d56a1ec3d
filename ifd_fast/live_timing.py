"""How long records and signals took in a live session, and how late the newest record is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ifd_fast.latencies import Latency
from ifd_kernels.layout import F_BAD_TS_RECV, F_SNAPSHOT, PUBLISHED

if TYPE_CHECKING:
    from ifd_fast.engine import FlowEngine

__all__ = ["Timing"]

_NAMES: Final = ("receive_to_state", "arrival_to_state", "instant_to_handed_over", "sender_lag")


class Timing:
    """Times the records that one engine takes; all clocks are read by the caller.

    Attributes
    ----------
    latencies
        By name. `receive_to_state`: from the return of `receive` until all it brought is applied,
        counted for each record. `arrival_to_state`: from the look at the socket before that one;
        a record that came while the session was busy waited no longer than this, so that nothing
        is left out because nobody looked. `instant_to_handed_over`: from that return until the
        signals of the instants it crossed were handed over. `sender_lag`: from the newest
        record's ts_recv, by the sender's clock, to its return here, by this one.
    lag_ns
        The last `sender_lag`.
    """

    def __init__(self, engine: FlowEngine, *, market_clock: bool) -> None:
        """Begin with nothing timed; `market_clock`: lag is told against what came earliest."""
        self.latencies = {name: Latency() for name in _NAMES}
        self.lag_ns = 0
        self._engine = engine
        self._market_clock = market_clock
        self._measured = 0  # events, up to which all is timed
        self._wall_less_monotonic_ns = 0

    def set_wall(self, wall_ns: int, monotonic_ns: int) -> None:
        """Say what this machine's clock says; a market's own clock stands in for it."""
        if not self._market_clock:
            self._wall_less_monotonic_ns = wall_ns - monotonic_ns

    def wall_ns(self, monotonic_ns: int) -> int:
        """Return the time, ns UTC, at a moment of the monotonic clock."""
        return monotonic_ns + self._wall_less_monotonic_ns

    def take(self, heard_ns: int, looked_ns: int, now_ns: int) -> bool:
        """Time what a read brought; say whether it held records, and so `lag_ns` is new.

        `heard_ns`: when it returned; `looked_ns`: when the socket was looked at before, 0: never;
        `now_ns`: when all was applied; monotonic ns.
        """
        ring = self._engine.state.ring
        published: int = ring.cursor.item(PUBLISHED)
        records = published - self._measured
        if not records:  # a heartbeat says nothing of the records before it
            return False
        self._measured = published
        self.latencies["receive_to_state"].add(now_ns - heard_ns, records)
        self.latencies["arrival_to_state"].add(now_ns - (looked_ns or heard_ns), records)
        newest = (published - 1) & (len(ring.ts_recv_ns) - 1)
        received_ns: int = ring.ts_recv_ns.item(newest)
        # Neither says when it was sent; a snapshot was made up to a minute before that.
        untimed = ring.flags.item(newest) & (F_SNAPSHOT | F_BAD_TS_RECV)
        if received_ns <= 0 or untimed:
            return False
        if self._market_clock:  # what comes early sets it: the rest is late against that
            ahead_ns = received_ns - heard_ns
            self._wall_less_monotonic_ns = max(self._wall_less_monotonic_ns, ahead_ns)
        self.lag_ns = self.wall_ns(heard_ns) - received_ns
        self.latencies["sender_lag"].add(self.lag_ns)
        return True

    def leave_out(self) -> None:
        """Time nothing of what was applied so far: a record was played."""
        self._measured = self._engine.state.ring.cursor.item(PUBLISHED)

    def handed_over(self, waited_ns: int, signals: int) -> None:
        """Note that signals were handed over so long after the read that made them."""
        self.latencies["instant_to_handed_over"].add(waited_ns, signals)

    def describe(self) -> dict[str, Any]:
        """Return count, percentiles and the longest of each, us."""
        return {name: one.describe() for name, one in self.latencies.items()}
