"""Reading a live session's record: what is proven, and whether it is as it was written."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ifd_fast.errors import DataError
from ifd_fast.record_files import CHECKS, JOURNAL, connection_file, decode_entry, read_groups
from ifd_fast.session_record import Entry

__all__ = ["RecordReader", "crc_of", "is_record"]

READ_BYTES: Final = 1 << 21


def is_record(path: Path) -> bool:
    """Say whether a folder holds the record of a live session."""
    return (path / CHECKS).is_file() and (path / JOURNAL).is_file()


class RecordReader:
    """The record in `folder`; opening it reads no connection.

    Attributes
    ----------
    entries
        The journal, in order.
    groups
        What was synced together, in order.
    ends
        Bytes of each connection that are proven, by its number.
    cut_bytes
        What lies behind them: a crash cut it short, and it counts for nothing.

    Raises
    ------
    DataError
        If the folder holds no record, or the journal or a file is not what was proven.
    """

    def __init__(self, folder: Path) -> None:
        if not is_record(folder):
            raise DataError(f"{folder}: holds no record of a live session, as `ifd live` writes.")
        self.folder = folder
        self.groups = list(read_groups(folder))
        self.ends: dict[int, int] = {}
        journal_end = 0
        for group in self.groups:
            for connection, first, count, _ in group.connections:
                self.ends[connection] = first + count
            journal_end = group.journal[0] + group.journal[1]
        journal = (folder / JOURNAL).read_bytes()
        self.cut_bytes = len(journal) - journal_end
        self._check_journal(journal)
        self.entries: list[Entry] = [
            decode_entry(line) for line in journal[:journal_end].splitlines()
        ]
        for path in sorted(folder.glob("[0-9][0-9][0-9][0-9].dbn")):
            self._check_size(path)

    def chunks(self, connection: int, first: int = 0) -> Iterator[NDArray[np.uint8]]:
        """Yield a connection's bytes from byte `first` on, in pieces."""
        left = self.ends.get(connection, 0) - first
        if left <= 0:
            return
        with connection_file(self.folder, connection).open("rb", buffering=0) as file:
            file.seek(first)
            while left > 0:
                data = np.empty(min(READ_BYTES, left), np.uint8)  # bytes would be copied once more
                count = file.readinto(data.data)
                if not count:
                    return
                left -= count
                yield data[:count]

    def verify(self) -> None:
        """Read everything; raise DataError for the first group that is not as it was written."""
        for group in self.groups:
            for connection, first, count, crc in group.connections:
                path = connection_file(self.folder, connection)
                if crc_of(path, first, count) != crc:
                    raise DataError(
                        f"{path}: bytes {first:,} to {first + count:,} are not those that were "
                        "recorded. The record was changed, or its disk is failing."
                    )

    def _check_journal(self, journal: bytes) -> None:
        for group in self.groups:
            first, count, crc = group.journal
            if zlib.crc32(journal[first : first + count]) != crc:
                raise DataError(
                    f"{self.folder / JOURNAL}: bytes {first:,} to {first + count:,} are not those "
                    "that were recorded. The record was changed, or its disk is failing."
                )

    def _check_size(self, path: Path) -> None:
        proven = self.ends.get(int(path.stem), 0)
        behind = path.stat().st_size - proven
        if behind < 0:
            raise DataError(f"{path}: lacks {-behind:,} of {proven:,} bytes that were recorded.")
        self.cut_bytes += behind


def crc_of(path: Path, first: int, count: int) -> int:
    """Return the CRC-32 of some bytes of a file, of fewer if it has fewer."""
    crc = 0
    with path.open("rb") as file:
        file.seek(first)
        while count > 0 and (data := file.read(min(READ_BYTES, count))):
            crc = zlib.crc32(data, crc)
            count -= len(data)
    return crc
