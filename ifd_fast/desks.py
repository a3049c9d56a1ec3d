"""Records that are not MBO: definitions, mappings and trading states, taken in stream order."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from ifd_fast.definitions import decode_definitions, decode_mapping, decode_status
from ifd_kernels.layout import (
    RTYPE_DEFINITION,
    RTYPE_ERROR,
    RTYPE_STATISTICS,
    RTYPE_STATUS,
    RTYPE_SYMBOL_MAPPING,
    RTYPE_SYSTEM,
)
from ifd_kernels.pressure import note_halt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ifd_fast.engine import FlowEngine
    from ifd_fast.framing import Handed

__all__ = ["RecordDesk", "count_types"]

_NAMES: Final = {
    RTYPE_STATUS: "status",
    RTYPE_DEFINITION: "definition",
    RTYPE_ERROR: "error",
    RTYPE_SYMBOL_MAPPING: "symbol_mapping",
    RTYPE_SYSTEM: "system",
    RTYPE_STATISTICS: "statistics",
}


def count_types(records: Sequence[Handed]) -> Counter[str]:
    """Return how many records there are of each type, by name."""
    return Counter(_NAMES.get(one.rtype, f"rtype_{one.rtype}") for one in records)


class RecordDesk:
    """Hands control records of one stream to the engine's instruments; counts them by type.

    A definition takes effect where it stands: events before it have been applied.
    """

    def __init__(self, version: int) -> None:
        """Decode records as DBN `version` (1 to 3) writes them."""
        self.version = version
        self.counts: Counter[str] = Counter()

    def take(self, engine: FlowEngine, records: Sequence[Handed]) -> None:
        """Handle consecutive records; types that change nothing here are counted only."""
        self.counts += count_types(records)
        for rtype, group in groupby(records, key=attrgetter("rtype")):
            run = [one.data for one in group]
            if rtype == RTYPE_DEFINITION:
                for definition in decode_definitions(run, self.version):
                    engine.instruments.add_definition(definition, definition.ts_recv_ns)
            elif rtype == RTYPE_SYMBOL_MAPPING:
                for data in run:
                    engine.instruments.add_symbol_mapping(decode_mapping(data, self.version))
            elif rtype == RTYPE_STATUS:
                for data in run:
                    self._take_status(engine, data)
        engine.use_slots()

    def _take_status(self, engine: FlowEngine, data: bytes) -> None:
        """Set the trading state, and have the windows of a halted instrument say so."""
        status = decode_status(data)
        slot = engine.instruments.note_status(status)
        engine.use_slots()
        halted = int(engine.instruments.identities[slot]["halted"])
        touch = engine.state.book.touch[slot]
        bid, ask = int(touch["bid_price_1e9"]), int(touch["ask_price_1e9"])
        note_halt(engine.state.flow, slot, status.ts_event_ns, halted, bid, ask)
