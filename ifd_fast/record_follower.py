"""A record read while it is written: what each group proves, as soon as it is synced."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from ifd_fast.errors import DataError
from ifd_fast.record_files import CHECKS, JOURNAL, connection_file, decode_entry, decode_group
from ifd_fast.record_reader import RecordReader, crc_of

if TYPE_CHECKING:
    from ifd_fast.record_files import Group

__all__ = ["RecordFollower"]


class RecordFollower(RecordReader):
    """The record in `folder`, as far as it went when `refresh` was called last."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._checks_end = sum(len(group.line()) for group in self.groups)

    def refresh(self) -> int:
        """Take what was synced since; return how many groups. Bytes and journal are proven.

        Raises
        ------
        DataError
            Something is not as it was recorded.
        """
        with (self.folder / CHECKS).open("rb") as file:
            file.seek(self._checks_end)
            lines = file.read().splitlines(keepends=True)
        count = 0
        for line in lines:
            group = decode_group(line, len(self.groups)) if line.endswith(b"\n") else None
            if group is None:  # the keeper is writing it
                break
            self._take(group)
            self._checks_end += len(line)
            count += 1
        return count

    def _take(self, group: Group) -> None:
        first, count, crc = group.journal
        with (self.folder / JOURNAL).open("rb") as file:
            file.seek(first)
            journal = file.read(count)
        if zlib.crc32(journal) != crc:
            raise DataError(f"{self.folder / JOURNAL}: group {group.number} is not as recorded.")
        for connection, start, size, wanted in group.connections:
            path = connection_file(self.folder, connection)
            if crc_of(path, start, size) != wanted:
                raise DataError(f"{path}: group {group.number} is not as it was recorded.")
            self.ends[connection] = start + size
        self.entries += [decode_entry(line) for line in journal.splitlines()]
        self.groups.append(group)
