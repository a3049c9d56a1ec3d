"""Every instrument of a session: dense slots, identities, names, and how they change.

An instrument id means one instrument at a time. Its first record opens a slot whether or not
anybody has named it; a definition or a mapping that comes later names that slot. One that gives
a named id another symbol retires the slot, for good, and opens a new one. An option's type,
strike, expiration and underlying come from its definition alone; a symbol by itself identifies
nothing but a future.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ifd_fast.definitions import Definition, Leg, Status, SymbolMapping
from ifd_fast.errors import DataError, UsageError
from ifd_fast.identities import Identity, frame_identities
from ifd_fast.instrument_links import Known, Links
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
    resolve_batch,
)
from ifd_kernels.layout import (
    IDENTITY,
    KIND_CALL,
    KIND_FUTURE,
    KIND_PUT,
    KIND_SPREAD,
    NEED_SLOTS,
    UNDEF_PRICE,
    Ring,
)

if TYPE_CHECKING:
    import polars as pl

__all__ = ["OPTION_TYPES", "Instruments", "Retirement"]

Records: TypeAlias = NDArray[Any]

OPTION_TYPES: Final = {KIND_CALL: "C", KIND_PUT: "P", KIND_FUTURE: "F", KIND_SPREAD: "S"}
_OPTIONS: Final = frozenset({KIND_CALL, KIND_PUT})
_ID_MAX: Final = 2**32 - 1

# DBN's StatusAction; is_trading decides where it says Y or N.
_ACTION_TRADING: Final = 7
_ACTIONS_HALTED: Final = frozenset({8, 9, 10, 12, 15})  # halt, pause, suspend, close, unavailable

_COUNTERS: Final = (
    *("definitions", "definitions_repeated", "definitions_changed"),
    *("deletions", "deletions_ignored"),
    *("mappings", "mappings_ignored", "statuses", "retired"),
)


class Retirement(NamedTuple):
    """An id that began to mean another instrument."""

    at_ns: int
    instrument_id: int
    slot: int
    successor: int


class Instruments:
    """Owns the slots of a session.

    `identities`, `seen` (k,) and `id_map` (at least 2 k) are what kernels read; they are other
    arrays after a growth, so take them anew after each call of a method.

    Parameters
    ----------
    capacity_slots
        Room at the start; doubled when it is full.
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
        self.counters: dict[str, int] = dict.fromkeys(_COUNTERS, 0)
        self._slots_max = slots_max
        self._known: list[Known] = []
        self._links = Links(self._known, self.slot_of)
        self._resize(capacity_slots)

    @property
    def capacity(self) -> int:
        """Slots there is room for; other tables by slot need as many."""
        return len(self.identities)

    @property
    def slots(self) -> int:
        """Slots in use, retired ones too."""
        return int(self.counts[SLOTS])

    @property
    def unmapped_slots(self) -> int:
        """Slots without a known identity."""
        return int(np.count_nonzero(self.identities["mapped"][: self.slots] == 0))

    @property
    def unmapped_records(self) -> int:
        """Records so far of slots that have no known identity now."""
        unmapped = self.identities["mapped"][: self.slots] == 0
        return int(self.seen["records"][: self.slots][unmapped].sum())

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
            self._known.append(Known(instrument_id))
            self._links.note_id(instrument_id)

    def grow(self) -> None:
        """Double the room for slots; what is there keeps its place.

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
        self._resize(min(self.capacity * 2, self._slots_max))

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
        known = self._known[slot]
        return Identity(
            instrument_id=known.instrument_id,
            symbol=known.symbol,
            root=known.root,
            underlying=known.underlying,
            expiration_ns=known.expiration_ns,
            strike=None if known.strike_1e9 == UNDEF_PRICE else known.strike_1e9 / 1e9,
            option_type=OPTION_TYPES.get(known.kind),
            mapped=known.mapped,
            contract=known.contract,
        )

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
            "slots": self.slots,
            "opened_by_record": int(self.counts[ANONYMOUS]),
            "unmapped_slots": self.unmapped_slots,
            "unmapped_records": self.unmapped_records,
            **self.counters,
        }

    def frame(self) -> pl.DataFrame:
        """Return one row a slot, retired and unmapped ones too, as `instruments.parquet` has it."""
        rows = [self.identity(slot) for slot in range(self.slots)]
        seen = self.seen[: self.slots]
        return frame_identities(rows, seen["first_ns"], seen["last_ns"])

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
        is_option = definition.kind in _OPTIONS
        strike_1e9 = definition.strike_1e9 if is_option else UNDEF_PRICE
        whole = strike_1e9 != UNDEF_PRICE and definition.expiration_ns != -1
        is_future = definition.kind == KIND_FUTURE
        future = parse_futures_symbol(definition.raw_symbol) if is_future else None
        new = Known(
            instrument_id=old.instrument_id,
            symbol=definition.raw_symbol,
            root=definition.asset or None,
            contract=None if future is None else future.contract,
            underlying=definition.underlying or None,
            underlying_id=definition.underlying_id,
            kind=definition.kind,
            strike_1e9=strike_1e9,
            expiration_ns=definition.expiration_ns,
            mapped=whole or not is_option,
            legs=_merge(old.legs, definition.legs),
        )
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
        if self.slots == self.capacity:
            self.grow()
        slot = open_slot(self.id_map, self.identities, self.seen, self.counts, instrument_id)
        self.note_opened()
        return int(slot)

    def _resize(self, capacity_slots: int) -> None:
        self.identities = _longer(self.identities, capacity_slots)
        self.seen = _longer(self.seen, capacity_slots)
        id_map = _free_map(2 * capacity_slots)
        rehash(self.id_map, id_map)
        self.id_map = id_map
        self._links.write_to(self.identities)


def _free_map(entries_min: int) -> Records:
    id_map = np.zeros(1 << (entries_min - 1).bit_length(), IDMAP)
    id_map["slot"] = -1
    return id_map


def _longer(array: Records, length: int) -> Records:
    longer = np.zeros(length, array.dtype)
    longer[: len(array)] = array
    return longer


def _merge(old: tuple[Leg, ...], new: tuple[Leg, ...]) -> tuple[Leg, ...]:
    if not old or not new:
        return old or new
    legs = {leg.index: leg for leg in (*old, *new)}
    return tuple(legs[index] for index in sorted(legs))
