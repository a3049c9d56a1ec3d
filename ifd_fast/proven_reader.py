"""A live session's record, read ahead and proven by a thread while what came before is played.

A restart waits for its record: reading and checking it beside the play costs a second core, and
no time. Every byte is checked as it is first read.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from numpy.typing import NDArray

from ifd_fast.errors import DataError
from ifd_fast.record_files import connection_file
from ifd_fast.record_reader import RecordReader

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from concurrent.futures import Future

    from ifd_fast.record_files import Group

__all__ = ["ProvenReader"]

AHEAD_BYTES: Final = 1 << 22  # a piece; it takes the thread as long as its play takes the engine
AHEAD_PIECES: Final = 2


class ProvenReader(RecordReader):
    """The record in `folder`; `chunks` raises DataError at what is not as it was written.

    Parameters
    ----------
    folder
        Of the record.
    cores
        Where the thread may run, if not where this one does.
    """

    def __init__(self, folder: Path, cores: AbstractSet[int] = frozenset()) -> None:
        super().__init__(folder)
        self._proven: set[int] = set()
        self._cores = cores
        self._pool = ThreadPoolExecutor(1, "ifd-reader", self._choose_cores)

    def chunks(self, connection: int, first: int = 0) -> Iterator[NDArray[np.uint8]]:
        """Yield a connection's bytes from `first` on, in pieces; the first time they are proven."""
        if connection in self._proven or self.ends.get(connection, 0) <= first:
            yield from super().chunks(connection, first)
            return
        pieces = _Pieces(self, connection, first)
        ahead: deque[Future[NDArray[np.uint8] | None]] = deque()
        try:
            ahead.extend(self._pool.submit(pieces.read) for _ in range(AHEAD_PIECES))
            while (data := ahead.popleft().result()) is not None:
                ahead.append(self._pool.submit(pieces.read))
                yield data
        finally:
            wait(ahead)
            pieces.close()
            if pieces.is_proven:
                self._proven.add(connection)

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _choose_cores(self) -> None:
        if self._cores:
            os.sched_setaffinity(0, self._cores)  # of this thread alone


class _Pieces:
    """One connection's file, read in order by one thread, each byte proven."""

    def __init__(self, reader: RecordReader, connection: int, first: int) -> None:
        self._path = connection_file(reader.folder, connection)
        self._file = self._path.open("rb", buffering=0)
        proofs = _proofs_of(reader.groups, connection, first)
        self._skip = first - proofs[0][0]  # of the first group: read to be proven, played before
        self._left = reader.ends[connection] - self._file.seek(proofs[0][0])
        self._proofs = ((count, crc) for _, count, crc in proofs)
        self._crc, self._missing, self._wanted = 0, 0, 0  # of the group at hand

    @property
    def is_proven(self) -> bool:
        """All of it was read, and is as it was written."""
        return not self._left and not self._missing and self._crc == self._wanted

    def read(self) -> NDArray[np.uint8] | None:
        """Return the next piece, None behind the last."""
        if self._left <= 0:
            return None
        data = np.empty(min(AHEAD_BYTES, self._left), np.uint8)
        count = self._file.readinto(data.data)
        if not count:
            raise DataError(f"{self._path}: lacks {self._left:,} bytes that were recorded.")
        self._left -= count
        self._prove(data[:count])
        skipped = min(self._skip, count)
        self._skip -= skipped
        return data[skipped:count]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _prove(self, data: NDArray[np.uint8]) -> None:
        while len(data):
            if not self._missing:
                self._missing, self._wanted = next(self._proofs)
                self._crc = 0
            part, data = data[: self._missing], data[self._missing :]
            self._crc = zlib.crc32(part.data, self._crc)
            self._missing -= len(part)
            if not self._missing and self._crc != self._wanted:
                raise DataError(
                    f"{self._path}: bytes before {self._file.tell() - len(data):,} are not those "
                    "that were recorded. The record was changed, or its disk is failing."
                )


def _proofs_of(groups: list[Group], connection: int, least: int) -> list[tuple[int, int, int]]:
    """Return first byte, bytes and CRC-32 of each group's part of a connection behind `least`."""
    return [
        (first, count, crc)
        for group in groups
        for number, first, count, crc in group.connections
        if number == connection and first + count > least
    ]
