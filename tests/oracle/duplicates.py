"""What a connection brings again after a reconnect, one record after the other, in plain Python.

Rules: a gateway asked to replay from `from_ns` sends each instrument's MBO records whose ts_event
is then or later, in their first order. If n of an instrument's were delivered before, the first n
such records of it are dropped. What says the same is the same: all that an MBO record holds but
its length, ts_recv, ts_in_delta and ts_out, which belong to a capture and not to the market.
"""

from __future__ import annotations

from collections import Counter, defaultdict

__all__ = ["drop_delivered", "list_delivered"]

# The first means `says`, as one number; the other finds an instrument among those delivered.
COVERS = ("fingerprint", "place_of")

MBO = 0xA0
MBO_BYTES = 56
SNAPSHOT = 32


def records(data: bytes) -> list[bytes]:
    """Return the whole records of `data`."""
    found = []
    while len(data) >= 1 and len(data) >= data[0] * 4 > 0:
        found.append(data[: data[0] * 4])
        data = data[data[0] * 4 :]
    return found


def replayed(record: bytes, from_ns: int) -> bool:
    """Say whether a replay from `from_ns` holds this record."""
    is_mbo = record[1] == MBO and len(record) >= MBO_BYTES
    return is_mbo and int.from_bytes(record[8:16], "little", signed=True) >= from_ns


def says(record: bytes) -> bytes:
    """Return what a record says of the market."""
    return record[1:40] + record[52:56]


def list_delivered(data: bytes, from_ns: int, *, snapshots: bool) -> list[tuple[int, bytes]]:
    """Return (instrument, what it says) of each record that a replay would hold.

    Without `snapshots`, those of a snapshot are left out: it was made for one connection.
    """
    return [
        (int.from_bytes(one[4:8], "little"), says(one))
        for one in records(data)
        if replayed(one, from_ns) and (snapshots or not one[36] & SNAPSHOT)
    ]


def drop_delivered(
    data: bytes, from_ns: int, delivered: list[tuple[int, bytes]]
) -> tuple[bytes, int, int]:
    """Return the records to keep, how many were dropped, and how many of those were changed."""
    before: dict[int, list[bytes]] = defaultdict(list)
    for instrument, said in delivered:
        before[instrument].append(said)
    seen: Counter[int] = Counter()
    kept, changed = b"", 0
    for one in records(data):
        instrument = int.from_bytes(one[4:8], "little")
        if replayed(one, from_ns) and seen[instrument] < len(before[instrument]):
            changed += says(one) != before[instrument][seen[instrument]]
            seen[instrument] += 1
        else:
            kept += one
    return kept, sum(seen.values()), changed
