"""What was bought to fill a record's gaps: folder `repair` beside the record's own files.

`NNNN.SCHEMA.dbn` is history of the gap that connection NNNN ends; `checks.jsonl` has a line for
each gap whose files are all there, with a CRC-32 of each, written last. A gap without a line was
not repaired. What was paid for and not looked at yet lies in `NNNN.SCHEMA.dbn.zst`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ifd_fast.errors import AlreadyRunningError, DataError

__all__ = ["SCHEMAS", "Repair", "RepairFiles", "measure", "write_safely"]

FOLDER: Final = "repair"
CHECKS: Final = "checks.jsonl"
SCHEMAS: Final = ("mbo", "definition", "status")
READ_BYTES: Final = 1 << 21


@dataclass(frozen=True, slots=True)
class Repair:
    """A repaired gap.

    `number` is the gap's; history is whole from `from_ns` on by ts_event, ns UTC. `files` has
    schema, bytes and CRC-32 of each file; `usd_1e9` is what they cost, US dollars at 1e-9.
    """

    number: int
    start_ns: int
    end_ns: int
    from_ns: int
    usd_1e9: int
    files: tuple[tuple[str, int, int], ...]

    def line(self) -> bytes:
        """Return the line that stands for it, its own CRC-32 at the end."""
        tree = {
            "gap": self.number, "start_ns": self.start_ns, "end_ns": self.end_ns,
            "from_ns": self.from_ns, "usd_1e9": self.usd_1e9, "files": self.files,
        }  # fmt: skip
        text = json.dumps(tree, separators=(",", ":"))
        return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()


class RepairFiles:
    """The repairs of the record in `record`; the folder is made by the first.

    Raises
    ------
    DataError
        A line of the checks is not as it was written.
    """

    def __init__(self, record: Path) -> None:
        self.folder = record / FOLDER
        self.repairs: dict[int, Repair] = {}
        path = self.folder / CHECKS
        lines = path.read_bytes().splitlines() if path.is_file() else []
        for number, line in enumerate(lines, 1):
            repair = _decode(line)
            if repair is None:
                raise DataError(
                    f"{path}: line {number} is not as it was written. Put a copy back, or remove "
                    "the folder: its gaps are then open again."
                )
            self.repairs[repair.number] = repair

    def path(self, number: int, schema: str) -> Path:
        """Return where a gap's file of a schema lies."""
        return self.folder / f"{number:04d}.{schema}.dbn"

    def download(self, number: int, schema: str) -> Path:
        """Return where it lies as it came, until the gap is repaired."""
        return self.folder / f"{number:04d}.{schema}.dbn.zst"

    @property
    def bytes_coming(self) -> int:
        """How much there is of files that are not whole yet."""
        sizes = []
        for part in self.folder.glob("*.part"):
            with contextlib.suppress(FileNotFoundError):  # it became whole just now
                sizes.append(part.stat().st_size)
        return sum(sizes)

    def verify(self) -> None:
        """Read all files; raise DataError for the first that is not as it was written."""
        for repair in self.repairs.values():
            for schema, size, crc in repair.files:
                path = self.path(repair.number, schema)
                if not path.is_file() or measure(path) != (size, crc):
                    raise DataError(
                        f"{path}: is not the file that was bought: it was changed or lost, or its "
                        f"disk is failing. Put a copy back, or remove {self.folder}: its gaps are "
                        "then open again."
                    )

    def add(self, repair: Repair) -> None:
        """Say that a gap is repaired: its files are whole and on the disk."""
        self.repairs[repair.number] = repair
        lines = b"".join(one.line() for _, one in sorted(self.repairs.items()))
        write_safely(self.folder / CHECKS, iter([lines]))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder against another repair; raises AlreadyRunningError if there is one."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise AlreadyRunningError(
                    f"{self.folder} is held by another `ifd repair`. Wait until it is done."
                ) from None
            self._tidy()
            yield

    def _tidy(self) -> None:
        """Remove what a repair that was killed has left and nobody needs."""
        for part in self.folder.glob("*.part"):
            part.unlink()
        for number in self.repairs:
            for schema in SCHEMAS:
                self.download(number, schema).unlink(missing_ok=True)


def measure(path: Path) -> tuple[int, int]:
    """Return bytes and CRC-32 of a file."""
    size = crc = 0
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            size, crc = size + len(data), zlib.crc32(data, crc)
    return size, crc


def write_safely(path: Path, pieces: Iterator[Any]) -> tuple[int, int]:
    """Write a file aside, have it on the disk, then rename it; return its bytes and CRC-32."""
    part = path.with_name(f"{path.name}.part")
    size = crc = 0
    try:
        with part.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                size, crc = size + len(piece), zlib.crc32(piece, crc)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return size, crc


def _decode(line: bytes) -> Repair | None:
    """Return what a line says, None if it is not as it was written."""
    text, _, crc = line.rpartition(b" ")
    if f"{zlib.crc32(text):08x}".encode() != crc:
        return None
    tree: dict[str, Any] = json.loads(text)
    files = tuple((str(schema), int(size), int(one)) for schema, size, one in tree["files"])
    number, start_ns, end_ns, from_ns, usd_1e9 = (
        int(tree[name]) for name in ("gap", "start_ns", "end_ns", "from_ns", "usd_1e9")
    )
    return Repair(number, start_ns, end_ns, from_ns, usd_1e9, files)
