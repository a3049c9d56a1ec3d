"""Control records act in stream order, however the stream is cut."""

from __future__ import annotations

import struct

import pytest

from ifd_fast.desks import RecordDesk
from ifd_fast.engine import FlowEngine
from ifd_fast.framing import Framer
from tests.strategies_engine import OPEN, as_bytes, event, make_engine
from tests.strategies_wire import control

SETTINGS = {"window_s": 300, "step_s": 300, "lateness_ns": 0}


def mapping(instrument_id: int, symbol: str) -> bytes:
    """Return a symbol mapping of version 3."""
    head = struct.pack("<BBHIQ", 44, 0x16, 1, instrument_id, OPEN)
    texts = b"\x04" + b"NQ.FUT".ljust(71, b"\0") + b"\x01" + symbol.encode().ljust(71, b"\0")
    return (head + texts).ljust(176, b"\0")


def definition(instrument_id: int, symbol: str) -> bytes:
    """Return a definition of a future, version 3."""
    data = bytearray(
        struct.pack("<BBHIQQ", 130, 0x13, 1, instrument_id, OPEN, OPEN).ljust(520, b"\0")
    )
    data[238 : 238 + len(symbol)] = symbol.encode()
    data[487:488], data[493:494] = b"F", b"A"
    return bytes(data)


def play(*chunks: bytes) -> tuple[FlowEngine, RecordDesk]:
    """Return an engine and the desk that handed it the control records."""
    engine, desk = make_engine(SETTINGS), RecordDesk(3)
    engine.on_records = lambda records: desk.take(engine, records)
    framer = Framer(engine.state.ring, 3)
    for chunk in chunks:
        engine.feed(framer, chunk)
    return engine, desk


def test_records_of_different_types_act_in_their_order() -> None:
    """A mapping before a definition of the same id: the definition's name stands, cut or not."""
    records = [mapping(50, "NQM4"), definition(50, "NQU4"), as_bytes([event(OPEN)])]
    for chunks in ([b"".join(records)], records):
        engine, _ = play(*chunks)
        assert engine.instruments.identity(engine.instruments.slot_of(50)).symbol == "NQU4"


def test_records_are_counted_by_type() -> None:
    """Types that change nothing are counted by their names, unknown ones by number."""
    data = control(0x12) + control(0x17) * 2 + control(0x20) + mapping(50, "NQM4")
    _, desk = play(data)
    expected = {"status": 1, "system": 2, "rtype_32": 1, "symbol_mapping": 1}
    assert dict(desk.counts) == expected


@pytest.mark.parametrize("cut", [1, 100, 177, 300])
def test_a_name_takes_effect_where_it_stands(cut: int) -> None:
    """Another symbol for an id opens a new slot for the events after it, none before."""
    first = as_bytes([event(OPEN, instrument_id=50)])
    data = mapping(50, "NQM4") + first + mapping(50, "NQU4") + first
    engine, _ = play(data[:cut], data[cut:])
    symbols = [engine.instruments.identity(slot).symbol for slot in range(engine.instruments.slots)]
    assert symbols[-2:] == ["NQM4", "NQU4"]
    assert engine.instruments.seen["records"][engine.instruments.slots - 2 :][:2].tolist() == [1, 1]
