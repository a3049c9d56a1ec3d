"""Up to where a connection's records are all older than a time: a reconnect looks behind that.

What was delivered since a time is reckoned from the recorded bytes. A long session has gigabytes
of them; who follows it in passing marks places, and only what lies behind the last one that is
old enough is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ifd_fast.live_duplicates import Scanned, delivered_since

__all__ = ["Marks", "Recorded"]

Recorded = Callable[[int, int], Iterator[NDArray[np.uint8]]]  # of a connection, from a byte on

KEPT: Final = 8
_OPEN_END_NS: Final = 2**62


class Marks:
    """Marks of connections, by number.

    Attributes
    ----------
    places
        Of each connection (byte, ns): no record that begins before that byte is of that time or
        later, but for a snapshot's where the connection began with one.
    joined
        Of a connection that began with a snapshot (byte, ns): the latest ts_recv in a snapshot
        before that byte, -1: none.
    """

    def __init__(self, recorded: Recorded) -> None:
        """Begin without a mark; `recorded` gives a connection's bytes from one on."""
        self.recorded = recorded
        self.places: dict[int, list[tuple[int, int]]] = {}
        self.joined: dict[int, tuple[int, int]] = {}

    def forget_before(self, connection: int) -> None:
        """Forget what lies before the connection that every other replays from."""
        for known in (self.places, self.joined):
            for number in [one for one in known if one < connection]:
                del known[number]

    def delivered_since(self, connection: int, from_ns: int, *, joined: bool) -> Scanned:
        """Return what a connection delivered since `from_ns`, as `live_duplicates` does."""
        marks = self.places.get(connection, [])
        first = max((place for place, below_ns in marks if below_ns <= from_ns), default=0)
        return self._scan(connection, first, from_ns, joined=joined)

    def joined_ns(self, connection: int) -> int:
        """Return the latest ts_recv of a connection's snapshots, ns UTC; -1: it has none."""
        first, before_ns = self.joined.get(connection, (0, -1))
        found = self._scan(connection, first, _OPEN_END_NS, joined=True)
        latest_ns = max(before_ns, found.joined_ns)
        self.joined[connection] = found.end, latest_ns
        return latest_ns

    def advance(self, connection: int, below_ns: int, *, joined: bool) -> None:
        """Mark the connection's end if all that came since the last mark is below `below_ns`."""
        marks = self.places.setdefault(connection, [])
        first, least_ns = marks[-1] if marks else (0, 0)
        found = self._scan(connection, first, below_ns, joined=joined)
        if not len(found.ids) and below_ns >= least_ns and found.end > first:
            marks.append((found.end, below_ns))
            del marks[:-KEPT]
        if joined:
            self.joined_ns(connection)

    def _scan(self, connection: int, first: int, from_ns: int, *, joined: bool) -> Scanned:
        pieces = self.recorded(connection, first)
        return delivered_since(pieces, from_ns, joined=joined, first=first)
