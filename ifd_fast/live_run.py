"""`ifd live`: one engine, its record, and the keeper that does the rest.

Everything here runs between two polls of the session, in the one thread there is. What is found
goes into the ring behind the bytes it rests on; the keeper stores it and tells people.
"""

from __future__ import annotations

import gc
import os
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ifd_fast.keeper_plan import KeeperPlan
from ifd_fast.live_session import LiveSession
from ifd_fast.live_states import Event, State
from ifd_fast.notifying import Watchdog, notify_state
from ifd_fast.proven_reader import ProvenReader
from ifd_fast.record_ring import BlockKind
from ifd_fast.replaying import make_engine
from ifd_fast.restarting import begin_play, find_changes, play_on, say_what_runs
from ifd_fast.ring_drain import RingDrain
from ifd_fast.session_record import EntryKind
from ifd_fast.shadow import Shadow
from ifd_fast.shared_record import SharedRecord
from ifd_fast.warming import warm_live

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from ifd_fast.config import Settings
    from ifd_fast.credentials import Secret
    from ifd_fast.histories import History
    from ifd_fast.keeper_plan import Form
    from ifd_fast.live_settings import Clock, LiveSettings
    from ifd_fast.record_reader import RecordReader

__all__ = ["LiveRun"]

LOOK_S: Final = 0.1  # between looks at the keeper and the state
LATENCY_S: Final = 10.0  # between looks at the latency
NOTES_SHOWN: Final = 10
HEALTH_S: Final = 1.0  # between two words on how it goes
PROGRESS_S: Final = 1.0
QUIET_WAIT_S: Final = 0.01


class LiveRun:
    """One live session from its first connection to its end.

    `found` is what its `session.json` says, once it has ended.

    Parameters
    ----------
    settings, history
        All settings, and the baselines; None: there are none.
    live, key
        Where to connect, and who asks.
    folder
        Of the record; goes on where an earlier run of it ended.
    form, calls
        How the keeper prints signals, states and the end; which functions it calls.
    is_busy
        Poll without a pause: a core's worth of heat for some µs of latency.
    core
        Which core this process is to have for itself; the keeper goes to the others. None: any.
    clock
        Stands in for the machine's.
    """

    def __init__(
        self,
        settings: Settings,
        live: LiveSettings,
        key: Secret,
        folder: Path,
        *,
        form: Form = "none",
        calls: tuple[str, ...] = (),
        history: History | None = None,
        is_busy: bool = False,
        core: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.is_busy = is_busy
        self.found: dict[str, Any] = {}
        profile = settings.profile
        self.engine = make_engine(settings, history)
        plan = KeeperPlan(profile.calendar, profile.rules_digest, form, calls)
        self.record = SharedRecord(folder, profile.live_ring_mib << 20, plan.encode())
        self._drain = RingDrain(self.engine, self.record.hand_over, self._is_withheld)
        if core is not None:
            self.record.leave_core(core)
            os.sched_setaffinity(0, {core})
        self.record.note(EntryKind.NOTE, say_what_runs(settings))
        self.session = LiveSession(self.engine, self._drain, self.record, live, key, clock)
        self.recovery_s = 0.0
        self.recovered_bytes = 0
        self.checkpoint: Path | None = None  # where this run went on from, if from one
        self._is_playing = False
        self._watchdog = Watchdog()
        self._shadow = Shadow(folder, settings, getattr(history, "store", None))
        self._state = State.CONNECTING
        self._looked_s = 0.0
        self._timed_s = self._said_s = time.monotonic()

    def run(self, is_stopped: Callable[[], bool], until_s: float | None = None) -> None:
        """Poll until told to stop, the session is down, or the monotonic clock is at `until_s`.

        Raises
        ------
        CredentialError, RequestError
            The gateway refuses for good. What was received is recorded all the same.
        """
        wait_s = 0.0 if self.is_busy else QUIET_WAIT_S
        asked = self._living(is_stopped)
        self.session.is_stopped = asked
        warm_live()
        if self.record.before is not None:
            self._recover_from(self.record.before, asked)
        self._shadow.tend(time.monotonic(), self.record.cores)
        gc.collect()
        gc.freeze()
        gc.disable()  # a collection would be a pause; what the loop makes has no cycles
        try:
            while not is_stopped() and self.session.state is not State.DOWN:
                self.session.poll(wait_s)
                now_s = time.monotonic()
                if now_s - self._looked_s >= LOOK_S:
                    self._look(now_s)
                if until_s is not None and now_s >= until_s:
                    break
        finally:
            gc.unfreeze()
            gc.enable()
            self._finish()

    def describe(self) -> dict[str, Any]:
        """Return what happened, as this process knows it: every record, connections, states."""
        session = self.session
        return {
            **session.account(),
            "connections": session.counts["connections"],
            "connections_lost": session.counts["connections_lost"],
            "ticks": session.counts["ticks"],
            "duplicates": dict(session.duplicates),
            "recovery_s": round(self.recovery_s, 3),
            "signals_recovered": session.counts["signals_recovered"],
            "alerts_withheld": session.counts["alerts_withheld"],
            "latency": session.timing.describe(),
            "latency_over_limit": session.counts["latency_over_limit"],
            "recovered_bytes": self.recovered_bytes,
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
            "notes": session.notes,
        }

    def _living(self, is_stopped: Callable[[], bool]) -> Callable[[], bool]:
        """Return `is_stopped` for what takes long and asks it: who asks is alive."""

        def ask() -> bool:
            self._watchdog.beat(time.monotonic())
            return is_stopped()

        return ask

    def _recover_from(self, before: RecordReader, is_stopped: Callable[[], bool]) -> None:
        try:
            self._recover(before, is_stopped)
        except BaseException:  # what was played must not come out, not even cut short
            self._tell(State.DOWN, "")
            self.record.close()
            raise

    def _recover(self, before: RecordReader, is_stopped: Callable[[], bool]) -> None:
        """Play the record of an earlier run, so that this one goes on where that one ended."""
        self._is_playing = True
        began_s = said_s = time.monotonic()
        self._tell(State.RECOVERING, find_changes(before, self.settings))
        with ProvenReader(before.folder, self.record.cores) as reader:
            player, self.checkpoint, said = begin_play(self.session, reader, self.settings)
            for text in said:
                self._tell(State.RECOVERING, text)
            self.recovered_bytes = player.left_bytes
            for _ in play_on(self.session, player):
                if is_stopped():
                    break
                if time.monotonic() - said_s >= PROGRESS_S:
                    said_s = time.monotonic()
                    text = f"{player.left_bytes / 1e6:,.0f} MB of the record are to be played"
                    self._tell(State.RECOVERING, text)
        self._is_playing = False
        self.recovery_s = time.monotonic() - began_s
        self._tell(State.RECOVERING, f"played the record in {self.recovery_s:.1f} s")

    def _tell(self, state: State, why: str) -> None:
        self._state = state
        self._tell_state(why)

    def _is_withheld(self, signals: NDArray[np.void]) -> bool:
        """Say whether nobody may be told of these as alerts now; such alerts are counted."""
        if self._is_playing:  # the run before has told them
            self.session.counts["signals_recovered"] += len(signals)
        elif not self.session.may_alert:
            self.session.counts["alerts_withheld"] += int(np.count_nonzero(signals["alert"]))
        return self._is_playing or not self.session.may_alert

    def _look(self, now_s: float) -> None:
        """See how keeper and state are."""
        self._looked_s = now_s
        self._watchdog.beat(now_s)
        self._shadow.tend(now_s, self.record.cores)
        self._look_at_latency(now_s)
        if now_s - self._said_s >= HEALTH_S and self.record.has_room:
            self._said_s = now_s
            self._tell_health()
        fault = self.record.fault
        if fault:
            self.session.apply(Event.KEEPER_LOST)
            self.record.restart_keeper()
        elif self.session.state is State.DEGRADED:
            self.session.apply(Event.KEEPER_BACK)
        if self.session.state is not self._state:
            self._state = self.session.state
            notes = self.session.notes
            self._tell_state(fault or (notes[-1] if notes else ""))

    def _look_at_latency(self, now_s: float) -> None:
        """Tell if the last seconds were slower than the profile allows."""
        limit_us = self.settings.profile.live_latency_limit_us
        if not limit_us or now_s - self._timed_s < LATENCY_S:
            return
        self._timed_s = now_s
        found_us = self.session.timing.latencies["receive_to_state"].recent_us(0.99)
        if found_us is not None and found_us > limit_us:
            self.session.counts["latency_over_limit"] += 1
            text = f"latency p99 {found_us:,.0f} us is over live.latency_limit_us = {limit_us:g}"
            self._tell_state(text)

    def _tell_state(self, why: str) -> None:
        said = {"state": str(self._state), "why": why}
        self.record.hand_over(BlockKind.STATE, msgspec.json.encode(said))
        notify_state(str(self._state))

    def _tell_health(self) -> None:
        """Say how it goes, for pages; the newest notes alone, the whole is said at the end."""
        said = self.describe()
        said["notes"] = said["notes"][-NOTES_SHOWN:]
        said["lag_s"] = self.session.timing.lag_ns / 1e9
        said["state"] = str(self._state)
        self.record.hand_over(BlockKind.HEALTH, msgspec.json.encode(said, enc_hook=str))

    def _finish(self) -> None:
        self._shadow.end()
        self.session.stop()
        self.record.end_connection("stopped")
        self._state = State.DOWN
        self._tell_state("")
        said = msgspec.json.encode(self.describe(), enc_hook=str)
        self.record.hand_over(BlockKind.END, said)
        self.record.close()
        self.found = msgspec.json.decode((self.record.folder / "session.json").read_bytes())
