"""The head of a DBN file or live stream: magic, version, length, metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ifd_fast.errors import FormatError, TruncatedError

__all__ = ["DBZ_REFUSAL", "VERSIONS", "Header", "HeaderReader", "refuse_version"]

Buffer: TypeAlias = bytes | bytearray | memoryview | NDArray[np.uint8]

VERSIONS: Final = (1, 2, 3)
DBZ_REFUSAL: Final = "a legacy DBZ file; convert it with dbn-cli: `dbn FILE --dbn --output NEW.dbn`"
_PREFIX_BYTES: Final = 8  # magic, version, length of the metadata
# Fixed fields and the length of a schema definition; the decoder panics on less.
_METADATA_BYTES_MIN: Final = 104
_METADATA_BYTES_MAX: Final = 1 << 28  # all 700,000 symbols of a venue take a third of it
_TS_OUT_OFFSET: Final = {1: 8 + 52, 2: 8 + 44, 3: 8 + 44}
_FOREIGN_MAGIC: Final = {
    b"\x28\xb5\x2f\xfd": "zstd-compressed data; decompress it first",
    b"DBZ": DBZ_REFUSAL,
}


def refuse_version(name: str, version: int) -> str:
    """Return the message for a version that can't be read."""
    return (
        f"{name}: byte 3 says DBN version {version}; versions 1 to 3 are read. "
        "Convert it to version 3 with dbn-cli or databento's DBNDecoder."
    )


@dataclass(frozen=True, slots=True)
class Header:
    """The metadata at the head of a DBN file or live stream, still encoded.

    `data` is all of it with magic and length, so that records start at byte len(data).
    """

    version: int
    ts_out: bool
    data: bytes


class HeaderReader:
    """Collects a header from any chunking; memory follows the bytes that came."""

    def __init__(self, name: str = "stream") -> None:
        self._name = name
        self._data = bytearray()

    def feed(self, chunk: Buffer) -> tuple[Header | None, int]:
        """Take bytes; return the header once it is whole, and how many bytes of `chunk` it took.

        Raises
        ------
        FormatError
            Not DBN, a version other than 1 to 3, or a metadata length out of bounds.
        """
        view = np.frombuffer(chunk, np.uint8)
        taken = self._take(view, 0, _PREFIX_BYTES)
        self._check_magic()
        if len(self._data) < _PREFIX_BYTES:
            return None, taken
        stop = _PREFIX_BYTES + self._metadata_bytes()
        taken = self._take(view, taken, stop)
        if len(self._data) < stop:
            return None, taken
        version = self._data[3]
        ts_out = self._data[_TS_OUT_OFFSET[version]] != 0
        return Header(version, ts_out, bytes(self._data)), taken

    def finish(self) -> None:
        """Raise TruncatedError: the stream ended and the header is not whole."""
        wanted = _PREFIX_BYTES
        if len(self._data) >= _PREFIX_BYTES:
            wanted += self._metadata_bytes()
        raise TruncatedError(
            f"{self._name}: ends at byte {len(self._data)} inside the DBN header of "
            f"{wanted} bytes. Fetch it again."
        )

    def _take(self, view: NDArray[np.uint8], start: int, stop: int) -> int:
        end = start + max(min(stop - len(self._data), len(view) - start), 0)
        self._data += view[start:end].tobytes()
        return end

    def _check_magic(self) -> None:
        head = bytes(self._data[:4])
        for magic, what in _FOREIGN_MAGIC.items():
            if head[: len(magic)] == magic:
                raise FormatError(f"{self._name}: byte 0 starts {what}.")
        if head[:3] != b"DBN"[: len(head)]:
            raise FormatError(
                f"{self._name}: bytes 0 to 2 must be 'DBN', were {head[:3]!r}: not a DBN stream."
            )
        if len(head) == 4 and head[3] not in VERSIONS:
            raise FormatError(refuse_version(self._name, head[3]))

    def _metadata_bytes(self) -> int:
        size = int.from_bytes(self._data[4:8], "little")
        if not _METADATA_BYTES_MIN <= size <= _METADATA_BYTES_MAX:
            raise FormatError(
                f"{self._name}: bytes 4 to 7 say {size} bytes of metadata; "
                f"{_METADATA_BYTES_MIN} to {_METADATA_BYTES_MAX} are legal. The file is damaged."
            )
        return size
