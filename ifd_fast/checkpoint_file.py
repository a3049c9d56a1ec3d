"""A checkpoint's file: a head in JSON and named arrays behind it, every byte proven by CRC-32.

Nothing in it is code: dtypes are descriptions, and what the head says is numbers and texts. It is
written aside and renamed, so that a file of this name is whole or was changed since.

    8 bytes   IFDCKPT and a version
    8 bytes   length of the head, little endian
    4 bytes   CRC-32 of the head; 44 bytes of nothing
    head      {"arrays": [{"name", "dtype", "shape", "first", "bytes", "crc"}], ...}
    arrays    each at a multiple of 64 bytes behind the head
"""

from __future__ import annotations

import ast
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ifd_fast.errors import DataError

__all__ = ["Arrays", "Head", "read_state", "write_state"]

Arrays: TypeAlias = dict[str, NDArray[Any]]
Head: TypeAlias = dict[str, Any]

MAGIC: Final = b"IFDCKPT\x01"
START_BYTES: Final = 64
LINE_BYTES: Final = 64
PIECE_BYTES: Final = 1 << 22  # synced at once: the keeper's syncs wait for no more than that


def write_state(path: Path, head: Mapping[str, Any], arrays: Arrays) -> int:
    """Write a checkpoint to `path`, whole or not at all; return its bytes."""
    listed, place = [], 0
    for name, array in arrays.items():
        data = _bytes_of(array)
        dtype = repr(np.lib.format.dtype_to_descr(array.dtype))
        listed.append({"name": name, "dtype": dtype, "shape": array.shape, "first": place,
                       "bytes": len(data), "crc": zlib.crc32(data)})  # fmt: skip
        place += _padded(len(data))
    text = json.dumps({**head, "arrays": listed}, separators=(",", ":")).encode()
    text += b" " * (_padded(len(text)) - len(text))
    start = MAGIC + len(text).to_bytes(8, "little") + zlib.crc32(text).to_bytes(4, "little")
    aside = path.with_suffix(".tmp")
    with aside.open("wb", buffering=0) as file:
        file.write(start.ljust(START_BYTES, b"\0") + text)
        for array in arrays.values():
            _write(file.fileno(), _bytes_of(array))
        os.fsync(file.fileno())
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return START_BYTES + len(text) + place


def read_state(path: Path) -> tuple[Head, Arrays]:
    """Return a checkpoint's head and its arrays, read-only.

    Raises
    ------
    DataError
        It is of another version, or not as it was written.
    """
    data = np.fromfile(path, np.uint8)
    start = data[:START_BYTES].tobytes()
    if start[: len(MAGIC)] != MAGIC:
        raise DataError(f"{path}: is no checkpoint, or one of another version.")
    end = START_BYTES + int.from_bytes(start[8:16], "little")
    text = data[START_BYTES:end].tobytes()
    if zlib.crc32(text) != int.from_bytes(start[16:20], "little"):
        raise DataError(f"{path}: its head is not as it was written: torn, or changed since.")
    head: Head = json.loads(text)
    arrays = {}
    for one in head.pop("arrays"):
        first = end + one["first"]
        part = data[first : first + one["bytes"]]
        if len(part) != one["bytes"] or zlib.crc32(part.data) != one["crc"]:
            raise DataError(f"{path}: `{one['name']}` is not as it was written: torn, or changed.")
        dtype = np.lib.format.descr_to_dtype(ast.literal_eval(one["dtype"]))
        arrays[one["name"]] = part.view(dtype).reshape(one["shape"])
    return head, arrays


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _write(descriptor: int, data: memoryview) -> None:
    """Write an array and its padding, synced piece by piece."""
    padding = bytes(_padded(len(data)) - len(data))
    for first in range(0, len(data), PIECE_BYTES):
        piece = data[first : first + PIECE_BYTES]
        while piece:
            piece = piece[os.write(descriptor, piece) :]
        if len(data) > PIECE_BYTES:
            os.fsync(descriptor)
    os.write(descriptor, padding)


def _padded(count: int) -> int:
    return -(-count // LINE_BYTES) * LINE_BYTES
