"""The engine's side of what was found: graded, named, and handed to the keeper as arrays.

No frame and no Python object a row is made here: it is the engine's thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ifd_fast.found_blocks import NAME, encode_found, pack_identity
from ifd_fast.record_ring import BlockKind
from ifd_fast.taking import Taker

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ifd_fast.engine import FlowEngine

__all__ = ["RingDrain"]

_BLOCK_RECORDS: Final = 256  # about 100 KB; a ring has room for several


class RingDrain(Taker):
    """Takes what an engine found and hands it over in blocks.

    Parameters
    ----------
    engine
        Its rows and signals are taken here.
    hand_over
        Gets (kind, bytes) of each block, in order: rows by window end, instrument and age, signals
        as found.
    is_withheld
        Says of signals (n,) SIGNAL whether alerts among them are withheld.
    """

    def __init__(
        self,
        engine: FlowEngine,
        hand_over: Callable[[BlockKind, bytes], object],
        is_withheld: Callable[[NDArray[np.void]], bool],
    ) -> None:
        """Take what `engine` finds from now on."""
        super().__init__(engine)
        engine.leave_handovers()  # a record is scored again from its bytes
        self._hand_over = hand_over
        self._is_withheld = is_withheld
        self._names = _Names(engine)

    def drain(self, observed_to_ns: int | None = None) -> None:
        """Take all rows and signals; windows that end after `observed_to_ns` were cut short."""
        rows = self.engine.take_rows()
        if len(rows):
            self.grade(rows, observed_to_ns)
            names = self._names.of(rows["slot"])
            order = np.lexsort((names["opened"], names["instrument_id"], rows["window_end_ns"]))
            self._put(BlockKind.ROWS, rows[order], names[order], withheld=False)
        signals = self.engine.take_signals()
        if len(signals):
            names = self._names.of(signals["slot"])
            self._put(BlockKind.SIGNALS, signals, names, withheld=self._is_withheld(signals))
        self.engine.instruments.over.take()  # nobody lists instruments that are over

    def _put(
        self,
        kind: BlockKind,
        records: NDArray[np.void],
        names: NDArray[np.void],
        *,
        withheld: bool,
    ) -> None:
        for first in range(0, len(records), _BLOCK_RECORDS):
            part = slice(first, first + _BLOCK_RECORDS)
            self._hand_over(kind, encode_found(records[part], names[part], withheld=withheld))


class _Names:
    """Who each slot is, as bytes, made once until anything is renamed."""

    def __init__(self, engine: FlowEngine) -> None:
        self._engine = engine
        self._named: tuple[int, ...] = ()  # what the entries were made as of
        self._table: NDArray[np.void] = np.zeros(0, NAME)
        self._is_made: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def of(self, slots: NDArray[np.integer]) -> NDArray[np.void]:
        """Return the names (n,) NAME of slots (n,)."""
        named = self._engine.identity_version[1:]  # without the count: a new slot isn't made yet
        if named != self._named:
            self._named = named
            self._is_made[:] = False
        if len(self._table) < self._engine.instruments.slots:
            self._grow(self._engine.instruments.capacity)
        for slot in np.unique(slots[~self._is_made[slots]]).tolist():
            self._table[slot] = pack_identity(self._engine.instruments.identity(slot))
            self._is_made[slot] = True
        names: NDArray[np.void] = self._table[slots]
        return names

    def _grow(self, capacity: int) -> None:
        table, is_made = np.zeros(capacity, NAME), np.zeros(capacity, np.bool_)
        table[: len(self._table)] = self._table
        is_made[: len(self._is_made)] = self._is_made
        self._table, self._is_made = table, is_made
