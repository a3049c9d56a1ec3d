"""Up to where a connection's records are all older than a time: a reconnect looks behind that.

What was delivered since a time is reckoned from the recorded bytes. A long session has gigabytes
of them; who follows it marks places, and only what lies behind the last one that is old enough is
looked at again. A shadow marks what it has scanned. An engine scans nothing: it knows that what
moved its watermark is no later than that, and that but for three kinds nothing else is by over a
second: records ahead of their receipt, those of snapshots, those refused for their action or side.
All three are counted; once one has come that a replay would hold, it marks no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ifd_fast.live_duplicates import Scanned, delivered_since
from ifd_kernels.layout import SECOND_NS
from ifd_kernels.pressure import AHEAD_LIMIT_NS, EVENTS_AHEAD, EVENTS_SNAPSHOT

if TYPE_CHECKING:
    from ifd_fast.engine import FlowEngine
    from ifd_fast.framing import Framer

__all__ = ["Marks", "Passing", "Recorded"]

Recorded = Callable[[int, int], Iterator[NDArray[np.uint8]]]  # of a connection, from a byte on

KEPT: Final = 8
UNMARKED_BYTES: Final = 1 << 28
APART_NS: Final = 15 * SECOND_NS  # eight of them are two minutes; a replay begins a minute back
_OPEN_END_NS: Final = 2**62


class Marks:
    """Marks of connections, by number.

    Attributes
    ----------
    places
        Of each connection (byte, ns): no record that begins before that byte is of that time or
        later, but for a snapshot's where the connection began with one.
    """

    def __init__(self, recorded: Recorded) -> None:
        """Begin without a mark; `recorded` gives a connection's bytes from one on."""
        self.recorded = recorded
        self.places: dict[int, list[tuple[int, int]]] = {}
        self._given_up: set[int] = set()

    def forget_before(self, connection: int) -> None:
        """Forget what lies before the connection that every other replays from."""
        for number in [one for one in self.places if one < connection]:
            del self.places[number]

    def delivered_since(self, connection: int, from_ns: int, *, joined: bool) -> Scanned:
        """Return what a connection delivered since `from_ns`, as `live_duplicates` does."""
        marks = self.places.get(connection, [])
        first = max((place for place, below_ns in marks if below_ns <= from_ns), default=0)
        return self._scan(connection, first, from_ns, joined=joined)

    def advance(self, connection: int, below_ns: int, *, joined: bool) -> None:
        """Mark the connection's end if all that came since the last mark is below `below_ns`.

        A record that claims to be from far ahead keeps all behind it from being marked: after a
        while nobody tries, or each would look at more than the one before.
        """
        if connection in self._given_up:
            return
        marks = self.places.setdefault(connection, [])
        first, least_ns = marks[-1] if marks else (0, 0)
        found = self._scan(connection, first, below_ns, joined=joined)
        if not len(found.ids) and below_ns >= least_ns and found.end > first:
            self.add(connection, found.end, below_ns)
        elif found.end - first > UNMARKED_BYTES:
            self._given_up.add(connection)

    def add(self, connection: int, place: int, below_ns: int) -> None:
        """Mark a place that is known to be right."""
        marks = self.places.setdefault(connection, [])
        marks.append((place, below_ns))
        del marks[:-KEPT]

    def _scan(self, connection: int, first: int, from_ns: int, *, joined: bool) -> Scanned:
        pieces = self.recorded(connection, first)
        return delivered_since(pieces, from_ns, joined=joined, first=first)


class Passing:
    """Marks places as `engine` passes them.

    Attributes
    ----------
    base
        What was counted as the chain of connections began, of records that no mark answers for:
        ahead or refused, and of snapshots, those of the connection it began with left out.
    """

    def __init__(self, engine: FlowEngine, marks: Marks) -> None:
        """Begin without a chain."""
        self.base: tuple[int, int] = (-1, -1)
        self._engine = engine
        self._marks = marks
        self._refused, self._refused_before = 0, 0  # in this connection, and in those before
        self._next_ns = -1
        self._is_joined = False

    def begin(self, *, is_chain: bool, joined: bool) -> None:
        """Begin a connection; `is_chain`: it replays nothing; `joined`: it has a snapshot."""
        if self._is_joined:
            self.base = self.base[0], self._count()[1]  # what it held of snapshots, no replay holds
        self._refused_before, self._refused = self._refused_before + self._refused, 0
        self._is_joined = is_chain and joined
        self._next_ns = -1
        if is_chain:
            self.base = self._count()

    def end(self, framer: Framer) -> None:
        """End a connection."""
        self._refused = _count_refused(framer)

    @property
    def is_due(self) -> bool:
        """Seconds have passed since the last mark."""
        return 0 <= self._engine.watermark_ns >= self._next_ns

    def add(self, connection: int, place: int, framer: Framer) -> None:
        """Mark the place up to which all is applied, if nothing before it is to be missed."""
        watermark_ns, self._refused = self._engine.watermark_ns, _count_refused(framer)
        self._next_ns = watermark_ns + APART_NS
        strange, snapshots = self._count()
        if strange == self.base[0] and (self._is_joined or snapshots == self.base[1]):
            self._marks.add(connection, place, watermark_ns + AHEAD_LIMIT_NS + 1)

    def save(self) -> list[int]:
        """Return what another one needs to go on."""
        return [*self.base, self._refused, self._refused_before, self._next_ns, self._is_joined]

    def restore(self, saved: list[int]) -> None:
        """Go on where another one was."""
        self.base = saved[0], saved[1]
        self._refused, self._refused_before, self._next_ns = saved[2:5]
        self._is_joined = bool(saved[5])

    def _count(self) -> tuple[int, int]:
        counters = self._engine.state.flow.counters
        strange = int(counters[EVENTS_AHEAD]) + self._refused + self._refused_before
        return strange, int(counters[EVENTS_SNAPSHOT])


def _count_refused(framer: Framer) -> int:
    """Return how many MBO records were refused that a replay would hold all the same."""
    counts = framer.counts()
    return counts["bad_action"] + counts["bad_side"]
