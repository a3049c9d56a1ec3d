"""DBN records as bytes: exact ones for examples, legal and damaged ones for properties."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

__all__ = ["GOOD_ACTIONS", "MBO_FIELDS", "control", "damaged_streams", "header", "mbo", "streams"]

GOOD_ACTIONS = "ACMRTFN"
MBO_FIELDS = {  # name: (offset, bytes)
    "length": (0, 1),
    "rtype": (1, 1),
    "publisher_id": (2, 2),
    "instrument_id": (4, 4),
    "ts_event": (8, 8),
    "order_id": (16, 8),
    "price": (24, 8),
    "size": (32, 4),
    "flags": (36, 1),
    "channel_id": (37, 1),
    "action": (38, 1),
    "side": (39, 1),
    "ts_recv": (40, 8),
    "ts_in_delta": (48, 4),
    "sequence": (52, 4),
}
CONTROL_BYTES = {  # by version 1, 2, 3
    0x12: (40, 40, 40),
    0x13: (360, 400, 520),
    0x15: (80, 320, 320),
    0x16: (80, 176, 176),
    0x17: (80, 320, 320),
    0x18: (64, 64, 80),
    0x20: (56, 56, 56),
}


def mbo(
    *,
    action: str = "A",
    side: str = "B",
    order_id: int = 1,
    price: int = 5_000_000_000,
    size: int = 1,
    flags: int = 128,
    instrument_id: int = 7,
    ts_event: int = 1_000,
    ts_recv: int = 2_000,
    sequence: int = 3,
    ts_out: bool = False,
) -> bytes:
    """Return one MBO record."""
    body = struct.pack(
        "<BBHIQQqIBBBBQiI",
        *(16 if ts_out else 14, 0xA0, 1, instrument_id, ts_event, order_id, price, size),
        *(flags, 0, ord(action), ord(side), ts_recv, 100, sequence),
    )
    return body + (struct.pack("<Q", 3_000) if ts_out else b"")


def control(rtype: int, version: int = 3, *, ts_out: bool = False, fill: int = 0) -> bytes:
    """Return one record that is not MBO, of the length its version has."""
    size = CONTROL_BYTES[rtype][version - 1] + (8 if ts_out else 0)
    return bytes([size // 4, rtype]) + bytes([fill]) * (size - 2)


def header(version: int = 3, *, ts_out: bool = False, size: int | None = None) -> bytes:
    """Return a header with nothing in it but version and ts_out."""
    fixed = 100 + 4 + 4 * 4  # fields, length of a schema definition, four empty lists
    data = bytearray(struct.pack("<3sBI", b"DBN", version, size or fixed) + bytes(fixed))
    data[8 + (52 if version == 1 else 44)] = ts_out
    return bytes(data)


_words = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1])
_mbo = st.builds(
    mbo,
    action=st.sampled_from(GOOD_ACTIONS),
    side=st.sampled_from("ABN"),
    order_id=_words,
    price=_words.map(lambda value: value - 2**63),
    size=st.integers(0, 2**32 - 1),
    flags=st.integers(0, 255),
    instrument_id=st.integers(0, 2**32 - 1),
    ts_event=_words,
    ts_recv=_words,
    sequence=st.integers(0, 2**32 - 1),
)
_control = st.builds(control, st.sampled_from(sorted(CONTROL_BYTES)), fill=st.integers(0, 255))
_bad = st.builds(
    lambda a, s: mbo()[:38] + bytes([a, s]) + mbo()[40:], *[st.integers(0, 255)] * 2
) | st.builds(
    lambda words, rtype: bytes([words, rtype]) + bytes(words * 4 - 2),
    st.integers(4, 255),
    st.integers(0, 255),
)
_end = st.binary(max_size=60)

streams = st.lists(_mbo | _mbo | _control, max_size=30).map(b"".join)
damaged_streams = st.tuples(
    st.lists(_mbo | _mbo | _control | _bad, max_size=30).map(b"".join), _end
).map(b"".join)
