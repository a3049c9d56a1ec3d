"""The canonical bytes of window rows in plain Python, value by value.

Contract: columns in order; a null byte before each value (1: it is null and nothing follows),
little endian, UTF-8 after its length as u32, times as int64 ns, dates as int32 days, -0.0 as 0.0.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

COVERS = ("pack_fixed", "pack_text")

FORMATS = {"i64": "<q", "u32": "<I", "i32": "<i", "f64": "<d"}


def pack_value(kind: str, value: Any) -> bytes:
    """Return one value's bytes; `kind` is a key of FORMATS or "text"."""
    if value is None:
        return b"\x01"
    if kind == "text":
        text = str(value).encode()
        return b"\x00" + struct.pack("<I", len(text)) + text
    if kind == "f64":
        value = 0.0 if value == 0 else value
    return b"\x00" + struct.pack(FORMATS[kind], value)


def digest_rows(kinds: list[str], rows: list[tuple[Any, ...]]) -> str | None:
    """Return the SHA-256 of the rows as they stand, or None of no rows."""
    if not rows:
        return None
    digest = hashlib.sha256()
    for row in rows:
        for kind, value in zip(kinds, row, strict=True):
            digest.update(pack_value(kind, value))
    return digest.hexdigest()
