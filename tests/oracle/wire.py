"""What framing a DBN stream means, one record after the other, in plain Python.

Rules: records are walked by their length byte (32-bit words). A length under a header's 16 bytes
can't be walked: nothing after it is read. A record is an event (MBO), is handed out (any other
record type of DBN 1 to 3), or is skipped for the first reason that applies: unknown record type,
wrong length, unknown action, unknown side.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Event", "Outcome", "frame_batch", "frame_stream", "judge_record"]

# Leaves of the kernel: `read_event` and `judge_record` say what they find, `frame_batch` keeps it.
COVERS = ("has_known_action", "has_known_side", "note_refusal", "write_event")

UNDEF_TIME = -1
KNOWN_RTYPES = {0x00, 0x01, 0x0A, 0x11, *range(0x12, 0x19), *range(0x20, 0x25)} | {
    0xA0,
    0xB1,
    *range(0xC0, 0xC5),
}
HEADER_BYTES = 16


class Event(NamedTuple):
    """One MBO record; times ns UTC or -1, price at 1e-9."""

    ts_event_ns: int
    ts_recv_ns: int
    order_id: int
    price_1e9: int
    size: int
    instrument_id: int
    sequence: int
    flags: int
    action: int
    side: int


class Outcome(NamedTuple):
    """What one call finds: why it stopped, where, and all it read, in stream order."""

    status: str
    next_offset: int
    events: list[Event]
    handed: list[tuple[int, int]]  # (offset, length)
    skipped: list[tuple[str, int, int]]  # (reason, offset, length)


def _unsigned(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little")


def _time(data: bytes, offset: int) -> int:
    value = _unsigned(data, offset, 8)
    return value if value < 2**63 else UNDEF_TIME


def read_event(data: bytes, offset: int) -> Event:
    """Return the MBO record at `offset`; field by field as DBN lays them out."""
    return Event(
        ts_event_ns=_time(data, offset + 8),
        ts_recv_ns=_time(data, offset + 40),
        order_id=_unsigned(data, offset + 16, 8),
        price_1e9=int.from_bytes(data[offset + 24 : offset + 32], "little", signed=True),
        size=_unsigned(data, offset + 32, 4),
        instrument_id=_unsigned(data, offset + 4, 4),
        sequence=_unsigned(data, offset + 52, 4),
        flags=data[offset + 36],
        action=data[offset + 38],
        side=data[offset + 39],
    )


def judge_record(data: bytes, offset: int, record_bytes: dict[int, int]) -> str:
    """Return "event", "handed" or the reason why the whole record at `offset` is skipped."""
    length, rtype = data[offset] * 4, data[offset + 1]
    if rtype not in KNOWN_RTYPES:
        return "unknown_rtype"
    if rtype == 0xA0:
        if length != record_bytes[0xA0]:
            return "bad_length"
        if chr(data[offset + 38]) not in "ACMRTFN":
            return "bad_action"
        if chr(data[offset + 39]) not in "ABN":
            return "bad_side"
        return "event"
    # A newer gateway may append fields to a record, so longer is fine; shorter lacks some.
    return "handed" if length >= record_bytes.get(rtype, HEADER_BYTES) else "bad_length"


def frame_batch(
    data: bytes,
    start: int,
    stop: int,
    record_bytes: dict[int, int],
    event_room: int,
    handed_room: int,
) -> Outcome:
    """Read records of `data[start:stop]` until something has to be done first."""
    events: list[Event] = []
    handed: list[tuple[int, int]] = []
    skipped: list[tuple[str, int, int]] = []
    offset, status = start, "DONE"
    while offset < stop:
        length = data[offset] * 4
        if length < HEADER_BYTES:
            status = "REFUSED"
            break
        if offset + length > stop:
            break
        verdict = judge_record(data, offset, record_bytes)
        if verdict == "event" and handed:
            status = "HANDED_OUT"
            break
        if verdict == "event" and len(events) == event_room:
            status = "RING_FULL"
            break
        if verdict == "handed" and len(handed) == handed_room:
            status = "HANDED_OUT"
            break
        if verdict == "event":
            events.append(read_event(data, offset))
        elif verdict == "handed":
            handed.append((offset, length))
        else:
            skipped.append((verdict, offset, length))
        offset += length
    return Outcome(status, offset, events, handed, skipped)


def frame_stream(data: bytes, record_bytes: dict[int, int]) -> Outcome:
    """Read the whole of `data` with nothing in the way; keeps the order within each list."""
    events: list[Event] = []
    handed: list[tuple[int, int]] = []
    skipped: list[tuple[str, int, int]] = []
    offset, status = 0, "HANDED_OUT"
    while status == "HANDED_OUT":
        part = frame_batch(data, offset, len(data), record_bytes, len(data), len(data))
        status, offset = part.status, part.next_offset
        events += part.events
        handed += part.handed
        skipped += part.skipped
    return Outcome(status, offset, events, handed, skipped)
