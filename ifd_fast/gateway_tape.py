"""The market that a gateway serves: records of DBN files, in order of capture, addressable.

Market-by-order files lie in memory maps (compressed ones in an unnamed temporary file first), so
that a session can join anywhere without reading what came before. Other schemas are small: they
are decoded once, to DBN 3. Places on the tape are cursors, one count a part; the order of records
depends on nothing but the files, so that the same cursors always mean the same place.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ifd_fast.definitions import decode_definitions
from ifd_fast.errors import FormatError, SchemaError, TruncatedError, UsageError
from ifd_fast.gateway_records import Listed
from ifd_fast.gateway_symbols import listed_by_definitions, listed_by_metadata
from ifd_fast.sources import Source, open_source
from ifd_kernels.layout import (
    MBO_BYTES,
    RTYPE_DEFINITION,
    RTYPE_MBO,
    RTYPE_STATISTICS,
    RTYPE_STATUS,
)

__all__ = ["FOREVER_NS", "SCHEMAS", "Cursors", "Part", "Run", "Tape", "load_tape"]

Rows: TypeAlias = NDArray[np.uint8]
Cursors: TypeAlias = tuple[int, ...]

FOREVER_NS: Final = 2**64 - 1
FAR: Final = 1 << 20  # records looked at in one go
SCHEMAS: Final = ("mbo", "definition", "status", "statistics")
_RTYPES: Final = {
    RTYPE_MBO: "mbo",
    RTYPE_DEFINITION: "definition",
    RTYPE_STATUS: "status",
    RTYPE_STATISTICS: "statistics",
}
_BYTES: Final = {"mbo": MBO_BYTES, "definition": 520, "status": 40, "statistics": 80}
_CHECKED: Final = 1 << 20  # records checked at once


def _head(schema: str) -> np.dtype[Any]:
    return np.dtype(
        {
            "names": ["instrument_id", "ts_event", "ts_recv"],
            "formats": ["<u4", "<u8", "<u8"],
            "offsets": [4, 8, 40 if schema == "mbo" else 16],
            "itemsize": _BYTES[schema],
        }
    )


class Part:
    """Records of one schema from one file, in its order.

    `rows` (n, bytes of a record); `instrument_id`, `ts_event`, `ts_recv` (n,) look into them.
    """

    def __init__(self, schema: str, rows: Rows) -> None:
        self.schema = schema
        self.rows = rows
        head = rows.reshape(-1).view(_head(schema))
        self.instrument_id: NDArray[np.uint32] = head["instrument_id"]
        self.ts_event: NDArray[np.uint64] = head["ts_event"]
        self.ts_recv: NDArray[np.uint64] = head["ts_recv"]

    def __len__(self) -> int:
        return len(self.rows)


class Run(NamedTuple):
    """Records [start, stop) of one part that come next on the tape, and where that leads."""

    part: int
    start: int
    stop: int
    cursors: Cursors


class Tape:
    """All parts, merged by ts_recv record by record; at one time the earlier part comes first."""

    def __init__(self, dataset: str, parts: Sequence[Part], listed: Sequence[Listed]) -> None:
        self.dataset = dataset
        self.parts = [part for part in parts if len(part)]
        self.listed = tuple(listed)
        self.beginning: Cursors = (0,) * len(self.parts)
        self.end: Cursors = tuple(map(len, self.parts))
        self.origin = self._find_origin()
        self.last_ns = max((int(part.ts_recv.max()) for part in self.parts), default=0)

    def next_run(self, cursors: Cursors, until_ns: int, most: int) -> Run | None:
        """Return at most `most` records that come next and were captured by `until_ns`, or None."""
        heads = self._heads(cursors)
        if not heads or min(heads)[0] > until_ns:
            return None
        _, which = first = min(heads)
        part, start = self.parts[which], cursors[which]
        stop = min(start + most, len(part))
        others = [head for head in heads if head != first]
        times = part.ts_recv[start:stop]
        past = times > np.uint64(until_ns)
        if others:
            bound_ns, bound = min(others)
            past |= times > np.uint64(bound_ns)
            if bound < which:
                past |= times == np.uint64(bound_ns)
        if past.any():
            stop = start + int(past.argmax())
        after = (*cursors[:which], stop, *cursors[which + 1 :])
        return Run(which, start, stop, after)

    def advance(self, cursors: Cursors, until_ns: int) -> Cursors:
        """Return the place after the last record captured by `until_ns`; `cursors` or beyond."""
        while (run := self.next_run(cursors, until_ns, FAR)) is not None:
            cursors = run.cursors
        return cursors

    def order_count(self, cursors: Cursors) -> int:
        """Return how many market-by-order records lie behind a place."""
        counts = zip(self.parts, cursors, strict=True)
        return sum(cursor for part, cursor in counts if part.schema == "mbo")

    def next_ns(self, cursors: Cursors) -> int | None:
        """Return when the next record was captured; None at the end."""
        heads = self._heads(cursors)
        return min(heads)[0] if heads else None

    def _heads(self, cursors: Cursors) -> list[tuple[int, int]]:
        return [
            (int(part.ts_recv[cursor]), number)
            for number, (part, cursor) in enumerate(zip(self.parts, cursors, strict=True))
            if cursor < len(part)
        ]

    def _find_origin(self) -> Cursors:
        """Return where live begins: what is known by the first order event lies behind it."""
        opens = [int(part.ts_recv[0]) for part in self.parts if part.schema == "mbo"]
        if not opens:
            return self.beginning
        cursors = []
        for part in self.parts:
            later = part.ts_recv > np.uint64(min(opens))
            known = int(later.argmax()) if later.any() else len(part)
            cursors.append(0 if part.schema == "mbo" else known)
        return tuple(cursors)


def load_tape(paths: Sequence[Path]) -> Tape:
    """Read DBN files of any served schema, or live captures; their order breaks ties.

    Raises
    ------
    DataError
        A file can't be read, is damaged, is of another dataset or was recorded with ts_out.
    UsageError
        No file holds a record of a schema that is served.
    """
    parts: list[Part] = []
    listed: dict[int, Listed] = {}
    dataset = ""
    for path in paths:
        with open_source(path) as source:
            if source.header.ts_out:
                raise FormatError(f"{path}: was recorded with ts_out; serve the market's own data.")
            if dataset and source.metadata.dataset != dataset:
                raise SchemaError(
                    f"{path}: is of {source.metadata.dataset}, the files before of {dataset}. "
                    "A session has one dataset: serve them apart."
                )
            dataset = source.metadata.dataset
            for one in listed_by_metadata(source.metadata):
                listed.setdefault(one.instrument_id, one)
            parts += _load_parts(source, path)
    for part in parts:
        if part.schema == "definition":
            definitions = decode_definitions([row.tobytes() for row in part.rows], 3)
            listed |= {one.instrument_id: one for one in listed_by_definitions(definitions)}
    tape = Tape(dataset, parts, [listed[number] for number in sorted(listed)])
    if not tape.parts:
        raise UsageError(f"No record to serve: name files of {', '.join(SCHEMAS)}.")
    return tape


def _load_parts(source: Source, path: Path) -> list[Part]:
    if source.metadata.schema != "mbo":
        return _decode_parts(source)
    offset = len(source.header.data)
    if source.compressed:
        spool = tempfile.TemporaryFile()  # noqa: SIM115  # the map keeps its pages
        with spool:
            for chunk in source.chunks():
                spool.write(chunk.data)
            spool.flush()
            return [Part("mbo", _map(spool, 0, str(path)))] if spool.tell() else []
    if path.stat().st_size == offset:
        return []
    with path.open("rb") as file:
        return [Part("mbo", _map(file, offset, str(path)))]


def _map(file: Any, offset: int, name: str) -> Rows:
    """Return a map of the file's records, once each of them is known to be MBO."""
    data = np.memmap(file, np.uint8, mode="r", offset=offset)
    count, rest = divmod(len(data), MBO_BYTES)
    if rest:
        raise TruncatedError(f"{name}: ends inside record {count:,}. Fetch it again.")
    rows: Rows = np.asarray(data).reshape(count, MBO_BYTES)
    for start in range(0, count, _CHECKED):
        block = rows[start : start + _CHECKED]
        wrong = (block[:, 0] != MBO_BYTES // 4) | (block[:, 1] != RTYPE_MBO)
        if wrong.any():
            place = start + int(wrong.argmax())
            raise FormatError(f"{name}: record {place:,} is no MBO record of {MBO_BYTES} bytes.")
    return rows


def _decode_parts(source: Source) -> list[Part]:
    """Decode a small file of any records with databento's decoder, to version 3."""
    import databento_dbn as dbn

    policy: Any = dbn.VersionUpgradePolicy.UPGRADE_TO_V3
    decoder = dbn.DBNDecoder(upgrade_policy=policy)
    kept: dict[str, list[bytes]] = {schema: [] for schema in SCHEMAS}
    decoder.write(source.header.data)
    for chunk in source.chunks():
        decoder.write(chunk.tobytes())
        for record in decoder.decode():
            raw = b"" if isinstance(record, dbn.Metadata) else bytes(record)
            schema = _RTYPES.get(raw[1]) if raw else None
            if schema is not None:
                kept[schema].append(raw[: raw[0] * 4])
    return [
        Part(schema, np.frombuffer(b"".join(records), np.uint8).reshape(-1, _BYTES[schema]))
        for schema, records in kept.items()
        if records
    ]
