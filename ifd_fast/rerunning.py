"""A recording run again in memory: to find its signals, to look closely, or to change the input.

`Rerun` drives the engine of `ifd replay` over the recorded files. Engines made here pause between
events, which changes no result: one keeps the kernel's rows of signals, others look at the state
or end the stream early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from ifd_fast.calendar import load_sessions
from ifd_fast.draining import SCHEMAS, Drain
from ifd_fast.engine import FlowEngine
from ifd_fast.errors import UsageError
from ifd_fast.replaying import Player
from ifd_fast.streams import open_stream
from ifd_kernels.engine import TIME_LIMIT_NS
from ifd_kernels.layout import F_BAD_TS_RECV, F_SNAPSHOT
from ifd_kernels.pressure import AHEAD_LIMIT_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from numpy.typing import NDArray

    from ifd_fast.recordings import Recording
    from ifd_fast.replaying import Progress
    from ifd_kernels.layout import Ring

__all__ = ["KeepingEngine", "Rerun", "ring_places", "timely_ns"]

_NO_TIME: Final = -1


def ring_places(ring: Ring, start: int, stop: int) -> NDArray[np.int64]:
    """Return where the events with sequence numbers `start` to `stop` lie in the ring."""
    return np.arange(start, stop) & (len(ring.action) - 1)


def timely_ns(ring: Ring, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ts_event of each event that may move event time, -1 of the others."""
    ts_ns, received_ns = ring.ts_event_ns[places], ring.ts_recv_ns[places]
    timely = (ring.flags[places] & (F_SNAPSHOT | F_BAD_TS_RECV)) == 0
    timely &= (ts_ns >= 0) & (received_ns >= 0) & (ts_ns < TIME_LIMIT_NS)
    timely &= ts_ns - received_ns <= AHEAD_LIMIT_NS
    return np.where(timely, ts_ns, _NO_TIME)


class KeepingEngine(FlowEngine):
    """An engine that keeps a copy of every signal's row as the kernel wrote it."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        """Take what `FlowEngine` takes."""
        super().__init__(*arguments, **settings)
        self.kept: list[NDArray[np.void]] = []

    def take_signals(self) -> NDArray[np.void]:
        """Return the signals found since the last call, and keep them."""
        signals = super().take_signals()
        self.kept.append(signals)
        return signals


class Rerun:
    """One run of a recording. Iterate `chunks()`, wholly or until enough is known; then `close`.

    Parameters
    ----------
    recording
        Files, settings and baselines.
    make
        Makes the engine from (profile, sessions, history=...).
    wanted
        Which frames are built and kept in memory.
    deliver
        Gets each (name, frame) instead; then none is kept.
    ignore_from_ns
        Definitions received then or later are not looked at.
    """

    def __init__(
        self,
        recording: Recording,
        make: Callable[..., FlowEngine] = FlowEngine,
        *,
        wanted: Collection[str] = ("windows", "signals"),
        deliver: Callable[[str, pl.DataFrame], object] | None = None,
        ignore_from_ns: int | None = None,
    ) -> None:
        """Make the engine; nothing is read yet.

        Raises UsageError for a live session's record: its files give no rows without its journal.
        """
        if recording.live_record is not None:
            raise UsageError(
                f"{recording.live_record}: is a live session's record. Its journal says what its "
                "connections delivered twice and where event time moved; this reads files alone. "
                "`ifd verify replay` replays it with the journal."
            )
        profile = recording.settings.profile
        self.recording = recording
        self._frames: dict[str, list[pl.DataFrame]] = {name: [] for name in wanted}
        self.history = recording.history
        self.engine = make(profile, load_sessions(profile.calendar), history=self.history)
        self._drain = Drain(self.engine, deliver or self._keep, wanted)
        self.player = Player(self.engine, self._drain, ignore_from_ns)

    def chunks(self, progress: Progress | None = None) -> Iterator[None]:
        """Play the record; yield after each chunk. Leaving early is fine.

        Raises
        ------
        DataError, UsageError
            A file or the store can't be used, or the baselines are not those recorded.
        """
        sources = open_stream(self.recording.files)
        total = sum(source.bytes_total for source in sources)
        try:
            for done in self.player.play(sources):
                self._check_baselines()
                if progress is not None:
                    progress(done, total, int(self.engine.state.actions.sum()))
                yield
        finally:
            for source in sources:
                source.close()

    def run(self, progress: Progress | None = None) -> None:
        """Play the whole record and close what is open."""
        for _ in self.chunks(progress):
            pass
        self.close()

    def close(self) -> None:
        """Close what is open, as the end of a stream does."""
        self.player.close()
        self._check_baselines()

    def take(self) -> None:
        """Take what the engine has found up to where it stands."""
        self._drain.drain()

    def frame(self, name: str) -> pl.DataFrame:
        """Return what was taken so far, of a name that was `wanted`."""
        return pl.concat([pl.DataFrame(schema=SCHEMAS[name]), *self._frames[name]])

    def _keep(self, name: str, frame: pl.DataFrame) -> None:
        self._frames[name].append(frame)

    def _check_baselines(self) -> None:
        if self.history is not None:
            self.recording.check_baselines(self.history.digests)
