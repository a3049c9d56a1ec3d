"""Whether history that was bought is what was asked for, and fits what the session received."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

from ifd_fast.errors import DataError, SchemaError
from ifd_fast.framing import Framer, allocate_ring
from ifd_fast.gateway_snapshot import MBO_DTYPE
from ifd_fast.header import HeaderReader
from ifd_fast.history_bridge import Bridge
from ifd_fast.pricing import shown_ns
from ifd_fast.repaired_replay import map_history
from ifd_fast.sources import open_source
from ifd_kernels.layout import (
    MBO_BYTES,
    RTYPE_DEFINITION,
    RTYPE_MBO,
    RTYPE_STATUS,
    RTYPE_SYMBOL_MAPPING,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from ifd_fast.pricing import DataRequest
    from ifd_fast.record_gaps import Gap
    from ifd_fast.record_reader import RecordReader

__all__ = ["check_history", "check_stream", "find_undefined"]

_RTYPES: Final = {"definition": RTYPE_DEFINITION, "status": RTYPE_STATUS}
_NAMING: Final = frozenset({RTYPE_DEFINITION, RTYPE_SYMBOL_MAPPING})
_LOOKED_AT: Final = 1 << 20  # events of a connection: by then all definitions have come
_RECEIVED: Final = slice(16, 24)  # ts_recv of definitions and trading states
_RING_EVENTS: Final = 1024
_ALIKE_SHARE: Final = 0.9  # of the records that both have: history is corrected now and then


def check_stream(path: Path, schema: str, request: DataRequest) -> None:
    """Raise DataError unless a file holds nothing but what `request` asked for."""
    with open_source(path) as source:
        metadata = source.metadata
    if (metadata.dataset, metadata.schema) != (request.dataset, schema):
        raise SchemaError(
            f"{path}: holds {metadata.dataset} {metadata.schema}, {request.dataset} {schema} was "
            "asked for."
        )
    end_ns = metadata.end_ns
    if metadata.start_ns > request.start_ns or end_ns is None or end_ns < request.end_ns:
        raise SchemaError(
            f"{path}: its header says {metadata.start_ns} to {end_ns} ns, {request.start_ns} to "
            f"{request.end_ns} was asked for."
        )
    if metadata.limit is not None:
        raise SchemaError(f"{path}: was cut at {metadata.limit} records; no limit was asked for.")
    received = _received_mbo(path) if schema == "mbo" else _received_beside(path, _RTYPES[schema])
    outside = (received < request.start_ns) | (received >= request.end_ns)
    if outside.any():
        first = int(received[outside][0])
        raise DataError(
            f"{path}: {int(outside.sum()):,} records were received outside {request}, the first "
            f"at {shown_ns(max(first, 0))}."
        )


def check_history(reader: RecordReader, gap: Gap, path: Path, from_ns: int) -> dict[str, int]:
    """Return how history of a gap fits the connections around it, as `Bridge.counts` says.

    Raises
    ------
    DataError
        It has few of the records that were received before the gap, or has others there.
    """
    header, records = map_history(path)
    bridge = Bridge(reader, gap, (header.data, records), from_ns)
    for _ in bridge.play():
        pass
    counts = bridge.counts
    both = counts["counted_before"] + counts["missing_before"] + counts["behind"]
    differ = counts["changed_before"] + counts["missing_before"] + counts["changed_behind"]
    if both and differ > (1 - _ALIKE_SHARE) * both:
        raise DataError(
            f"{path}: of {both:,} records that the session received around the gap, history lacks "
            f"or changes {differ:,}, at most {1 - _ALIKE_SHARE:.0%} may be. It is of other symbols "
            "or another day."
        )
    return counts


def find_undefined(reader: RecordReader, gap: Gap, mbo: Path, definitions: Path) -> list[int]:
    """Return the instruments of history that neither it nor the session ever named.

    Their windows are unmapped, grade F, as they would be of a session without a gap.
    """
    _, records = map_history(mbo)
    wanted = np.unique(records.reshape(-1).view(MBO_DTYPE)["instrument_id"]).tolist()
    with open_source(definitions) as source:
        known = _named(source.chunks(), source.header.version)
    for connection in (gap.number, gap.before[0]):
        if not known.issuperset(wanted):
            known |= _named_by(reader, connection)
    return [one for one in wanted if one not in known]


def _named_by(reader: RecordReader, connection: int) -> set[int]:
    """Return the instruments that a connection names at its beginning."""
    head, pieces = HeaderReader("live stream"), reader.chunks(connection)
    for piece in pieces:
        header, taken = head.feed(piece)
        if header is not None:
            return _named(chain([piece[taken:]], pieces), header.version, ts_out=header.ts_out)
    return set()


def _named(pieces: Iterable[NDArray[np.uint8]], version: int, *, ts_out: bool = False) -> set[int]:
    ring = allocate_ring(_RING_EVENTS)
    framer = Framer(ring, version, ts_out=ts_out)
    found: set[int] = set()
    for piece in pieces:
        for handed in framer.frames(piece):
            ring.cursor[:] = ring.cursor.max()
            found.update(_id_of(one.data) for one in handed if one.rtype in _NAMING)
        if int(ring.cursor.max()) > _LOOKED_AT:
            break
    return found


def _id_of(record: bytes) -> int:
    return int.from_bytes(record[4:8], "little")


def _received_mbo(path: Path) -> NDArray[np.int64]:
    """Return ts_recv of a file's records; raise DataError if one of them is not MBO."""
    header, records = map_history(path)
    strange = (records[:, 0] != MBO_BYTES // 4) | (records[:, 1] != RTYPE_MBO)
    if strange.any():
        at = len(header.data) + int(strange.argmax()) * MBO_BYTES
        raise SchemaError(f"{path}: the record at byte {at:,} is not MBO.")
    received: NDArray[np.int64] = records.reshape(-1).view(MBO_DTYPE)["ts_recv"].view(np.int64)
    return received


def _received_beside(path: Path, rtype: int) -> NDArray[np.int64]:
    """Return ts_recv of a file's records; raise DataError if one is not of type `rtype`."""
    found = []
    with open_source(path) as source:
        header = source.header
        ring = allocate_ring(_RING_EVENTS)
        framer = Framer(ring, header.version, offset=len(header.data), name=str(path))
        for chunk in source.chunks():
            for handed in framer.frames(chunk):
                found.extend(handed)
                if int(ring.cursor.max()):
                    raise SchemaError(f"{path}: holds market-by-order records among others.")
        framer.finish()
    strange = [one for one in found if one.rtype != rtype]
    if strange:
        raise SchemaError(f"{path}: the record at byte {strange[0].offset:,} is of another schema.")
    times = [int.from_bytes(one.data[_RECEIVED], "little", signed=True) for one in found]
    return np.array(times, np.int64)
