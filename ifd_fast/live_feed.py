"""A session's connections, fed to one engine: live and the replay of its record do the same here.

Everything depends on the recorded bytes and journal alone, never on how the bytes were cut.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from ifd_fast.accounts import count_engine, count_stream, sum_streams
from ifd_fast.desks import RecordDesk, count_types
from ifd_fast.framing import Framer
from ifd_fast.header import HeaderReader
from ifd_fast.live_duplicates import DuplicateFilter
from ifd_fast.live_marks import Marks, Passing
from ifd_fast.live_messages import decode_message
from ifd_fast.observing import observe
from ifd_fast.sources import decode_metadata
from ifd_kernels.layout import RTYPE_ERROR, RTYPE_SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from ifd_fast.engine import FlowEngine
    from ifd_fast.framing import Handed
    from ifd_fast.header import Header
    from ifd_fast.live_marks import Recorded
    from ifd_fast.live_messages import Message
    from ifd_fast.taking import Taker

__all__ = ["LiveFeed", "stream_name"]

_OPEN_END_NS: Final = 2**62
_MESSAGES: Final = frozenset({RTYPE_ERROR, RTYPE_SYSTEM})


class LiveFeed:
    """Feeds connections, one after the other, to an engine; what they bring again is dropped.

    Parameters
    ----------
    engine, drain
        Where bytes go, and what takes the rows.
    recorded
        Gives a connection's bytes so far by number, from a byte on; asked at a reconnect only.
    on_message
        Told of what the gateway says about the session.
    """

    def __init__(
        self,
        engine: FlowEngine,
        drain: Taker,
        recorded: Recorded,
        on_message: Callable[[Message], object] | None = None,
    ) -> None:
        """Begin before the first connection."""
        self.engine = engine
        self.drain = drain
        self.counts: Counter[str] = Counter()
        self.streams: list[dict[str, Any]] = []
        self.marks = Marks(recorded)
        self.passing = Passing(engine, self.marks)
        self._dropped = 0  # bytes of the connection that its framer has not seen
        self._on_message = on_message
        self._handed: Counter[str] = Counter()
        self._number = 0
        self._chain = 0  # the connection since which every other replays what it lacks
        self._joined = False  # that one began with a snapshot
        self._header = HeaderReader("live stream")
        self._framer: Framer | None = None
        self._format = 0, False  # version and ts_out of what is framed
        self._filter: DuplicateFilter | None = None
        self._gap_start_ns = -1

    @property
    def gap_start_ns(self) -> int:
        """Since when the tape lacks something that no replay brought, ns UTC; -1: nothing."""
        return self._gap_start_ns

    @property
    def joined_ns(self) -> int:
        """Up to when a replay would hold what came in a snapshot instead, ns UTC; -1: never."""
        if not self._joined:
            return -1
        return int(self.engine.state.flow.clock[0]["snapshot_ns"])

    def mark(self) -> None:
        """Note how old all is that the connections in use have brought up to here."""
        for number in range(max(self._chain, 1), self._number + 1):
            is_joined = self._joined and number == self._chain
            self.marks.advance(number, self.engine.watermark_ns + 1, joined=is_joined)

    def begin(self, number: int, *, snapshot: bool, skip_from_ns: int | None) -> None:
        """Begin connection `number`, asked for as its entry in the journal says."""
        self._end_stream()
        self._number, self._dropped = number, 0
        self.passing.begin(is_chain=skip_from_ns is None, joined=snapshot)
        self._header, self._framer, self._filter = HeaderReader("live stream"), None, None
        if skip_from_ns is not None:
            before = (
                self.marks.delivered_since(
                    one, skip_from_ns, joined=self._joined and one == self._chain
                )
                for one in range(self._chain, number)
            )
            self._filter = DuplicateFilter.of_scans(before, skip_from_ns)
            return
        self._begin_chain(number, joined=snapshot)
        if self.engine.watermark_ns >= 0 and self._gap_start_ns < 0:
            self.drain.drain()
            self._gap_start_ns = self.engine.watermark_ns
            self.drain.gaps_ns.append((self._gap_start_ns, _OPEN_END_NS))

    def feed(self, data: NDArray[np.uint8]) -> None:
        """Take the next bytes of the connection.

        Raises
        ------
        FormatError
            They are not DBN 1 to 3, or can't be walked.
        """
        if self._framer is None:
            header, taken = self._header.feed(data)
            if header is None:
                return
            self._framer = self._begin_records(header)
            data = data[taken:]
        if self._filter is not None:
            before = len(data)
            data = self._filter.keep(data)
            self._dropped += before - len(data)
            if self._filter.is_done:
                self._end_filter()
                # It holds all that was delivered since it was asked from: no need to look further.
                self._begin_chain(self._number, joined=False)
        self.engine.feed(self._framer, data)
        if self._filter is None and self.passing.is_due:
            self.passing.add(self._number, self._framer.offset + self._dropped, self._framer)

    @property
    def has_header(self) -> bool:
        """The connection's header is whole: records may follow."""
        return self._framer is not None

    def close_gap(self, end_ns: int) -> None:
        """Say where the gap ends; rows found so far are taken first."""
        self.drain.drain()
        self.drain.gaps_ns[-1] = (self._gap_start_ns, end_ns)
        self._gap_start_ns = -1

    def add_handed(self, counts: Counter[str]) -> None:
        """Count records of other types that came from elsewhere."""
        self._handed.update(counts)

    def drop_gap(self) -> None:
        """Take the open gap back: what the tape lacks was brought from elsewhere."""
        if self._gap_start_ns >= 0:
            self.drain.gaps_ns.pop()
            self._gap_start_ns = -1

    def end(self) -> None:
        """End the last connection; what it left of a record is nobody's."""
        self._end_stream()

    def account(self) -> dict[str, Any]:
        """Return what happened to every record so far, of ended connections, as a run counts it."""
        return {
            **sum_streams(self.streams),
            "handed_by_type": dict(self._handed),
            **count_engine(self.engine),
        }

    def _begin_chain(self, number: int, *, joined: bool) -> None:
        self._chain, self._joined = number, joined
        self.marks.forget_before(number)

    def _begin_records(self, header: Header) -> Framer:
        self._hear(header.version)
        self._format = header.version, header.ts_out
        observe(self.engine, decode_metadata(header, "live stream"))
        return Framer(
            self.engine.state.ring, header.version, ts_out=header.ts_out, offset=len(header.data)
        )

    def _hear(self, version: int) -> None:
        """Have what is no MBO record handled as DBN `version` writes it."""
        desk = RecordDesk(version)

        def take(records: list[Handed]) -> None:
            desk.take(self.engine, records)
            self._handed.update(count_types(records))
            if self._on_message is not None:
                for one in records:
                    if one.rtype in _MESSAGES:
                        self._on_message(decode_message(one.data, version))

        self.engine.on_records = take

    def _end_filter(self) -> None:
        if self._filter is not None:
            self.counts.update(self._filter.counts)
        self._filter = None

    def _end_stream(self) -> None:
        self._end_filter()
        if self._framer is not None:
            self.streams.append(count_stream(stream_name(self._number), self._framer))
            self.passing.end(self._framer)
        self._framer = None


def stream_name(connection: int) -> str:
    """Return what a connection is called in an account."""
    return f"connection {connection}"
