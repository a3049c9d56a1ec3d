"""The keeper's first duty: what the engine received, from shared memory to the disk.

What is taken stays in the ring until it is synced; a write that fails is tried again from there,
so that a full disk costs time, and neither order nor bytes. What the engine found goes on to
whoever keeps rows, once all before it is synced.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ifd_fast.logs import get_logger
from ifd_fast.record_files import RecordFiles, encode_entry
from ifd_fast.record_ring import OFFSET_BITS, Block, BlockKind, RecordRing, Word
from ifd_fast.session_record import Entry, EntryKind

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FoundBlock", "FoundTaker", "RecordKeeper", "keep_record"]

SYNC_S: Final = 0.1  # groups; 250 ms are promised, and a sync takes its time
IDLE_S: Final = 0.002
RETRY_S: Final = 0.2
_FOUND: Final = frozenset({BlockKind.ROWS, BlockKind.SIGNALS, BlockKind.END})
_AT_ONCE: Final = frozenset({BlockKind.STATE, BlockKind.HEALTH})


class FoundBlock(NamedTuple):
    """A block of something that was found, copied out of the ring."""

    kind: BlockKind
    end: int  # the position behind it
    data: bytes


class FoundTaker(Protocol):
    """Who keeps what was found; nothing here may wait."""

    def take(self, blocks: list[FoundBlock], position: int) -> None:
        """Take blocks of what was found; all bytes before `position` are safe."""

    def tell_state(self, data: bytes) -> None:
        """Take a state, at once."""

    def tell_health(self, data: bytes) -> None:
        """Take what the session says of itself, at once."""

    def lose(self) -> None:
        """Note that something may be missing."""

    def finish(self) -> bool:
        """End; say whether all is stored."""


class RecordKeeper:
    """Moves blocks of `ring` into `files`, and what was found to `taker`."""

    def __init__(
        self, ring: RecordRing, files: RecordFiles, taker: FoundTaker | None = None
    ) -> None:
        """Begin where the last keeper has synced."""
        self.ring = ring
        self.files = files
        self._taker = taker
        self._found: list[FoundBlock] = []
        self._seen = int(ring.words[Word.TOLD])  # up to where states were told
        self._ring_id = int(ring.words[Word.RING_ID])
        self._taken = self._safe()
        ring.words[Word.TAIL] = self._taken
        self._place = 0, 0  # connection and offset that were written
        if taker is not None and self._taken:
            self._take_again(taker)

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
            elif block.kind == BlockKind.ENTRY:
                self.files.append_entry(block.data.tobytes())
                self._place = block.connection, block.offset
            elif block.kind in _FOUND:
                self._found.append(FoundBlock(block.kind, block.end, block.data.tobytes()))
            else:
                self._tell_at_once(block)
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
        if self._taker is not None:
            self._taker.take(self._found, self._taken)
        self._found = []

    def again(self, error: OSError) -> None:
        """Note a failure, and go back to what is synced; states and health are told the same."""
        words = self.ring.words
        for block in self.ring.blocks(self._taken):
            if block.kind in _AT_ONCE:
                self._tell_at_once(block)
        self._found = []
        words[Word.ERRNO] = error.errno or -1
        words[Word.FAILURES] += 1
        self.files.go_back()
        self._taken = int(words[Word.TAIL])

    def _tell_at_once(self, block: Block) -> None:
        if self._taker is None or block.end <= self._seen:
            return
        self._seen = block.end
        if block.kind == BlockKind.STATE:
            self._taker.tell_state(block.data.tobytes())
        elif block.kind == BlockKind.HEALTH:
            self._taker.tell_health(block.data.tobytes())

    def _take_again(self, taker: FoundTaker) -> None:
        """Give what was synced before to a new taker, from where the last one was not done.

        It lies in the ring until the engine writes over it, which takes seconds. If that is done,
        it can't be known here what is missing: the taker is told that something may be.
        """
        told, stored = int(self.ring.words[Word.TOLD]), int(self.ring.words[Word.STORED])
        for start in sorted({told, stored}):
            found = self._look_back(start)
            if found is not None:
                taker.take(found, self._taken)
                return
        taker.lose()

    def _look_back(self, start: int) -> list[FoundBlock] | None:
        """Return what was found from `start` on; None: it is written over."""
        found: list[FoundBlock] = []
        if start == self._taken:
            return found
        try:
            for block in self.ring.blocks(start) if self.ring.has_kept(start) else ():
                if block.end > self._taken or not self.ring.has_kept(start):
                    break
                if block.kind in _FOUND:
                    found.append(FoundBlock(block.kind, block.end, block.data.tobytes()))
        except ValueError:  # a head that was written over
            return None
        return found if self.ring.has_kept(start) else None

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
    taker: FoundTaker | None = None,
) -> bool:
    """Keep the record until the engine has closed it or is no more, and all of it is synced.

    An engine that died leaves an entry that says so. Returns whether what was found is stored.
    """
    log = get_logger("keeper")
    ring.words[Word.KEEPER_PID] = os.getpid()
    keeper = RecordKeeper(ring, files or RecordFiles(folder), taker)
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
            _go_back(keeper, error, sleep)
    keeper.files.close()
    return taker is None or taker.finish()


def _go_back(keeper: RecordKeeper, error: OSError, sleep: Callable[[float], None]) -> None:
    """Go back to what is synced; a disk that refuses even that is tried again until it doesn't.

    Until then nothing may be written: which files are open, and where they end, is not known.
    """
    while True:
        try:
            keeper.again(error)
        except OSError:
            sleep(RETRY_S)
        else:
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
