"""What a live session records, as its two sides see it; and a record in memory.

Bytes of a connection are received where the record lies and are read there. What can change a row
and is no byte of the feed is an entry of the journal: it acts at exactly its offset, before the
byte there. So a record can be replayed to the very rows the session had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ifd_fast.errors import UsageError

__all__ = ["Entry", "EntryKind", "MemoryRecord", "SessionRecord", "begin_payload"]

Bytes: TypeAlias = NDArray[np.uint8]
Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

_SPACE_BYTES: Final = 1 << 18


class EntryKind(StrEnum):
    """What an entry of the journal says; its payload's keys."""

    CONNECTION_BEGIN = "connection_begin"  # start_ns, snapshot, skip_from_ns
    CONNECTION_END = "connection_end"  # reason
    STATE = "state"  # name
    TICK = "tick"  # ts_ns
    GAP = "gap"  # start_ns, end_ns: the tape lacks this
    BASELINES = "baselines"
    RELOAD = "reload"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the journal: it acts before byte `offset` of `connection`'s bytes."""

    connection: int
    offset: int
    kind: EntryKind
    payload: Mapping[str, Json]


def begin_payload(
    *, start_ns: int | None, snapshot: bool, skip_from_ns: int | None
) -> dict[str, Json]:
    """Return what the entry of a connection's beginning says."""
    return {"start_ns": start_ns, "snapshot": snapshot, "skip_from_ns": skip_from_ns}


class SessionRecord(Protocol):
    """Where a live session's bytes and journal go; one writer."""

    def begin_connection(
        self, *, start_ns: int | None, snapshot: bool, skip_from_ns: int | None
    ) -> None:
        """Begin the next connection; numbers count from 1.

        `start_ns` is what MBO was asked from, None: from now. Records with ts_event at or after
        `skip_from_ns` that connections before delivered are to be skipped; None: nothing is.
        """

    def space(self) -> memoryview:
        """Return where the next bytes are to be received, in one piece; empty: no room now."""

    def received(self, count: int) -> Bytes:
        """Take `count` bytes now in `space`; they lie there until a later `space` is written."""

    def note(self, kind: EntryKind, payload: Mapping[str, Json]) -> None:
        """Add an entry to the journal at the present offset."""

    def end_connection(self, reason: str) -> None:
        """End the connection; what is recorded of it is final."""

    def recorded(self, connection: int, first: int = 0) -> Iterator[Bytes]:
        """Yield what a connection has received so far, from byte `first` on, in pieces."""

    @property
    def position(self) -> tuple[int, int]:
        """Number of the connection, 0 before the first, and bytes received in it."""

    @property
    def durable(self) -> tuple[int, int]:
        """Up to where everything lies safely on disk."""

    def close(self) -> None:
        """Close the record; nothing is taken any more."""


class MemoryRecord:
    """A record that lives and dies with this process; memory follows what was received."""

    def __init__(self, space_bytes: int = _SPACE_BYTES) -> None:
        """Begin empty; `space_bytes` is the most that is received at once."""
        self.entries: list[Entry] = []
        self._connections: list[list[Bytes]] = []
        self._received = 0
        self._space = np.zeros(space_bytes, np.uint8)
        self._open = False

    def begin_connection(
        self, *, start_ns: int | None, snapshot: bool, skip_from_ns: int | None
    ) -> None:
        """Begin the next connection."""
        if self._open:
            raise UsageError("The connection before must be ended first: call `end_connection`.")
        self._open = True
        self._received = 0
        self._connections.append([])
        payload = begin_payload(start_ns=start_ns, snapshot=snapshot, skip_from_ns=skip_from_ns)
        self.note(EntryKind.CONNECTION_BEGIN, payload)

    def space(self) -> memoryview:
        """Return where the next bytes are to be received."""
        return self._space.data

    def received(self, count: int) -> Bytes:
        """Take `count` bytes now in `space`."""
        if not self._open:
            raise UsageError("No connection is open: call `begin_connection` first.")
        taken = self._space[:count]
        self._connections[-1].append(taken.copy())
        self._received += count
        return taken

    def note(self, kind: EntryKind, payload: Mapping[str, Json]) -> None:
        """Add an entry to the journal at the present offset."""
        connection, offset = self.position
        self.entries.append(Entry(connection, offset, kind, dict(payload)))

    def end_connection(self, reason: str) -> None:
        """End the connection."""
        if self._open:
            self.note(EntryKind.CONNECTION_END, {"reason": reason})
        self._open = False

    def recorded(self, connection: int, first: int = 0) -> Iterator[Bytes]:
        """Yield what a connection has received so far, from byte `first` on, in pieces."""
        for piece in self._connections[connection - 1]:
            yield piece[first:]
            first = max(first - len(piece), 0)

    @property
    def position(self) -> tuple[int, int]:
        """Number of the connection, 0 before the first, and bytes received in it."""
        return len(self._connections), self._received

    @property
    def durable(self) -> tuple[int, int]:
        """Up to where everything is kept: memory is all this record has."""
        return self.position

    def close(self) -> None:
        """Close the record."""
        self.end_connection("closed")
