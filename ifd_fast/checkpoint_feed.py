"""Where a record's play stands, between any two bytes: connections, framing, what is dropped.

Saved as a head and arrays beside those of the engine, and given back to a fresh player.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from ifd_fast.framing import Framer
from ifd_fast.live_duplicates import DuplicateFilter
from ifd_kernels.duplicates import Delivered

if TYPE_CHECKING:
    from ifd_fast.checkpoint_file import Arrays, Head
    from ifd_fast.record_replay import RecordPlayer

__all__ = ["restore_player", "save_player"]


def save_player(player: RecordPlayer) -> tuple[Head, Arrays]:
    """Return where a player stands; what it has read and not played is read again."""
    feed = player.feed
    arrays: Arrays = {}
    head: Head = {
        "acted": player._acted,
        "connection": player._connection,
        "offset": player._offset,
        "broken": player._broken,
        "gaps_ns": player.drain.gaps_ns,
        "counts": dict(feed.counts),
        "handed": dict(feed._handed),
        "streams": feed.streams,
        "number": feed._number,
        "chain": feed._chain,
        "joined": feed._joined,
        "gap_start_ns": feed._gap_start_ns,
        "header": feed._header._data.hex() if feed._framer is None else "",
        "format": feed._format,
        "marks": list(feed.marks.places.items()),
        "passing": feed.passing.save(),
        "dropped": feed._dropped,
        "framer": None,
        "filter": None,
    }
    if feed._framer is not None:
        head["framer"] = _save_framer(feed._framer, arrays)
    if feed._filter is not None:
        head["filter"] = _save_filter(feed._filter, arrays)
    return head, arrays


def restore_player(player: RecordPlayer, head: Head, arrays: Arrays) -> None:
    """Have a fresh player stand where another stood; its engine has been restored."""
    feed = player.feed
    player._acted, player._connection = head["acted"], head["connection"]
    player._offset, player._broken = head["offset"], head["broken"]
    player.drain.gaps_ns[:] = [(start, end) for start, end in head["gaps_ns"]]
    feed.counts.update(head["counts"])
    feed._handed = Counter(head["handed"])
    feed.streams[:] = head["streams"]
    feed._number, feed._chain, feed._joined = head["number"], head["chain"], head["joined"]
    for number, places in head["marks"]:
        feed.marks.places[number] = [(place, below_ns) for place, below_ns in places]
    feed.passing.restore(head["passing"])
    feed._dropped = head["dropped"]
    feed._gap_start_ns = head["gap_start_ns"]
    feed._header._data = bytearray.fromhex(head["header"])
    if head["framer"] is not None:
        version, ts_out = head["format"]
        feed._hear(version)
        feed._format = version, ts_out
        feed._framer = Framer(player.engine.state.ring, version, ts_out=ts_out)
        _restore_framer(feed._framer, head["framer"], arrays)
    if head["filter"] is not None:
        feed._filter = _restore_filter(head["filter"], arrays)


def _save_framer(framer: Framer, arrays: Arrays) -> Head:
    arrays["framer.counters"] = framer._counters
    arrays["framer.refused"] = framer._refused
    arrays["framer.carry"] = framer._carry[: framer._carried]
    return {"dead_end": framer._dead_end}


def _restore_framer(framer: Framer, head: Head, arrays: Arrays) -> None:
    carry = arrays["framer.carry"]
    framer._counters[:] = arrays["framer.counters"]
    framer._refused[:] = arrays["framer.refused"]
    framer._carried = len(carry)
    framer._carry[: len(carry)] = carry
    framer._dead_end = head["dead_end"]


def _save_filter(kept: DuplicateFilter, arrays: Arrays) -> Head:
    for name in Delivered._fields:
        arrays[f"filter.{name}"] = getattr(kept._delivered, name)
    arrays["filter.tallies"] = kept._tallies
    arrays["filter.carry"] = kept._carry
    return {"from_ns": kept.from_ns, "missing": kept._missing}


def _restore_filter(head: Head, arrays: Arrays) -> DuplicateFilter:
    nothing = np.zeros(0, np.uint32), np.zeros(0, np.uint64)
    kept = DuplicateFilter(nothing, head["from_ns"])
    kept._delivered = Delivered(*(arrays[f"filter.{name}"].copy() for name in Delivered._fields))
    kept._tallies = arrays["filter.tallies"].copy()
    kept._carry = arrays["filter.carry"].copy()
    kept._missing = head["missing"]
    return kept
