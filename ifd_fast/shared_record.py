"""The engine's side of a record that a keeper makes durable."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from ifd_fast.errors import IfdError, UsageError
from ifd_fast.keeper import ROWS_MISSING
from ifd_fast.processes import started_at
from ifd_fast.record_files import connection_file, encode_entry
from ifd_fast.record_reader import RecordReader, is_record
from ifd_fast.record_ring import OFFSET_BITS, BlockKind, RecordRing, Word
from ifd_fast.ring_rescue import CLOSE_S, refuse_second, start_keeper, take_up_ring
from ifd_fast.session_record import Entry, EntryKind, begin_payload

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ifd_fast.session_record import Json

__all__ = ["SharedRecord", "ring_path"]

CAPACITY_BYTES: Final = 256 << 20
LOOK_S: Final = 0.1
READ_BYTES: Final = 1 << 20
_NO_SPACE: Final = memoryview(b"")


def ring_path(folder: Path) -> Path:
    """Return where the ring of a record lies: in memory, by the record's own folder."""
    memory = Path("/dev/shm")  # noqa: S108  # the file is made with mode 0600, and must be new
    name = "ifd-" + "-".join(folder.resolve().parts[1:]) + ".ring"
    return (memory if memory.is_dir() else Path(tempfile.gettempdir())) / name


class SharedRecord:
    """A `SessionRecord` in shared memory, kept in `folder` by a process of its own.

    Raises
    ------
    AlreadyRunningError
        Another engine keeps this record.

    `plan` says what the keeper does with what is handed over (`keeper_plan`); empty: nothing.

    Attributes
    ----------
    before
        The record as an earlier run left it, None if there is none.
    """

    def __init__(
        self, folder: Path, capacity_bytes: int = CAPACITY_BYTES, plan: bytes = b""
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = ring_path(folder)
        take_up_ring(path, folder)
        try:
            self._ring = RecordRing(path, capacity_bytes)
        except FileExistsError:  # it began a moment ago
            refuse_second(path, folder)
        self._ring.words[Word.ENGINE_START] = started_at(os.getpid())
        self._ring.plan = plan
        self._ring.words[Word.ENGINE_PID] = os.getpid()  # last: then all is there
        self._ring.touch()
        self.before = RecordReader(folder) if is_record(folder) else None
        self._connection = _last_connection(self.before)
        self._received = 0
        self._is_open = False
        self._waiting: deque[tuple[BlockKind, int, int, bytes]] = deque()
        self.cores = os.sched_getaffinity(0)  # the keeper's
        self._keeper = self._start_keeper()

    def leave_core(self, core: int) -> None:
        """Have the keeper, and any that replaces it, run on the other cores, if there are any."""
        self.cores = (self.cores - {core}) or self.cores
        os.sched_setaffinity(self._keeper.pid, self.cores)

    def begin_connection(
        self, *, start_ns: int | None, snapshot: bool, skip_from_ns: int | None
    ) -> None:
        """Begin the next connection."""
        if self._is_open:
            raise UsageError("The connection before must be ended first: call `end_connection`.")
        self._is_open = True
        self._connection += 1
        self._received = 0
        payload = begin_payload(start_ns=start_ns, snapshot=snapshot, skip_from_ns=skip_from_ns)
        self.note(EntryKind.CONNECTION_BEGIN, payload)

    def space(self) -> memoryview:
        """Return where the next bytes are to be received; empty: the keeper is behind."""
        if self._waiting and not self._offer():
            return _NO_SPACE
        return self._ring.space()

    def hand_over(self, kind: BlockKind, data: bytes) -> None:
        """Give the keeper a block, for when all before it is safe.

        Where there is no room it waits here, and `space` is empty until it went in.
        """
        self._waiting.append((kind, *self.position, data))
        self._offer()

    @property
    def has_room(self) -> bool:
        """Whether nothing waits for room: what can be said later is better not said now."""
        return not self._waiting

    def received(self, count: int) -> NDArray[np.uint8]:
        """Take `count` bytes now in `space`; they lie there until they are safe, and longer."""
        if not self._is_open:
            raise UsageError("No connection is open: call `begin_connection` first.")
        block = self._ring.publish(BlockKind.BYTES, self._connection, self._received, count)
        self._received += count
        return block.data

    def _offer(self) -> bool:
        """Put what waits into the ring, in order; say whether nothing waits any more."""
        while self._waiting:
            if not self._ring.offer(*self._waiting[0]):
                return False
            self._waiting.popleft()
        return True

    def note(self, kind: EntryKind, payload: Mapping[str, Json]) -> None:
        """Add an entry to the journal at the present offset."""
        entry = Entry(self._connection, self._received, kind, dict(payload))
        self._ring.put(BlockKind.ENTRY, self._connection, self._received, encode_entry(entry))

    def end_connection(self, reason: str) -> None:
        """End the connection."""
        if self._is_open:
            self.note(EntryKind.CONNECTION_END, {"reason": reason})
        self._is_open = False

    def recorded(self, connection: int, first: int = 0) -> Iterator[NDArray[np.uint8]]:
        """Yield what a connection has received so far: from its file, then from the ring."""
        tail = int(self._ring.words[Word.TAIL])
        blocks = [
            block
            for block in self._ring.blocks(tail)
            if block.kind == BlockKind.BYTES and block.connection == connection
        ]
        held = self._received if connection == self._connection else None
        if self.before is not None and connection in self.before.ends:
            held = self.before.ends[connection]  # what lies behind is cut off as the keeper begins
        stop = blocks[0].offset if blocks else held
        path = connection_file(self.folder, connection)
        if path.is_file():
            yield from _read_up_to(path, first, stop)
        for block in blocks:
            yield block.data[max(first - block.offset, 0) :].copy()

    @property
    def position(self) -> tuple[int, int]:
        """Number of the connection, 0 before the first, and bytes received in it."""
        return self._connection, self._received

    @property
    def durable(self) -> tuple[int, int]:
        """Up to where everything lies safely on disk."""
        word = int(self._ring.words[Word.DURABLE])
        return word >> OFFSET_BITS, word & ((1 << OFFSET_BITS) - 1)

    @property
    def fault(self) -> str:
        """What keeps the keeper from writing, '' if nothing does."""
        number = int(self._ring.words[Word.ERRNO])
        if self._keeper.poll() is not None:
            return f"the keeper has ended with {self._keeper.returncode}"
        return os.strerror(number) if number else ""

    def restart_keeper(self) -> None:
        """Start another keeper if this one is dead; it goes on where that had synced."""
        if self._keeper.poll() is not None:
            self._keeper = self._start_keeper()

    def close(self) -> None:
        """End the record, and wait until all of it is safe.

        Raises IfdError if it isn't in time; the ring is then left for another keeper.
        """
        self.end_connection("closed")
        until_s = time.monotonic() + CLOSE_S
        while not self._offer() and time.monotonic() < until_s:
            self.restart_keeper()
            time.sleep(0.001)
        self._ring.words[Word.CLOSED] = 1
        while self._ring.path.exists() and time.monotonic() < until_s:
            self.restart_keeper()  # one that was killed now would leave the rest in the ring
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.wait(LOOK_S)
        if self._waiting or self._ring.path.exists():
            raise IfdError(
                f"The keeper has not made {self.folder} safe within {CLOSE_S:g} s"
                f" ({self.fault or 'no reason known'}). The rest lies in {self._ring.path}."
            )
        if self._keeper.wait() == ROWS_MISSING:
            raise IfdError(
                f"The record {self.folder} is whole, but not all rows could be stored in it. See "
                f"what the keeper said; `ifd replay {self.folder} --out FOLDER` makes them again."
            )

    def wait_durable(self, timeout_s: float = CLOSE_S) -> bool:
        """Wait until everything so far is safe; say whether it is."""
        until_s = time.monotonic() + timeout_s
        head = int(self._ring.words[Word.HEAD])
        while int(self._ring.words[Word.TAIL]) < head:
            if time.monotonic() > until_s:
                return False
            time.sleep(0.001)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _start_keeper(self) -> subprocess.Popen[bytes]:
        keeper = start_keeper(self._ring.path, self.folder)
        os.sched_setaffinity(keeper.pid, self.cores)  # not those of an engine that was pinned
        return keeper


def _last_connection(before: RecordReader | None) -> int:
    """Return the number of the last connection that a record knows of, 0 if there is none."""
    return 0 if before is None else max((one.connection for one in before.entries), default=0)


def _read_up_to(path: Path, first: int, stop: int | None) -> Iterator[NDArray[np.uint8]]:
    left = (path.stat().st_size if stop is None else stop) - first
    with path.open("rb") as file:
        file.seek(first)
        while left > 0 and (data := file.read(min(READ_BYTES, left))):
            left -= len(data)
            yield np.frombuffer(data, np.uint8)
