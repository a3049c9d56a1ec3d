"""Every instrument of a session: dense slots, identities, names, and how they change.

An instrument id means one instrument at a time. Its first record opens a slot whether or not
anybody has named it; a definition or a mapping that comes later names that slot. One that gives
a named id another symbol retires the slot, for good, and opens a new one. An option's type,
strike, expiration and underlying come from its definition alone; a symbol by itself identifies
nothing but a future.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ifd_fast.alignment import grow_rows
from ifd_fast.definitions import Definition, Leg, Status, SymbolMapping
from ifd_fast.errors import DataError, UsageError
from ifd_fast.identities import Identity, frame_identities
from ifd_fast.instrument_links import Known, Links, describe, identify
from ifd_fast.retired import Over, Retirement
from ifd_fast.sources import Metadata
from ifd_fast.symbols import mappings_on, parse_futures_symbol
from ifd_kernels.instruments import (
    ANONYMOUS,
    COUNTS,
    IDMAP,
    SEEN,
    SLOTS,
    Integer,
    find_slot,
    open_slot,
    rehash,
    reopen_slot,
    resolve_batch,
)
from ifd_kernels.layout import IDENTITY, KIND_FUTURE, NEED_SLOTS, Ring

if TYPE_CHECKING:
    import polars as pl

    from ifd_fast.packages import LegTable

__all__ = ["Instruments"]

Records: TypeAlias = NDArray[Any]

_ID_MAX: Final = 2**32 - 1
_FRAME_SLOTS: Final = 4_096  # made into a frame at once: a row is 400 bytes of Python before it
_DOUBLED_MAX: Final = 4_096  # a slot is 2 KB, in use or not

# DBN's StatusAction; is_trading decides where it says Y or N.
_ACTION_TRADING: Final = 7
_ACTIONS_HALTED: Final = frozenset({8, 9, 10, 12, 15})  # halt, pause, suspend, close, unavailable

_COUNTERS: Final = (
    *("definitions", "definitions_repeated", "definitions_changed"),
    *("deletions", "deletions_ignored"),
    *("mappings", "mappings_ignored", "statuses", "retired"),
)


class Instruments:
    """Owns the slots of a session.

    `identities`, `seen` (k,) and `id_map` (at least 2 k) are what kernels read; they are other
    arrays after a growth, so take them anew after each call of a method.

    Parameters
    ----------
    capacity_slots
        Room at the start.
    slots_max
        More instruments than this are refused: damaged input invents ids without end.
    """

    def __init__(self, capacity_slots: int = 1024, slots_max: int = 1 << 20) -> None:
        if not 1 <= capacity_slots <= slots_max:
            raise UsageError(
                f"`capacity_slots` must be 1 to `slots_max` ({slots_max}), was {capacity_slots}."
            )
        self.identities: Records = np.zeros(0, IDENTITY)
        self.seen: Records = np.zeros(0, SEEN)
        self.id_map: Records = _free_map(2)
        self.counts: NDArray[np.int64] = np.zeros(COUNTS, np.int64)
        self.retirements: list[Retirement] = []
        self.over = Over()
        self.counters: dict[str, int] = dict.fromkeys(_COUNTERS, 0)
        self._slots_max = slots_max
        self._known: list[Known] = []
        self._opened = 0
        self._free: deque[int] = deque()
        self._vacant: set[int] = set()  # slots without an instrument: those free, and one grave
        self._links = Links(self._known, self.slot_of)
        self.leg_table: LegTable = self._links.legs
        self._resize(capacity_slots)

    @property
    def capacity(self) -> int:
        """Slots there is room for; other tables by slot need as many."""
        return len(self.identities)

    @property
    def slots(self) -> int:
        """Slots that were ever used: one past the last."""
        return int(self.counts[SLOTS])

    @property
    def opened(self) -> int:
        """Instruments so far, retired ones too."""
        self.note_opened()
        return self._opened

    @property
    def unmapped_slots(self) -> int:
        """Slots without a known identity."""
        return self.over.unmapped_slots + len(self._unmapped(self._held()))

    @property
    def unmapped_records(self) -> int:
        """Records so far of slots that have no known identity now."""
        records = self.seen["records"][self._unmapped(self._held())].sum()
        return self.over.unmapped_records + int(records)

    def slot_of(self, instrument_id: int) -> int:
        """Return the slot `instrument_id` means now, -1 if it was never seen."""
        return int(find_slot(self.id_map, instrument_id))

    def resolve(self, ring: Ring, start: int, stop: int) -> None:
        """Fill `ring.slot` of events `start` to `stop` - 1, opening and growing as needed.

        Raises
        ------
        DataError
            More than `slots_max` instruments.
        """
        at: Integer = start
        while True:
            status, at = resolve_batch(
                ring, at, stop, self.id_map, self.identities, self.seen, self.counts
            )
            if status != NEED_SLOTS:
                break
            self.grow()
        self.note_opened()

    def note_opened(self) -> None:
        """Take note of slots that the kernel opened; call it after each `resolve_batch`.

        One of them may be the future that options, known already, have as their underlying.
        """
        for slot in range(len(self._known), self.slots):
            instrument_id = int(self.identities["instrument_id"][slot])
            self._known.append(self._new(instrument_id))
            self._links.note_id(instrument_id)

    def grow(self) -> None:
        """Make room for more slots, twice as many, or from 4,096 on an eighth more; none moves.

        Raises
        ------
        DataError
            It is `slots_max` already.
        """
        if self.capacity >= self._slots_max:
            raise DataError(
                f"{self.slots} instruments are open, `slots_max` is {self._slots_max}, and another "
                "id came. The input is damaged, or raise `slots_max`."
            )
        added = self.capacity if self.capacity < _DOUBLED_MAX else self.capacity // 8
        self._resize(min(self.capacity + added, self._slots_max))

    def add_definition(self, definition: Definition, at_ns: int = -1) -> int:
        """Take a definition in stream order; return its slot, -1 if it names nothing here.

        A deletion (D) ends no trading state: it names the id if that has a slot without another
        name, and is ignored otherwise.
        """
        self.counters["definitions"] += 1
        instrument_id, symbol = definition.instrument_id, definition.raw_symbol
        if definition.security_update_action == "D":
            self.counters["deletions"] += 1
            self.note_opened()
            known = self.slot_of(instrument_id)
            if known < 0 or self._known[known].symbol not in {None, symbol}:
                self.counters["deletions_ignored"] += 1
                return -1
        slot = self._slot_for(instrument_id, symbol, at_ns)
        self._describe(slot, definition)
        return slot

    def add_definitions(self, definitions: Iterable[Definition], start_ns: int) -> list[Definition]:
        """Take a file's definitions before its session's data; return those that must wait.

        A definition received after `start_ns` (ns UTC) that would retire a slot is true only
        from then on: give it to `add_definition` when the stream has come to its ts_recv_ns.
        """
        waiting: list[Definition] = []
        held: set[int] = set()
        for one in sorted(definitions, key=lambda definition: definition.ts_recv_ns):
            if one.ts_recv_ns > start_ns and (one.instrument_id in held or self._renames(one)):
                held.add(one.instrument_id)
                waiting.append(one)
            else:
                self.add_definition(one, one.ts_recv_ns)
        return waiting

    def add_mapping(self, instrument_id: int, symbol: str, at_ns: int = -1) -> int:
        """Take the raw symbol of an id; return its slot, -1 if the symbol is empty.

        A future is identified by it, with root and month; an option or a spread only gets its
        name and stays unmapped, without type and strike, until its definition comes.
        """
        self.counters["mappings"] += 1
        if not symbol or not 0 <= instrument_id <= _ID_MAX:
            self.counters["mappings_ignored"] += 1
            return -1
        slot = self._slot_for(instrument_id, symbol, at_ns)
        known = self._known[slot]
        if known.symbol == symbol:
            return slot
        known.symbol = symbol
        future = parse_futures_symbol(symbol)
        if future is not None:
            known.root, known.contract = future.root, future.contract
            known.kind, known.mapped = KIND_FUTURE, True
        self._write(slot)
        return slot

    def add_symbol_mapping(self, mapping: SymbolMapping) -> int:
        """Take a live mapping record; return its slot."""
        return self.add_mapping(mapping.instrument_id, mapping.symbol, mapping.ts_event_ns)

    def add_metadata_mappings(self, metadata: Metadata, day: dt.date, at_ns: int = -1) -> int:
        """Take a historical file's mappings that hold on `day` (UTC); return how many.

        Ids are unique within a day only: call again when the stream enters its next day. Names
        that are no raw symbols (continuous contracts) are left out.
        """
        named = mappings_on(metadata, day)
        return sum(self.add_mapping(number, symbol, at_ns) >= 0 for number, symbol in named)

    def note_status(self, status: Status) -> int:
        """Take a trading state; return its slot. Not trading, whatever the reason, is halted."""
        self.counters["statuses"] += 1
        slot = self.slot_of(status.instrument_id)
        if slot < 0:
            slot = self._open(status.instrument_id)
        silent = status.is_trading not in {"Y", "N"}
        if status.is_trading == "Y" or (silent and status.action == _ACTION_TRADING):
            self.identities[slot]["halted"] = 0
        if status.is_trading == "N" or (silent and status.action in _ACTIONS_HALTED):
            self.identities[slot]["halted"] = 1
        return slot

    def identity(self, slot: int) -> Identity:
        """Return what is known now of `slot`."""
        self.note_opened()
        return identify(self._known[slot])

    def legs(self, slot: int) -> tuple[Leg, ...]:
        """Return the legs of a spread, in order; empty if no definition has said them."""
        return self._known[slot].legs

    def futures_symbols(self) -> dict[int, str]:
        """Return by slot the symbol of every live future and of every slot options are linked to.

        A slot that nobody has named goes by the name its options' definitions give it, or "".
        """
        self.note_opened()
        return self._links.futures()

    def summary(self) -> dict[str, int]:
        """Return exact counts for the session's report."""
        return {
            "slots": self.opened,
            "opened_by_record": int(self.counts[ANONYMOUS]),
            "unmapped_slots": self.unmapped_slots,
            "unmapped_records": self.unmapped_records,
            **self.counters,
        }

    def frame(self) -> pl.DataFrame:
        """Return one row an instrument, as `instruments.parquet` has it, but those in `over`."""
        return self._frame_of(self._held())

    def frame_by_slot(self) -> pl.DataFrame:
        """Return one row a slot, vacant ones too; `opened` is the instrument's number."""
        import polars as pl

        opened = pl.Series("opened", [known.opened for known in self._known], pl.Int64)
        return self._frame_of(np.arange(self.slots)).with_columns(opened)

    def give_back(self, slots: NDArray[np.int64], grave: int) -> None:
        """Let retired slots (k,) be used again by instruments that a definition or mapping opens.

        Not by those that a record opens: how far records are resolved ahead is not the stream's.
        `grave`, if it is among them, stays vacant. Their rows of the listing go to `over`.
        """
        if not len(slots):
            return
        self.over.add(self._frame_of(slots), self.seen["records"][self._unmapped(slots)])
        for slot in slots.tolist():
            self._links.forget(slot)
        self._vacant.update(slots.tolist())
        self._free.extend(slot for slot in slots.tolist() if slot != grave)

    def _held(self) -> NDArray[np.int64]:
        return np.setdiff1d(np.arange(self.slots), sorted(self._vacant))

    def _unmapped(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.extract(self.identities["mapped"][slots] == 0, slots)

    def _frame_of(self, slots: NDArray[np.int64]) -> pl.DataFrame:
        import polars as pl

        frames = []
        for first in range(0, max(len(slots), 1), _FRAME_SLOTS):
            part = slots[first : first + _FRAME_SLOTS]
            rows, seen = [self.identity(slot) for slot in part.tolist()], self.seen[part]
            frames.append(frame_identities(rows, seen["first_ns"], seen["last_ns"]))
        return pl.concat(frames, rechunk=True)

    def _new(self, instrument_id: int) -> Known:
        self._opened += 1
        return Known(instrument_id, self._opened - 1)

    def _renames(self, definition: Definition) -> bool:
        self.note_opened()
        slot = self.slot_of(definition.instrument_id)
        return slot >= 0 and self._known[slot].symbol not in {None, definition.raw_symbol}

    def _slot_for(self, instrument_id: int, symbol: str, at_ns: int) -> int:
        self.note_opened()
        slot = self.slot_of(instrument_id)
        if slot < 0:
            return self._open(instrument_id)
        if self._known[slot].symbol in {None, symbol}:
            return slot
        self._known[slot].retired = True
        self._write(slot)
        successor = self._open(instrument_id)
        self.counters["retired"] += 1
        self.retirements.append(Retirement(at_ns, instrument_id, slot, successor))
        return successor

    def _describe(self, slot: int, definition: Definition) -> None:
        old = self._known[slot]
        new = describe(old, definition)
        if new == old:
            self.counters["definitions_repeated"] += 1
            return
        self.counters["definitions_changed"] += bool(old.symbol)
        self._known[slot] = new
        self._write(slot)

    def _write(self, slot: int) -> None:
        known, identities = self._known[slot], self.identities
        identities["kind"][slot] = known.kind
        identities["mapped"][slot] = known.mapped
        identities["retired"][slot] = known.retired
        identities["strike_1e9"][slot] = known.strike_1e9
        identities["expiration_ns"][slot] = known.expiration_ns
        self._links.update(slot)

    def _open(self, instrument_id: int) -> int:
        if self._free:
            return self._open_again(instrument_id)
        if self.slots == self.capacity:
            self.grow()
        slot = open_slot(self.id_map, self.identities, self.seen, self.counts, instrument_id)
        self.note_opened()
        return int(slot)

    def _open_again(self, instrument_id: int) -> int:
        slot = self._free.popleft()
        self._vacant.discard(slot)
        self.note_opened()
        reopen_slot(self.id_map, self.identities, self.seen, slot, instrument_id)
        self._known[slot] = self._new(instrument_id)
        self._links.note_id(instrument_id)
        return slot

    def _resize(self, capacity_slots: int) -> None:
        self.identities = grow_rows(self.identities, capacity_slots)
        self.seen = grow_rows(self.seen, capacity_slots)
        id_map = _free_map(2 * capacity_slots)
        rehash(self.id_map, id_map)
        self.id_map = id_map
        self._links.write_to(self.identities)


def _free_map(entries_min: int) -> Records:
    id_map = np.zeros(1 << (entries_min - 1).bit_length(), IDMAP)
    id_map["slot"] = -1
    return id_map
