"""The keeper's first duty: what the engine received, from shared memory to the disk.

What is taken stays in the ring until it is synced; a write that fails is tried again from there,
so that a full disk costs time, and neither order nor bytes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ifd_fast.logs import get_logger
from ifd_fast.record_files import RecordFiles, encode_entry
from ifd_fast.record_ring import OFFSET_BITS, BlockKind, RecordRing, Word
from ifd_fast.session_record import Entry, EntryKind

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RecordKeeper", "keep_record"]

SYNC_S: Final = 0.1  # groups; 250 ms are promised, and a sync takes its time
IDLE_S: Final = 0.002
RETRY_S: Final = 0.2


class RecordKeeper:
    """Moves blocks of `ring` into `files`."""

    def __init__(self, ring: RecordRing, files: RecordFiles) -> None:
        """Begin where the last keeper has synced."""
        self.ring = ring
        self.files = files
        self._ring_id = int(ring.words[Word.RING_ID])
        self._taken = self._safe()
        ring.words[Word.TAIL] = self._taken
        self._place = 0, 0  # connection and offset that were written

    @property
    def is_behind(self) -> bool:
        """Whether something lies in the ring that is not written."""
        return self._taken < int(self.ring.words[Word.HEAD])

    @property
    def has_unsynced(self) -> bool:
        """Whether something was written that is not synced."""
        return self._taken > int(self.ring.words[Word.TAIL])

    def write(self) -> bool:
        """Write what has come since; say whether there was anything.

        Raises OSError; then everything not synced is to be written again, which `again` sees to.
        """
        before = self._taken
        for block in self.ring.blocks(self._taken):
            if block.kind == BlockKind.BYTES:
                self.files.append(block.connection, block.data.data)
                self._place = block.connection, block.offset + len(block.data)
            else:
                self.files.append_entry(block.data.tobytes())
                self._place = block.connection, block.offset
            self._taken = block.end
        return self._taken > before

    def sync(self) -> None:
        """Have all that was written on the disk, and tell the engine."""
        self.files.sync(self._ring_id, self._taken)
        words = self.ring.words
        connection, offset = self._place
        if connection:
            words[Word.DURABLE] = connection << OFFSET_BITS | offset
        words[Word.TAIL] = self._taken
        words[Word.ERRNO] = 0

    def again(self, error: OSError) -> None:
        """Note a failure, and go back to what is synced."""
        words = self.ring.words
        words[Word.ERRNO] = error.errno or -1
        words[Word.FAILURES] += 1
        self.files.go_back()
        self._taken = int(words[Word.TAIL])

    def _safe(self) -> int:
        """Return the position up to which all is safe; a keeper may die before it has said so."""
        return max(int(self.ring.words[Word.TAIL]), self.files.position_in(self._ring_id))


def keep_record(
    ring: RecordRing,
    folder: Path,
    *,
    engine_alive: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
    files: RecordFiles | None = None,
) -> None:
    """Keep the record until the engine has closed it or is no more, and all of it is synced.

    An engine that died leaves an entry that says so.
    """
    log = get_logger("keeper")
    ring.words[Word.KEEPER_PID] = os.getpid()
    keeper = RecordKeeper(ring, files or RecordFiles(folder))
    synced_s = time.monotonic()
    ends = False
    while True:
        try:
            ended = bool(ring.words[Word.CLOSED]) or not engine_alive()
            moved = keeper.write()
            if keeper.has_unsynced and (ended or time.monotonic() - synced_s >= SYNC_S):
                keeper.sync()
                synced_s = time.monotonic()
            if ended and not keeper.is_behind and not keeper.has_unsynced:
                if bool(ring.words[Word.CLOSED]) or ends:
                    break
                ends = True
                _note_death(ring)
            elif not moved:
                sleep(IDLE_S)
        except OSError as error:
            if int(ring.words[Word.ERRNO]) != (error.errno or -1):
                reason = error.strerror or str(error)
                log.warning("the record can't be written", reason=reason, folder=str(folder))
            sleep(RETRY_S)
            _go_back(keeper, error)
    keeper.files.close()


def _go_back(keeper: RecordKeeper, error: OSError) -> None:
    """Go back to what is synced; a disk that refuses even that is tried again later."""
    try:
        keeper.again(error)
    except OSError:
        return


def _note_death(ring: RecordRing) -> None:
    """Write the entry that the engine could not: its last connection ended with it."""
    last = (0, 0)
    durable = int(ring.words[Word.DURABLE])
    if durable:
        last = durable >> OFFSET_BITS, durable & ((1 << OFFSET_BITS) - 1)
    entry = Entry(*last, EntryKind.CONNECTION_END, {"reason": "engine died"})
    line = encode_entry(entry)
    ring.put(BlockKind.ENTRY, *last, line)
