"""What an engine has found, taken from it and handed on as frames, to whoever wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ifd_fast.flows import FACTS_WINDOW_S
from ifd_fast.handovers import HANDOVERS_SCHEMA, build_handovers
from ifd_fast.identities import frame_identities
from ifd_fast.rows import FACTS_SCHEMA, WINDOW_SCHEMA, build_rows, sort_rows
from ifd_fast.signals import SIGNAL_SCHEMA, build_signals
from ifd_fast.taking import Taker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import polars as pl
    from numpy.typing import NDArray

    from ifd_fast.engine import FlowEngine

__all__ = ["SCHEMAS", "Drain"]

# Rows made into a frame at once: all strikes' windows end together, and 40,000 rows with their
# texts, digests and copies took 150 MB, most of which the allocators kept.
_SLICE_ROWS: Final = 8_192

_NO_TIMES: Final = np.zeros(0, np.int64)
SCHEMAS: Final = {
    "windows": WINDOW_SCHEMA,
    "facts": FACTS_SCHEMA,
    "signals": SIGNAL_SCHEMA,
    "instruments": frame_identities([], _NO_TIMES, _NO_TIMES).schema,
    "handovers": HANDOVERS_SCHEMA,
}
_OF_ROWS: Final = frozenset({"windows", "facts"})

_IDENTITY: Final = (
    "instrument_id",
    "symbol",
    "root",
    "underlying",
    "expiration",
    "strike",
    "option_type",
)


class Drain(Taker):
    """Takes what the engine has found so far and hands it on, frame by frame.

    Parameters
    ----------
    engine
        Its rows, signals, retired instruments and hand-overs are taken here and nowhere else.
    deliver
        Gets (name, frame); frames of a name in order, windows before the facts of their end.
    wanted
        Names of SCHEMAS; what nobody wants is not built. `instruments` are those whose slots are
        used again.
    """

    def __init__(
        self,
        engine: FlowEngine,
        deliver: Callable[[str, pl.DataFrame], object],
        wanted: Iterable[str] = SCHEMAS,
    ) -> None:
        """Take what `engine` finds from now on."""
        super().__init__(engine)
        self.wanted = frozenset(wanted)
        self.on_signals: Callable[[pl.DataFrame], object] | None = None  # told of them at once
        self._deliver = deliver
        self._identity: tuple[tuple[int, ...], pl.DataFrame] | None = None

    def drain(self, observed_to_ns: int | None = None) -> None:
        """Take all rows and signals; windows that end after `observed_to_ns` were cut short."""
        rows = self.engine.take_rows()
        if len(rows) and self.wanted & _OF_ROWS:
            self.grade(rows, observed_to_ns)
            self._take_rows(rows)
        for listed in self.engine.instruments.over.take():
            if "instruments" in self.wanted:
                self._deliver("instruments", listed)
        self._take_signals()
        self._take_handovers()

    def drain_when_full(self) -> None:
        """Take what was found once it is worth a frame: 23 columns cost the same for one row."""
        if self.on_signals is not None and self.engine.signals_pending > 0:
            self.drain()
        else:
            super().drain_when_full()

    def _take_rows(self, rows: NDArray[np.void]) -> None:
        known, dates = self._known(), self._dates()
        rows = sort_rows(rows, known)
        for first in range(0, len(rows), _SLICE_ROWS):
            part = rows[first : first + _SLICE_ROWS]
            windows, facts = build_rows(part, known, dates, FACTS_WINDOW_S)
            self._deliver("windows", windows)
            if "facts" in self.wanted:
                self._deliver("facts", facts)

    def _take_signals(self) -> None:
        signals = self.engine.take_signals()
        if len(signals):
            digest = self.engine.profile.rules_digest
            frame = build_signals(signals, self._known(), self.engine.sessions, digest)
            self._deliver("signals", frame)
            if self.on_signals is not None:
                self.on_signals(frame)

    def _take_handovers(self) -> None:
        entries = self.engine.take_handovers()
        if len(entries) and "handovers" in self.wanted:
            ids = self.engine.instruments.identities["instrument_id"]
            close_ns = np.asarray(self.engine.sessions.close_ns)
            frame = build_handovers(entries, ids, close_ns, self._dates())
            self._deliver("handovers", frame)

    def _known(self) -> pl.DataFrame:
        """Return who each slot is now, one line a slot."""
        version = self.engine.identity_version
        if self._identity is None or self._identity[0] != version:
            self._identity = (
                version,
                self.engine.instruments.frame_by_slot().select(*_IDENTITY, "opened"),
            )
        return self._identity[1]

    def _dates(self) -> NDArray[np.datetime64]:
        return np.asarray(self.engine.sessions.trade_date)
