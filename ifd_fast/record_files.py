"""A live session's record on disk: a DBN file a connection, a journal, and what proves them.

`NNNN.dbn` holds the bytes of connection N as they were received (uncompressed), so that it is a
file like any other. `journal.jsonl` holds what is no byte of the feed, one entry a line. Each
group that was synced has a line in `checks.jsonl`, written last: up to where the files are whole,
and CRC-32s of what came since the group before. What lies behind the last such line was cut short
by a crash, and counts for nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from ifd_fast.errors import DataError, FormatError
from ifd_fast.session_record import Entry, EntryKind

__all__ = [
    "CHECKS",
    "JOURNAL",
    "Group",
    "RecordFiles",
    "connection_file",
    "decode_entry",
    "decode_group",
    "encode_entry",
    "read_groups",
]

JOURNAL: Final = "journal.jsonl"
CHECKS: Final = "checks.jsonl"
Opener = Callable[[Path], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Group:
    """What was synced together: bytes and CRC-32 of each file since the group before."""

    number: int
    connections: tuple[tuple[int, int, int, int], ...]  # connection, from byte, bytes, crc
    journal: tuple[int, int, int]  # from byte, bytes, crc
    ring: tuple[int, int]  # which ring it came from, and up to which position

    def line(self) -> bytes:
        """Return the line that stands for it, its own CRC-32 at the end."""
        tree = {
            "group": self.number, "connections": self.connections, "journal": self.journal,
            "ring": self.ring,
        }  # fmt: skip
        text = json.dumps(tree, separators=(",", ":"))
        return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()


@dataclass(slots=True)
class _Open:
    """One file: whole and proven up to `safe`, written up to `safe + pending`."""

    file: IO[bytes]
    safe: int
    pending: int = 0
    crc: int = 0


def connection_file(folder: Path, connection: int) -> Path:
    """Return the path of a connection's DBN file."""
    return folder / f"{connection:04d}.dbn"


def encode_entry(entry: Entry) -> bytes:
    """Return an entry of the journal as its line."""
    tree = {
        "connection": entry.connection, "offset": entry.offset, "kind": str(entry.kind),
        "payload": dict(entry.payload),
    }  # fmt: skip
    return json.dumps(tree, separators=(",", ":")).encode() + b"\n"


def decode_entry(line: bytes) -> Entry:
    """Return the entry of a line of the journal; raise FormatError if it is none."""
    try:
        tree: Mapping[str, Any] = json.loads(line)
        kind, payload = EntryKind(tree["kind"]), dict(tree["payload"])
        return Entry(int(tree["connection"]), int(tree["offset"]), kind, payload)
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"journal: {line[:80]!r} is no entry ({error}).") from None


def read_groups(folder: Path) -> Iterator[Group]:
    """Yield the groups that were synced; a crash can have cut the last line short.

    Raises
    ------
    DataError
        If a line before the last is not as it was written: no crash leaves that.
    """
    path = folder / CHECKS
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    for number, line in enumerate(lines):
        group = decode_group(line + b"\n", number)
        if group is None and number == len(lines) - 1 and _proven_text(line) is None:
            return
        if group is None:
            raise DataError(
                f"{path}: line {number + 1} is not as it was written. The record was changed, or "
                "its disk is failing; nothing was cut off."
            )
        yield group


def decode_group(line: bytes, number: int) -> Group | None:
    """Return the group of a line of the checks, None if it isn't group `number`, as written."""
    text = _proven_text(line.removesuffix(b"\n"))
    tree = {} if text is None else json.loads(text)
    if tree.get("group") != number:
        return None
    pieces = tuple((int(c), int(o), int(b), int(k)) for c, o, b, k in tree["connections"])
    first, count, journal_crc = tree["journal"]
    ring, position = tree["ring"]
    return Group(number, pieces, (first, count, journal_crc), (ring, position))


def _proven_text(line: bytes) -> bytes | None:
    """Return a line without its CRC-32, None if that is another."""
    text, _, crc = line.rpartition(b" ")
    return text if f"{zlib.crc32(text):08x}".encode() == crc else None


@dataclass(slots=True)
class RecordFiles:
    """The files of `folder`, open for what comes next; what no group proves is set aside first.

    A write that fails leaves everything as of the last group: `go_back` goes there.
    """

    folder: Path
    open_file: Opener = field(default=lambda path: path.open("r+b", buffering=0))
    cut_bytes: int = 0  # that were found behind the last group
    _connections: dict[int, _Open] = field(default_factory=dict)
    _journal: _Open | None = None
    _checks: _Open | None = None
    _number: int = 0
    _ring: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        """Open what is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._restart(None)

    def go_back(self) -> None:
        """Cut the files to what `sync` has returned for: a sync that failed proves nothing."""
        self._restart(self._number)

    def position_in(self, ring: int) -> int:
        """Return up to which position of a ring everything is here, 0 if nothing is."""
        return self._ring[1] if self._ring[0] == ring else 0

    def _restart(self, most: int | None) -> None:
        self.close()
        ends: dict[int, int] = {}
        journal_end = checks_end = self._number = 0
        self._ring = 0, 0
        for group in islice(read_groups(self.folder), most):
            self._ring = group.ring
            for connection, first, count, _ in group.connections:
                ends[connection] = first + count
            journal_end = group.journal[0] + group.journal[1]
            checks_end += len(group.line())
            self._number = group.number + 1
        aside = most is None  # else it is what this process wrote, and will write again
        for path in sorted(self.folder.glob("[0-9][0-9][0-9][0-9].dbn")):
            connection = int(path.stem)
            end = ends.get(connection, 0)
            self._connections[connection] = self._open(path, end, aside=aside)
        self._journal = self._open(self.folder / JOURNAL, journal_end, aside=aside)
        self._checks = self._open(self.folder / CHECKS, checks_end, aside=aside)

    def append(self, connection: int, data: Any) -> None:
        """Write bytes of a connection behind what it has."""
        held = self._connections.get(connection)
        if held is None:
            held = self._open(connection_file(self.folder, connection), 0)
            self._connections[connection] = held
        _write(held, data)

    def append_entry(self, line: bytes) -> None:
        """Write a line of the journal."""
        _write(self._of(self._journal), line)

    def size_of(self, connection: int) -> int:
        """Return how many bytes of a connection were written."""
        held = self._connections.get(connection)
        return 0 if held is None else held.safe + held.pending

    def sync(self, ring: int = 0, position: int = 0) -> None:
        """Have everything written so far on the disk, proven by a group; nothing new: nothing."""
        journal, checks = self._of(self._journal), self._of(self._checks)
        new = {number: one for number, one in self._connections.items() if one.pending}
        if not new and not journal.pending:
            return
        for one in (*new.values(), journal):
            if one.pending:
                os.fsync(one.file.fileno())
        pieces = tuple((number, one.safe, one.pending, one.crc) for number, one in new.items())
        proven = journal.safe, journal.pending, journal.crc
        group = Group(self._number, pieces, proven, (ring, position))
        _write(checks, group.line())
        os.fsync(checks.file.fileno())
        for one in (*new.values(), journal, checks):
            one.safe, one.pending, one.crc = one.safe + one.pending, 0, 0
        self._number += 1
        self._ring = ring, position

    def close(self) -> None:
        """Close all files; what was not synced is not proven."""
        for one in (*self._connections.values(), self._journal, self._checks):
            if one is not None:
                one.file.close()
        self._connections.clear()
        self._journal = self._checks = None

    def _open(self, path: Path, end: int, *, aside: bool = False) -> _Open:
        is_new = not path.exists()
        path.touch()
        if is_new:
            _sync_folder(self.folder)
        size = path.stat().st_size
        if size < end:
            raise DataError(
                f"{path}: has {size:,} bytes, {end:,} were proven to be there. It was cut since."
            )
        if size > end and aside:
            _set_aside(path, end)
            self.cut_bytes += size - end
        file = self.open_file(path)
        file.truncate(end)
        file.seek(end)
        return _Open(file, end)

    def _of(self, one: _Open | None) -> _Open:
        if one is None:
            raise DataError(f"{self.folder}: the record is closed.")
        return one


def _set_aside(path: Path, end: int) -> None:
    """Copy what lies behind `end` into a file of its own, `<name>.cut`, behind what is there."""
    with path.open("rb") as file, path.with_name(f"{path.name}.cut").open("ab") as cut:
        file.seek(end)
        shutil.copyfileobj(file, cut)
        cut.flush()
        os.fsync(cut.fileno())


def _write(one: _Open, data: Any) -> None:
    view = memoryview(data)
    one.crc = zlib.crc32(view, one.crc)
    one.pending += len(view)
    while view:
        view = view[one.file.write(view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
