"""What an engine found, as bytes in the ring: kernel records, and who each one's instrument was.

A block holds n rows or n signals and n names, so that it can be read without any block before
it: a keeper that takes over from one that died begins at any of them. Rows leave the engine's
thread as they come from the kernels; frames are made of them elsewhere.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ifd_fast.errors import DataError
from ifd_fast.identities import Identity

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NAME", "Found", "decode_found", "encode_found", "pack_identity"]

_HEAD: Final = struct.Struct("<4q")  # records, bytes of a record, bytes of a name, withheld
_TEXTS: Final = ("symbol", "root", "underlying")
_MAPPED: Final = 1 << len(_TEXTS)

NAME: Final = np.dtype(
    [
        ("instrument_id", "<i8"),
        ("opened", "<i8"),
        ("expiration_ns", "<i8"),  # -1 if unknown
        ("strike", "<f8"),  # points; NaN if there is none
        ("has", "<i8"),  # which texts there are, one bit each: an empty one is one, too
        ("option_type", "S8"),
        ("symbol", "S144"),  # 71 characters on the wire, of two bytes each at most
        ("root", "S24"),
        ("underlying", "S48"),
    ]
)


class Found(NamedTuple):
    """One block's records, in their order."""

    records: NDArray[np.void]  # (n,) of the kernels' ROW or SIGNAL
    identities: list[Identity]  # whose each is
    withheld: bool  # alerts among them were nobody's business: late, or of a time before


def pack_identity(one: Identity) -> tuple[int | float | bytes, ...]:
    """Return an identity as an entry of NAME; raise DataError for a text that is too long."""
    texts = [one.symbol, one.root, one.underlying]
    has = sum(1 << bit for bit, text in enumerate(texts) if text is not None)
    return (
        one.instrument_id,
        one.opened,
        one.expiration_ns,
        math.nan if one.strike is None else one.strike,
        has | (_MAPPED if one.mapped else 0),
        (one.option_type or "").encode(),
        *(_encode_text(name, text) for name, text in zip(_TEXTS, texts, strict=True)),
    )


def encode_found(
    records: NDArray[np.void], names: NDArray[np.void], *, withheld: bool = False
) -> bytes:
    """Return a block of records (n,) and their names (n,) NAME."""
    head = _HEAD.pack(len(records), records.dtype.itemsize, names.dtype.itemsize, withheld)
    return b"".join((head, records.tobytes(), names.tobytes()))


def decode_found(data: bytes, kind: np.dtype[np.void]) -> Found:
    """Return what a block of records of `kind` holds; raise DataError if it isn't one."""
    count, record_bytes, name_bytes, withheld = _HEAD.unpack_from(data)
    sizes = record_bytes, name_bytes
    whole = _HEAD.size + count * sum(sizes)
    if sizes != (kind.itemsize, NAME.itemsize) or len(data) != whole:
        raise DataError(
            f"A block of rows in the ring has {len(data)} bytes, {count} x {sizes} were expected: "
            "it is of another version. The record holds all; `ifd replay` makes the rows again."
        )
    records = np.frombuffer(data, kind, count, _HEAD.size).copy()
    names = np.frombuffer(data, NAME, count, _HEAD.size + count * record_bytes)
    return Found(records, [_unpack(*one) for one in names.tolist()], bool(withheld))


def _unpack(
    instrument_id: int,
    opened: int,
    expiration_ns: int,
    strike: float,
    has: int,
    option_type: bytes,
    *texts: bytes,
) -> Identity:
    symbol, root, underlying = (
        text.decode() if has >> bit & 1 else None for bit, text in enumerate(texts)
    )
    return Identity(
        instrument_id=instrument_id,
        symbol=symbol,
        root=root,
        underlying=underlying,
        expiration_ns=expiration_ns,
        strike=None if math.isnan(strike) else strike,
        option_type=option_type.decode() or None,
        mapped=bool(has & _MAPPED),
        contract=None,  # no column of a row or a signal
        opened=opened,
    )


def _encode_text(name: str, text: str | None) -> bytes:
    data = (text or "").encode()
    if len(data) > NAME[name].itemsize:
        raise DataError(
            f"The {name} {text!r} has {len(data)} bytes; {NAME[name].itemsize} is the most a "
            "live session hands over, and more than the wire can hold."
        )
    return data
