"""The bytes of a live session in shared memory, between the engine and its keeper.

One writes, the other reads. The engine receives straight into the ring and reads there; the keeper
moves the tail once what lies behind it is safely on disk. So whichever of the two dies, what was
received is still here. Blocks follow each other: 32 bytes of head, then bytes of a connection, an
entry of the journal or something that was found, padded to 32; none goes over the end.

Positions are counts of bytes since the beginning, eight aligned bytes each, with one writer each.
A block is written before the head that shows it: x86 keeps the order of stores, and on ARM each
store here is a call of the interpreter away from the next, with locks in it that are barriers.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ifd_fast.errors import DataError, IfdError, UsageError

__all__ = ["Block", "BlockKind", "RecordRing", "Word"]

MAGIC: Final = 0x1FD0_5EC0_4D00_0001
HEAD_BYTES: Final = 4096
BLOCK_HEAD_BYTES: Final = 32
SPACE_BYTES_MAX: Final = 1 << 20  # received at once, at most
SPACE_BYTES_LEAST: Final = 1 << 14  # less than that at the end is skipped
RESERVE_BYTES: Final = 1 << 18  # for the journal, when there is no room for the feed
CAPACITY_LEAST: Final = 1 << 20
OFFSET_BITS: Final = 48
PLAN_AT: Final = 256  # in the head: what the keeper is to do with what was found
PLAN_BYTES_MAX: Final = HEAD_BYTES - PLAN_AT - 8


class BlockKind(IntEnum):
    """What a block holds."""

    BYTES = 1  # of a connection
    ENTRY = 2  # of the journal
    SKIP = 3  # nothing: the next block begins at the start
    ROWS = 4  # window rows (found_blocks)
    SIGNALS = 5
    STATE = 6  # that begins, and why: JSON
    END = 7  # what the session says of itself: JSON
    HEALTH = 8  # the same, while it runs: JSON


class Word(IntEnum):
    """The words of the ring's head."""

    MAGIC = 0
    CAPACITY = 1
    HEAD = 2  # bytes written; the engine's
    TAIL = 3  # bytes that are safe; the keeper's
    CLOSED = 4  # the engine has ended the record; the engine's
    ENGINE_PID = 5
    KEEPER_PID = 6
    DURABLE = 7  # connection << 48 | offset; the keeper's
    ERRNO = 8  # of the last write that failed, 0 since one didn't; the keeper's
    FAILURES = 9  # writes that failed; the keeper's
    ENGINE_START = 11  # clock ticks since boot: a pid alone may be another's by now; the engine's
    RING_ID = 10  # drawn as the ring is made: positions of another ring mean nothing here
    STORED = 12  # up to here rows and signals are stored; the keeper's
    TOLD = 13  # up to here people were told; the keeper's


_HEAD: Final = int(Word.HEAD)  # an enumeration as an index costs more than the read
_TAIL: Final = int(Word.TAIL)
_BLOCK_HEAD: Final = struct.Struct("=4q")  # kind, bytes, connection, offset
_COUNT: Final = struct.Struct("=q")


class Block(NamedTuple):
    """One block: where it stands in the session, and its bytes where they lie."""

    kind: BlockKind
    connection: int
    offset: int
    data: NDArray[np.uint8]
    end: int  # the position behind it


class RecordRing:
    """A ring in the file `path`, which should lie in memory; made anew with `capacity_bytes`.

    Raises
    ------
    UsageError
        A capacity that is no multiple of 4096 or under 1 MiB.
    DataError
        A file that is no ring.
    """

    def __init__(self, path: Path, capacity_bytes: int | None = None) -> None:
        self.path = path
        if capacity_bytes is not None:
            _make(path, capacity_bytes)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._map = mmap.mmap(descriptor, 0)
        except ValueError:
            raise DataError(f"{path}: is no ring of a live record, but empty.") from None
        finally:
            os.close(descriptor)
        if len(self._map) <= HEAD_BYTES:
            raise DataError(f"{path}: is no ring of a live record.")
        self.words: NDArray[np.int64] = np.frombuffer(self._map, np.int64, len(Word))
        self._data: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8, offset=HEAD_BYTES)
        self._bytes = self._data.data  # slices of it and reads of `_counts` cost a third of numpy's
        self._counts = self.words.data
        self.capacity = int(self.words[Word.CAPACITY])
        if self.words[Word.MAGIC] != MAGIC or self.capacity != len(self._data):
            raise DataError(f"{path}: is no ring of a live record, or one of another version.")

    @property
    def plan(self) -> bytes:
        """What the engine wants done with what it finds; empty: nothing."""
        (count,) = _COUNT.unpack_from(self._map, PLAN_AT)
        return self._map[PLAN_AT + 8 : PLAN_AT + 8 + count]

    @plan.setter
    def plan(self, data: bytes) -> None:
        if len(data) > PLAN_BYTES_MAX:
            raise UsageError(
                f"What the keeper is told to do has {len(data):,} bytes; {PLAN_BYTES_MAX:,} is the "
                "most. Use fewer or shorter names of functions to call."
            )
        self._map[PLAN_AT + 8 : PLAN_AT + 8 + len(data)] = data
        _COUNT.pack_into(self._map, PLAN_AT, len(data))

    def touch(self) -> None:
        """Have every page in memory, so that none is missing later."""
        self._data[::4096] = self._data[::4096]

    def space(self) -> memoryview:
        """Return where the next bytes are to be received, in one piece; empty: no room now."""
        ahead = self._room(SPACE_BYTES_LEAST)  # may move the head to the start
        head, counts = self._counts[_HEAD], self._counts
        free = self.capacity - (head - counts[_TAIL])
        first = head % self.capacity + BLOCK_HEAD_BYTES
        count = max(0, min(ahead, free - RESERVE_BYTES - BLOCK_HEAD_BYTES, SPACE_BYTES_MAX))
        return self._bytes[first : first + count]

    def publish(self, kind: BlockKind, connection: int, offset: int, count: int) -> Block:
        """Show the `count` bytes that were put in `space` as a block."""
        head = self._counts[_HEAD]
        place = head % self.capacity
        _BLOCK_HEAD.pack_into(self._bytes, place, kind, count, connection, offset)
        first, end = place + BLOCK_HEAD_BYTES, head + BLOCK_HEAD_BYTES + _padded(count)
        self._counts[_HEAD] = end
        return Block(kind, connection, offset, self._data[first : first + count], end)

    def put(self, kind: BlockKind, connection: int, offset: int, data: bytes) -> None:
        """Write a whole block; the reserve is for these.

        Raises IfdError if even that is used up: the keeper has been behind for long.
        """
        if self._room(len(data)) < len(data) + BLOCK_HEAD_BYTES:
            raise IfdError(
                f"The journal has no room: the keeper of {self.path} has been behind for long. "
                "See what it says of the disk."
            )
        first = self._counts[_HEAD] % self.capacity + BLOCK_HEAD_BYTES
        self._data[first : first + len(data)] = np.frombuffer(data, np.uint8)
        self.publish(kind, connection, offset, len(data))

    def offer(self, kind: BlockKind, connection: int, offset: int, data: bytes) -> bool:
        """Write a whole block if that leaves the journal's reserve; say whether it was."""
        least = len(data) + BLOCK_HEAD_BYTES
        if self._room(least) < least:
            return False
        free = self.capacity - (self._counts[_HEAD] - self._counts[_TAIL])
        if free < least + BLOCK_HEAD_BYTES + RESERVE_BYTES:
            return False
        self.put(kind, connection, offset, data)
        return True

    def has_kept(self, position: int) -> bool:
        """Say whether what begins at `position`, before the tail maybe, still lies here whole.

        Ask again after it was read: the engine goes on writing.
        """
        ahead = self._counts[_HEAD] + SPACE_BYTES_MAX + 2 * BLOCK_HEAD_BYTES
        return bool(position + self.capacity >= ahead)

    def blocks(self, start: int) -> Iterator[Block]:
        """Yield the blocks from position `start` to the head as it is now."""
        head = int(self.words[Word.HEAD])
        while start < head:
            place = start % self.capacity
            kind, count, connection, offset = (
                self._data[place : place + BLOCK_HEAD_BYTES].view(np.int64).tolist()
            )
            first = place + BLOCK_HEAD_BYTES
            if kind == BlockKind.SKIP:
                start += self.capacity - place
                continue
            start += BLOCK_HEAD_BYTES + _padded(count)
            data = self._data[first : first + count]
            yield Block(BlockKind(kind), connection, offset, data, start)

    def close(self) -> None:
        """Let go of the memory, once nobody looks into it any more; the file stays."""
        del self._bytes, self._counts, self.words, self._data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _room(self, least: int) -> int:
        """Return how much room there is in one piece; what is too little at the end is skipped."""
        head, tail = self._counts[_HEAD], self._counts[_TAIL]
        free, ahead = self.capacity - (head - tail), self.capacity - head % self.capacity
        if ahead >= least + BLOCK_HEAD_BYTES or free <= ahead:
            return min(free, ahead) - BLOCK_HEAD_BYTES
        place = head % self.capacity
        self._data[place : place + BLOCK_HEAD_BYTES].view(np.int64)[0] = BlockKind.SKIP
        self.words[Word.HEAD] = head + ahead
        return free - ahead - BLOCK_HEAD_BYTES


def _padded(count: int) -> int:
    return -(-count // BLOCK_HEAD_BYTES) * BLOCK_HEAD_BYTES


def _make(path: Path, capacity_bytes: int) -> None:
    if capacity_bytes < CAPACITY_LEAST or capacity_bytes % HEAD_BYTES:
        raise UsageError(
            f"`capacity_bytes` must be {CAPACITY_LEAST:,} or more and a multiple of "
            f"{HEAD_BYTES}, was {capacity_bytes:,}."
        )
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.truncate(descriptor, HEAD_BYTES + capacity_bytes)
        words = np.zeros(len(Word), np.int64)
        words[Word.MAGIC], words[Word.CAPACITY] = MAGIC, capacity_bytes
        words[Word.RING_ID] = secrets.randbits(62)
        os.pwrite(descriptor, words.tobytes(), 0)
    finally:
        os.close(descriptor)
