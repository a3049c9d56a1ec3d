"""A live session: one loop that receives, records, feeds, and comes back after every loss.

`poll` does one step and never waits longer than it is told. What it decides by a clock goes into
the journal before it acts, so that the record replayed gives the very same rows.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import zstandard

from ifd_fast.credentials import clean_answer
from ifd_fast.errors import CredentialError, DataError, IfdError, RequestError
from ifd_fast.halts import HaltWatch
from ifd_fast.live_backoff import Backoff
from ifd_fast.live_feed import LiveFeed
from ifd_fast.live_messages import ErrorCode, SystemCode
from ifd_fast.live_protocol import (
    LiveConnection,
    Subscription,
    open_connection,
)
from ifd_fast.live_settings import SystemClock
from ifd_fast.live_states import Event, State, StateMachine
from ifd_fast.live_timing import Timing
from ifd_fast.session_record import EntryKind
from ifd_kernels.layout import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ifd_fast.credentials import Secret
    from ifd_fast.engine import FlowEngine
    from ifd_fast.live_messages import Message
    from ifd_fast.live_settings import Clock, LiveSettings
    from ifd_fast.session_record import Json, SessionRecord
    from ifd_fast.taking import Taker

__all__ = ["LiveSession"]

_TICK_DELAY_NS: Final = 2 * SECOND_NS
_STALE_NS: Final = 2 * SECOND_NS  # past a heartbeat's time
_DEAD_NS: Final = 10 * SECOND_NS
_BESIDE: Final = ("definition", "statistics", "status")  # subscribed to beside mbo
_REPLAYED: Final = {"definition": 0, "statistics": 0, "status": None}  # from when, at first


class LiveSession:
    """Runs one session over as many connections as it takes.

    Parameters
    ----------
    engine, drain
        Where bytes go, and what takes the rows; it is drained here.
    record
        Takes bytes and journal.
    settings, key
        Where to connect, and who is asking.
    clock
        The only clock there is.
    """

    def __init__(
        self,
        engine: FlowEngine,
        drain: Taker,
        record: SessionRecord,
        settings: LiveSettings,
        key: Secret,
        clock: Clock | None = None,
    ) -> None:
        """Begin unconnected: the first `poll` connects."""
        self.engine = engine
        self.drain = drain
        self.record = record
        self.settings = settings
        self.clock = clock or SystemClock()
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []  # what went wrong, the latest 100
        self.timing = Timing(engine, market_clock=settings.market_clock)
        self.is_stopped: Callable[[], bool] = lambda: False  # looked at while it must wait
        self._halts = HaltWatch(engine.instruments)
        self._key = key
        self._feed = LiveFeed(engine, drain, record.recorded, self._take_message)
        self._states = StateMachine(self.clock.monotonic_ns())
        self._backoff = Backoff(settings.seed)
        self._connection: LiveConnection | None = None
        self._heard_ns = 0
        self._looked_ns = 0  # when the socket was looked at before: what it brings came since
        self._beat_ns = -1  # the gateway's time of a heartbeat among the bytes at hand
        self._replays_left = 0
        self._may_replay = True
        self._limited = False  # too many sessions are open
        self._must_end = False
        self._refusal: IfdError | None = None

    @property
    def state(self) -> State:
        """What the session is doing."""
        return self._states.state

    @property
    def may_alert(self) -> bool:
        """What is found now is of now: somebody may be woken for it."""
        return self._states.may_alert

    @property
    def feed(self) -> LiveFeed:
        """Where connections go; a record that is played before the first goes there too."""
        return self._feed

    @property
    def duplicates(self) -> Counter[str]:
        """Records dropped because connections before delivered them, by kind."""
        return self._feed.counts

    def withhold(self, signals: pl.DataFrame) -> pl.DataFrame:
        """Return signals as somebody may be told of them now; alerts that are withheld count."""
        if self.may_alert:
            return signals
        self.counts["alerts_withheld"] += int(signals["alert"].sum())
        return signals.with_columns(alert=pl.lit(value=False))

    def account(self) -> dict[str, Any]:
        """Return what happened to every record so far, as a run counts it."""
        return self._feed.account()

    def apply(self, event: Event) -> None:
        """Tell the session's state of something; a change goes into the journal."""
        before = self._states.state
        after = self._states.apply(event, self.clock.monotonic_ns())
        if after is not before:
            self.record.note(EntryKind.STATE, {"name": str(after)})

    def poll(self, timeout_s: float = 0.0) -> bool:
        """Do one step; return whether bytes were received. Waits `timeout_s` if there are none.

        Raises
        ------
        CredentialError, RequestError
            The gateway refuses the key or the subscription for good; the session is down.
        """
        now_ns = self.clock.monotonic_ns()
        if self.state is State.DOWN:
            return False
        if self._connection is None:
            if now_ns >= self._backoff.due_ns:
                self._connect()
            elif timeout_s:
                time.sleep(min(timeout_s, (self._backoff.due_ns - now_ns) / SECOND_NS))
            return False
        space = self.record.space()
        if not len(space):
            self.apply(Event.NO_SPACE)
            time.sleep(min(timeout_s, 0.001))
            return False
        if self._states.is_raised(Event.NO_SPACE):
            self.apply(Event.SPACE)
            return False  # an entry of the journal lies now where that space was
        try:
            count = self._connection.receive(space)
        except (OSError, zstandard.ZstdError) as error:
            self._lose(f"{type(error).__name__}")
            return False
        looked_ns, self._looked_ns = self._looked_ns, now_ns
        if count is None:
            self._idle(now_ns)
            if timeout_s and self._connection is not None:
                self._connection.wait(timeout_s)
            return False
        if count == 0:
            self._lose("eof")
            return False
        self._take(count, looked_ns)
        return True

    def stop(self, reason: str = "stopped") -> None:
        """End the session: hang up, close what is open, hand on the last rows."""
        if self.state is State.DOWN and self._connection is None:
            return
        self._hang_up(reason)
        self.apply(Event.STOPPED)
        self._feed.end()
        observed_to_ns = self.engine.watermark_ns
        self.engine.flush()
        self.drain.drain(observed_to_ns)
        self.engine.release()

    # --- one connection ---------------------------------------------------------------------

    def _connect(self) -> None:
        replay_ns = self._replay_from()
        self._backoff.tried(self.clock.monotonic_ns())
        wanted = self._subscriptions(replay_ns)
        try:
            connection = open_connection(
                self._key, self.settings.address, self.settings.terms, wanted, self.is_stopped
            )
        except CredentialError:
            self.stop("refused")
            raise
        except RequestError as error:
            self._note(str(error))
            self._backoff.lost(self.clock.monotonic_ns(), limited=error.case == "connection_limit")
            return
        self.counts["connections"] += 1
        self._connection = connection
        self._heard_ns = self.clock.monotonic_ns()
        self.timing.set_wall(self.clock.wall_ns(), self._heard_ns)
        self._replays_left = sum(one.start_ns is not None for one in wanted)
        snapshot = replay_ns is None
        self.record.begin_connection(start_ns=replay_ns, snapshot=snapshot, skip_from_ns=replay_ns)
        asked: list[Json] = [*self.settings.symbols]
        dataset = self.settings.terms.dataset
        self.record.note(EntryKind.NOTE, {"dataset": dataset, "symbols": asked})
        self._feed.begin(self.record.position[0], snapshot=snapshot, skip_from_ns=replay_ns)
        self.apply(Event.ACCEPTED)

    def _replay_from(self) -> int | None:
        """Return from when on MBO must be sent again; None: begin with a snapshot."""
        watermark_ns = self.engine.watermark_ns
        if watermark_ns < 0 or not self._may_replay:
            return None
        safe_ns = watermark_ns - self.engine.profile.lateness_ns - SECOND_NS
        from_ns = safe_ns // SECOND_NS * SECOND_NS
        return from_ns if from_ns > self._feed.joined_ns else None

    def _subscriptions(self, replay_ns: int | None) -> list[Subscription]:
        symbols = self.settings.symbols
        beside = [
            Subscription(schema, symbols, _REPLAYED[schema] if replay_ns is None else replay_ns)
            for schema in _BESIDE
        ]
        return [*beside, Subscription("mbo", symbols, replay_ns, snapshot=replay_ns is None)]

    def _take(self, count: int, looked_ns: int) -> None:
        self._heard_ns = self.clock.monotonic_ns()
        data = self.record.received(count)
        self.counts["bytes"] += count
        if self._states.is_raised(Event.SILENT):
            self.apply(Event.HEARD)
        try:
            self._feed.feed(data)
        except DataError as error:
            self._lose(str(error))
            return
        if self._feed.gap_start_ns >= 0:
            self._close_gap()
        if self._halts.has_changed():
            self.apply(Event.HALTED if self._halts.is_halted else Event.RESUMED)
        self._measure(looked_ns)
        self._hand_on()
        if self._beat_ns >= 0:
            beat_ns, self._beat_ns = self._beat_ns, -1
            if self._states.may_tick:
                self._tick(beat_ns)
        if self._must_end:
            self._end_refused()
        elif self.state is State.REPLAYING and self._replays_left <= 0 and self._feed.has_header:
            self._backoff.worked()
            self._may_replay = True
            self.apply(Event.CAUGHT_UP)

    def _idle(self, now_ns: int) -> None:
        """Find out whether anything stopped, or only time passes: nothing came."""
        silent_ns = now_ns - self._heard_ns
        heartbeat_ns = self.settings.terms.heartbeat_s * SECOND_NS
        if silent_ns > heartbeat_ns + _DEAD_NS:
            self._lose("silent")
        elif silent_ns > heartbeat_ns + _STALE_NS:
            self.apply(Event.SILENT)

    def _tick(self, beat_ns: int) -> None:
        """Let event time pass the next step: a heartbeat of the gateway's `beat_ns` came.

        All that was sent before it has arrived, in order, so nothing of 2 s earlier is on its way.
        Silence by itself proves nothing: the connection may be dead, and what the next one brings
        from then would come too late. This machine's clock is asked only whether the heartbeat
        is from its future.
        """
        wall_ns = self.timing.wall_ns(self._heard_ns)
        ts_ns = min(beat_ns, wall_ns) - _TICK_DELAY_NS
        step_ns = self.engine.profile.scoring_interval_ns
        watermark_ns = self.engine.watermark_ns
        if watermark_ns < 0 or ts_ns // step_ns <= watermark_ns // step_ns:
            return
        self.record.note(EntryKind.TICK, {"ts_ns": ts_ns})
        self.counts["ticks"] += 1
        self.engine.tick(ts_ns)
        self._hand_on()

    def _hand_on(self) -> None:
        """Hand on what was found: live, nobody waits until there is more."""
        if self.engine.pending_count:
            found = self.engine.signals_pending
            self.drain.drain()
            if found:
                self.timing.handed_over(self.clock.monotonic_ns() - self._heard_ns, found)

    def _close_gap(self) -> None:
        watermark_ns, start_ns = self.engine.watermark_ns, self._feed.gap_start_ns
        if start_ns < watermark_ns:
            # A tick can have moved event time on before the snapshot was made.
            end_ns = max(watermark_ns, self._feed.joined_ns)
            self.record.note(EntryKind.GAP, {"start_ns": start_ns, "end_ns": end_ns})
            self._feed.close_gap(end_ns)

    def _measure(self, looked_ns: int) -> None:
        """Time the records at hand; say when the newest is late, and when that is over."""
        timing = self.timing
        if not timing.take(self._heard_ns, looked_ns, self.clock.monotonic_ns()):
            return
        if abs(timing.lag_ns) > self.settings.late_ns:  # or this machine's clock was set since
            timing.set_wall(self.clock.wall_ns(), self._heard_ns)
        is_late = self._states.is_raised(Event.LATE)
        if timing.lag_ns > self.settings.late_ns and not is_late:
            self.apply(Event.LATE)
        elif is_late and timing.lag_ns < self.settings.late_ns // 2:
            self.apply(Event.IN_TIME)

    # --- losses -----------------------------------------------------------------------------

    def _take_message(self, message: Message) -> None:
        if self._connection is None:  # of a record that is played: it was acted upon in its time
            return
        if not message.is_error:
            if message.code == SystemCode.REPLAY_COMPLETED:
                self._replays_left -= 1
            elif message.code == SystemCode.HEARTBEAT:
                self._beat_ns = message.ts_event_ns
            elif message.code == SystemCode.SLOW_READER_WARNING:
                self.counts["slow_reader_warnings"] += 1
            return
        self.counts["gateway_errors"] += 1
        text = clean_answer(message.text, self._key)
        self._note(f"live gateway: {text} (code {message.code})")
        if not message.is_fatal:
            return
        self._must_end = True
        if message.code in {ErrorCode.AUTH_FAILED, ErrorCode.API_KEY_DEACTIVATED}:
            self._refusal = CredentialError(f"The live gateway refuses the key: {text}")
        elif message.code == ErrorCode.INVALID_SUBSCRIPTION:
            self._refusal = RequestError(f"The live gateway refuses to serve: {text}")
        elif message.code == ErrorCode.CONNECTION_LIMIT_EXCEEDED:
            self._limited = True
        elif message.code == ErrorCode.REPLAY_AGED_OUT:
            self._may_replay = False

    def _end_refused(self) -> None:
        """End a connection after a fatal message, once the bytes before it are applied."""
        self._must_end = False
        if self._refusal is not None:
            self.stop("refused")
            raise self._refusal
        self._lose("refused by the gateway")

    def _lose(self, reason: str) -> None:
        """Give the connection up; the next is due after a wait."""
        self._hang_up(reason)
        self.counts["connections_lost"] += 1
        self._note(f"connection lost: {reason}")
        self.apply(Event.LOST)
        self._backoff.lost(self.clock.monotonic_ns(), limited=self._limited)
        self._limited = False

    def _hang_up(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self.record.end_connection(reason)

    def _note(self, text: str) -> None:
        self.notes = [*self.notes[-99:], text]
