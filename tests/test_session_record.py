"""The record of a live session, as both of its sides see it; here the one in memory."""

from __future__ import annotations

import pytest

from ifd_fast.errors import UsageError
from ifd_fast.session_record import EntryKind, MemoryRecord


def receive(record: MemoryRecord, data: bytes) -> None:
    """Put `data` into the record as a socket would."""
    record.space()[: len(data)] = data
    assert record.received(len(data)).tobytes() == data


def test_entries_stand_at_the_offset_where_they_act() -> None:
    """An entry has the connection's number and the bytes received before it."""
    record = MemoryRecord()
    record.begin_connection(start_ns=None, snapshot=True, skip_from_ns=None)
    receive(record, b"abc")
    record.note(EntryKind.TICK, {"ts_ns": 5})
    receive(record, b"de")
    record.end_connection("eof")
    record.begin_connection(start_ns=3, snapshot=False, skip_from_ns=3)
    record.close()
    places = [(one.connection, one.offset, one.kind.value) for one in record.entries]
    assert places == [
        (1, 0, "connection_begin"),
        (1, 3, "tick"),
        (1, 5, "connection_end"),
        (2, 0, "connection_begin"),
        (2, 0, "connection_end"),
    ]
    assert b"".join(piece.tobytes() for piece in record.recorded(1)) == b"abcde"
    assert b"".join(piece.tobytes() for piece in record.recorded(1, 4)) == b"e"
    assert record.durable == record.position == (2, 0)


def test_bytes_need_an_open_connection_and_one_at_a_time() -> None:
    """Bytes outside a connection, and a connection inside another, are refused."""
    record = MemoryRecord()
    with pytest.raises(UsageError, match="begin_connection"):
        record.received(1)
    record.begin_connection(start_ns=None, snapshot=False, skip_from_ns=None)
    with pytest.raises(UsageError, match="end_connection"):
        record.begin_connection(start_ns=None, snapshot=False, skip_from_ns=None)
