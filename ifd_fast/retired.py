"""Slots of instruments that are over: forgotten, kept for the listing, and used again.

A slot is retired when its id begins to mean another instrument: no record can reach it from then
on. It is emptied once its last window has been emitted, and its flow that still counts in the
market's is handed to one slot that belongs to nobody, the grave. So memory follows the
instruments that are live, however many a stream opens.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_fast.books import empty_slot
from ifd_fast.flows import empty_slots as empty_flow
from ifd_fast.scores import bury_slots
from ifd_kernels.pressure import AHEAD_LIMIT_NS

if TYPE_CHECKING:
    import polars as pl

    from ifd_kernels.engine import Engine as EngineState

__all__ = ["Over", "Retired", "Retirement"]

_NO_GRAVE: Final = -1


class Retirement(NamedTuple):
    """An id that began to mean another instrument."""

    at_ns: int
    instrument_id: int
    slot: int
    successor: int


class Over:
    """Instruments whose slots were given back: rows of the listing, and counts.

    Whoever writes `instruments.parquet` takes the rows now and then, so that they need no memory.
    """

    def __init__(self) -> None:
        self.unmapped_slots = 0
        self.unmapped_records = 0
        self._frames: list[pl.DataFrame] = []

    def add(self, frame: pl.DataFrame, unmapped_records: NDArray[np.int64]) -> None:
        """Add rows of the listing, and the records of those (k,) that were never mapped."""
        self._frames.append(frame)
        self.unmapped_slots += len(unmapped_records)
        self.unmapped_records += int(unmapped_records.sum())

    def take(self) -> list[pl.DataFrame]:
        """Return the rows added since the last call."""
        frames, self._frames = self._frames, []
        return frames


class Retired:
    """Retired slots on their way to be used again, in the order of their retirement."""

    def __init__(self) -> None:
        self.grave = _NO_GRAVE  # the one slot that is never used again
        self._waiting: deque[tuple[int, int]] = deque()

    def note(self, retirements: list[Retirement], state: EngineState) -> None:
        """Take over who retired where the stream stands now; the list is empty afterwards.

        A trade may have been ahead of the watermark by up to a second.
        """
        clock = state.flow.clock[0]
        pane = (int(clock["watermark_ns"]) + AHEAD_LIMIT_NS) // int(clock["pane_ns"])
        self._waiting.extend((one.slot, pane) for one in retirements)
        retirements.clear()

    def take_over(self, state: EngineState) -> NDArray[np.int64]:
        """Empty the slots (k,) that nothing asks for any more, and return them.

        To be called when all rows have been taken, where it depends on the stream alone: event
        time stands still between two events.
        """
        clock = state.flow.clock[0]
        span = max(int(clock["window_panes"]), int(clock["facts_panes"]))
        past = int(clock["pane"]) - span  # the last pane whose windows have all ended
        due = []
        while self._waiting and self._waiting[0][1] <= past and self._is_settled(state):
            due.append(self._waiting.popleft()[0])
        slots = np.array(due, np.int64)
        if not due:
            return slots
        if self.grave == _NO_GRAVE:
            self.grave = due[0]
        for slot in due:
            empty_slot(state.book, slot)
        empty_flow(state.flow, slots)
        bury_slots(state.score, slots, self.grave)
        return slots

    def _is_settled(self, state: EngineState) -> bool:
        """Tell whether the scorer has seen all flow of the slot that waits longest."""
        slot = self._waiting[0][0]
        open_seconds = int(state.flow.clock[0]["open_mask"]) + 1
        buckets: Any = state.flow.buckets[slot * open_seconds : (slot + 1) * open_seconds]
        return not buckets["fresh"].any() and not state.score.is_dirty[slot]
