"""The engine: owns every array, feeds bytes to the kernels, and mends what they ask for.

Bytes go in through `feed`, in any chunks; window rows and signals come out through `take_rows`
and `take_signals` as arrays of kernel records. Nothing here depends on how the stream was cut.
"""

from __future__ import annotations

from bisect import insort
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from ifd_fast import books
from ifd_fast.flows import FlowSettings, allocate_flow, grow_flow
from ifd_fast.framing import Framer, allocate_ring
from ifd_fast.handovers import take_handovers
from ifd_fast.instruments import Instruments
from ifd_fast.linking import NO_WIRE, Packing
from ifd_fast.packages import allocate_packages, show_legs
from ifd_fast.retired import Retired
from ifd_fast.scores import (
    add_slots,
    allocate_score,
    begin_session,
    grow_score,
    set_expected,
    take_signals,
    unknown_expected,
)
from ifd_kernels.engine import Engine as EngineState
from ifd_kernels.feeding import NOTHING_DUE_NS, feed_bytes
from ifd_kernels.layout import (
    CONSUMED,
    DONE,
    NEED_LEVELS,
    NEED_NAMES,
    NEED_ORDERS,
    NEED_ROWS,
    NEED_SESSION,
    NEED_SLOTS,
    NEED_VOTES,
    PUBLISHED,
    RING_FULL,
    SECOND_NS,
    Integer,
)
from ifd_kernels.passing import pass_time
from ifd_kernels.score_state import HEAD, KEPT, NEVER, OPEN, ROWS
from ifd_kernels.windows import set_next

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ifd_fast.baseline_estimates import Arrays
    from ifd_fast.calendar import Sessions
    from ifd_fast.framing import Buffer, Handed
    from ifd_fast.histories import History
    from ifd_fast.profiles import Profile
    from ifd_kernels.feeding import Wire

__all__ = ["FlowEngine", "RecordHandler"]

_NEVER_NS: Final = 2**62
_NO_BYTES: Final = np.zeros(0, np.uint8)
_FULL_SESSION_BINS: Final = 276  # of 300 s; without history, votes are expected evenly


class RecordHandler(Protocol):
    """Who handles the records that are not MBO, in stream order."""

    def __call__(self, records: list[Handed]) -> None:
        """Handle consecutive records; all events before them in the stream have been applied."""


class FlowEngine:
    """Wire to windows and signals, for one stream of one dataset.

    Parameters
    ----------
    profile
        All settings in force.
    sessions
        The exchange's trading sessions.
    on_records
        Called with records that are not MBO, after the events before them.
    history
        Gives the baselines in force on a trade date; None: there are none.
    """

    def __init__(
        self,
        profile: Profile,
        sessions: Sessions,
        *,
        on_records: RecordHandler | None = None,
        history: History | None = None,
    ) -> None:
        """Allocate everything at its starting size."""
        self.profile = profile
        self.sessions = sessions
        self.on_records = on_records
        self.history = history
        self.instruments = Instruments(profile.book_capacity_instruments)
        self.settings = FlowSettings(
            window_s=profile.window_s,
            window_step_s=profile.window_step_s,
            lateness_ns=profile.lateness_ns,
            scoring_interval_ns=profile.scoring_interval_ns,
        )
        slots = self.instruments.capacity
        edges = np.stack([sessions.open_ns, sessions.close_ns], axis=1)
        self.state = EngineState(
            ring=allocate_ring(profile.ring_capacity_events),
            book=books.allocate(
                slots, profile.book_capacity_orders, 4 * profile.book_capacity_orders
            ),
            flow=allocate_flow(self.settings, edges, slots),
            packages=allocate_packages(self.instruments.leg_table),
            score=allocate_score(profile, slots),
            identities=self.instruments.identities,
            actions=np.zeros(256, np.int64),
            entries=np.zeros(1, np.int64),
        )
        # Whoever joins names to rows takes the rows here, before a record may give ids others.
        self.before_names: Callable[[], object] | None = None
        self._packing = Packing()
        self._retired = Retired()
        self._arrays: Arrays | None = None
        self._shown_version: tuple[int, ...] = ()
        self._joined_version: tuple[int, ...] = ()
        self._scheduled: list[tuple[int, Callable[[], object]]] = []
        self._full_rows: list[NDArray[np.void]] = []
        self._in_stages = type(self)._advance is not FlowEngine._advance  # noqa: SLF001
        self._handed_over: list[NDArray[np.void]] = []
        self.state.score.cursor[KEPT] = 0

    @property
    def watermark_ns(self) -> int:
        """Event time so far, ns UTC; -1 before it begins."""
        watermark_ns: int = self.state.flow.clock["watermark_ns"].item()
        return watermark_ns

    @property
    def observed_from_ns(self) -> int:
        """Since when the stream is known to be whole, ns UTC; -1 before event time begins."""
        return int(self.state.flow.clock[0]["observed_from_ns"])

    def observe_from(self, ts_ns: int) -> None:
        """Say that the stream is whole from `ts_ns` on, earlier than its first record shows."""
        self.state.flow.clock[0]["observed_from_ns"] = ts_ns

    def feed(self, framer: Framer, chunk: Buffer) -> None:
        """Apply the next bytes of a stream that `framer` frames into this engine's ring."""
        for handed in framer.frames(chunk, None if self._in_stages else self._apply):
            if self._in_stages:
                self.apply_published()
            if handed and self.on_records is not None:
                self._rename(partial(self.on_records, handed))

    def apply_published(self) -> None:
        """Apply every event that stands in the ring; those of slot -1 are resolved first."""
        if not self._in_stages:
            self._apply(_NO_BYTES, 0, 0, NO_WIRE)
            return
        cursor = self.state.ring.cursor
        while cursor[CONSUMED] < cursor[PUBLISHED]:
            start, stop = int(cursor[CONSUMED]), self._next_stop()
            self.instruments.resolve(self.state.ring, start, stop)
            self.use_slots()
            self._advance(stop)

    def _apply(self, data: NDArray[np.uint8], start: int, stop: int, wire: Wire) -> tuple[int, int]:
        """Frame `data[start:stop]` and apply it; return what framing said, and where it stopped."""
        at, framed = start, RING_FULL
        self.use_slots()
        while True:
            feed = self._packing.pack(self.state, self.instruments, wire)
            due_ns = self._scheduled[0][0] if self._scheduled else NOTHING_DUE_NS
            status, at, framed = feed_bytes(feed, data, at, stop, due_ns, framed, -1)
            if status == DONE:
                return framed, at
            if status == NEED_SLOTS:
                if self.instruments.slots > self.state.flow.clock[0]["slots"]:
                    self.instruments.note_opened()
                else:
                    self.instruments.grow()
                self.use_slots()
            elif status == NEED_NAMES:
                self._rename(self._scheduled.pop(0)[1])
                self.use_slots()
            else:
                self._mend(status)

    def schedule(self, ts_recv_ns: int, action: Callable[[], object]) -> None:
        """Have `action` run before the first event received at `ts_recv_ns` or later."""
        insort(self._scheduled, (ts_recv_ns, action), key=itemgetter(0))

    def _advance(self, stop: int) -> None:
        """Apply the events up to sequence number `stop`, whose slots are resolved.

        Where it pauses changes no result, so a subclass may look at the state between events,
        at the price of a call for each of framing, resolving and applying.
        """
        while True:
            feed = self._packing.pack(self.state, self.instruments, NO_WIRE)
            status, _, _ = feed_bytes(feed, _NO_BYTES, 0, 0, NOTHING_DUE_NS, DONE, stop)
            if status == DONE:
                return
            self._mend(status)

    def _next_stop(self) -> int:
        """Run what is due before the next event; return up to where nothing else is due."""
        ring = self.state.ring
        start, stop = (int(at) for at in ring.cursor[[CONSUMED, PUBLISHED]])
        while self._scheduled:
            received = ring.ts_recv_ns[np.arange(start, stop) & (len(ring.action) - 1)]
            due = np.flatnonzero(received >= self._scheduled[0][0])
            if not due.size:
                break
            if due[0] > 0:
                return start + int(due[0])
            self._rename(self._scheduled.pop(0)[1])
        return stop

    def _rename(self, action: Callable[[], object]) -> None:
        """Run what may give ids other names; slots that are over may be used again by it.

        Where nobody takes the rows first, they may still lie here under a slot's number: then
        every instrument keeps its slot for good.
        """
        if self.before_names is None:
            action()
            return
        self.before_names()
        self.instruments.give_back(self._retired.take_over(self.state), self._retired.grave)
        action()
        self._retired.note(self.instruments.retirements, self.state)

    def use_slots(self) -> None:
        """Let the kernels see instruments that were opened since; arrays grow with them."""
        state, slots, named = self.state, self.instruments.capacity, self.identity_version
        if self.instruments.identities is not state.identities:
            self.state = state._replace(
                identities=self.instruments.identities,
                book=books.add_slots(state.book, slots),
                flow=grow_flow(state.flow, slots),
                score=add_slots(state.score, slots),
            )
        self.state = show_legs(self.state, self.instruments.leg_table)
        if named == self._shown_version:
            return
        self._shown_version = named
        clock = self.state.flow.clock[0]
        clock["slots"] = named[0]
        if clock["joined_session"] < 0:
            return
        joined = self._joined_version
        if joined[1:] != named[1:]:
            self._join_slots()
        elif joined[0] != named[0]:  # anonymous ones, of which nothing can be expected
            new = unknown_expected(named[0] - joined[0])
            set_expected(self.state.score, new, self.instruments.identities, joined[0])
            self._joined_version = named

    def tick(self, ts_ns: int) -> None:
        """Move event time to `ts_ns` without a record (a journaled clock tick)."""
        clock = self.state.flow.clock[0]
        if 0 <= clock["watermark_ns"] < ts_ns:
            self._pass_time(ts_ns)
            clock["watermark_ns"] = ts_ns

    def flush(self) -> None:
        """Close what is open: seal up to the ends of the open windows, score no more instants."""
        clock = self.state.flow.clock[0]
        if clock["watermark_ns"] < 0:
            return
        clock["next_instant_ns"] = _NEVER_NS
        set_next(self.state.flow)
        step_ns = int(clock["step_panes"]) * int(clock["pane_ns"])
        facts_ns = max(int(clock["facts_panes"]), 1) * int(clock["pane_ns"])
        newest_second = int(self.state.flow.buckets["second"].max())
        last_ns = max(int(clock["watermark_ns"]), newest_second * SECOND_NS)
        end_ns = max((last_ns // span + 1) * span for span in (step_ns, facts_ns))
        self._pass_time(end_ns + int(clock["lateness_ns"]))

    def release(self) -> None:
        """Let go of those who are called back: they hold this engine, and its arrays are large.

        A ring of references is freed only when the collector gets to it, and it does not know
        how much memory an array has.
        """
        self.on_records = None
        self.before_names = None
        self._scheduled.clear()

    @property
    def pending_count(self) -> int:
        """Rows and signals found and not taken yet."""
        full = sum(map(len, self._full_rows)) if self._full_rows else 0
        rows: int = self.state.flow.clock["row_count"].item()
        return full + rows + self.signals_pending

    @property
    def signals_pending(self) -> int:
        """Signals found and not taken yet."""
        count: int = self.state.score.cursor.item(ROWS)
        return count

    def take_rows(self) -> NDArray[np.void]:
        """Return the window rows emitted since the last call, in order of window end (n,)."""
        flow = self.state.flow
        count = int(flow.clock[0]["row_count"])
        rows = np.concatenate([*self._full_rows, flow.rows[:count]])
        flow.clock[0]["row_count"] = 0
        self._full_rows.clear()
        return rows

    def take_signals(self) -> NDArray[np.void]:
        """Return the signals found since the last call, in order of instant (n,)."""
        return take_signals(self.state.score)

    def take_handovers(self) -> NDArray[np.void]:
        """Return what the scorer was given since the last call, VOTE (n,), in its order."""
        handed = np.concatenate([*self._handed_over, take_handovers(self.state.score)])
        self._handed_over.clear()
        return handed

    def leave_handovers(self) -> None:
        """Have nobody take what the scorer is given: the log keeps what it needs alone."""
        self.state.score.cursor[KEPT] = NEVER

    @property
    def identity_version(self) -> tuple[int, ...]:
        """Slots in use, then counts that change when an instrument is named or retired."""
        counters = self.instruments.counters
        named = counters["definitions"] - counters["definitions_repeated"]
        return (self.instruments.slots, named, counters["mappings"], counters["retired"])

    def _join_session(self) -> None:
        """Put the baselines of the session now in force into the scorer."""
        clock = self.state.flow.clock[0]
        session = int(clock["session"])
        self._arrays = None
        open_ns, season = _NEVER_NS, np.linspace(0.0, 1.0, _FULL_SESSION_BINS + 1)
        if session < len(self.sessions):
            open_ns = int(self.sessions.open_ns[session])
            if self.history is not None:
                self._arrays = self.history.arrays_for(self.sessions[session].trade_date)
        if self._arrays is not None:
            season = self._arrays.season
        ranking = None if self._arrays is None else self._arrays.ranking
        score = begin_session(self.state.score, open_ns, season, self.observed_from_ns, ranking)
        self.state = self.state._replace(score=score)
        clock["joined_session"] = session
        self._join_slots()

    def _join_slots(self) -> None:
        """Look up what is expected of each slot; new and newly named ones included."""
        score, slots = self.state.score, self.instruments.slots
        self._joined_version = self.identity_version
        if self._arrays is None:
            expected = unknown_expected(slots)
        else:
            from ifd_fast.baseline_join import join_slots

            expected = join_slots(
                self._arrays,
                self.instruments.identities,
                slots,
                int(score.cursor[OPEN]),
                symbols=self.instruments.futures_symbols(),
            )
        set_expected(score, expected, self.instruments.identities)

    def _pass_time(self, target_ns: int) -> None:
        while True:
            _, book, flow, packages, score, names, *_ = self.state  # others after a growth
            status = pass_time(flow, packages, score, names, book.touch, target_ns)
            if status == DONE:
                return
            self._mend(status)

    def _mend(self, status: Integer) -> None:
        """Grow or drain what stopped a kernel; raise IfdError for a status that can't be."""
        state = self.state
        if status in {NEED_ORDERS, NEED_LEVELS}:
            self.state = state._replace(book=books.grow(state.book, status))
        elif status == NEED_SESSION:
            self._join_session()
        elif status == NEED_ROWS:
            self._full_rows = [self.take_rows()]
        elif status == NEED_VOTES and state.score.cursor[KEPT] < state.score.cursor[HEAD]:
            self._handed_over.append(take_handovers(state.score))
        else:
            self.state = state._replace(score=grow_score(state.score, int(status)))
