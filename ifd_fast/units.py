"""What is played together: files that are one stream, cut where nothing is carried over.

Files by UTC day cut sessions: what a session has of the first must be there for the second. Files
are one unit from the first to where one ends outside every session, at a weekend at the latest,
so units can be played in any order, each by another process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ifd_fast.errors import DataError, SchemaError, UsageError
from ifd_fast.record_files import JOURNAL
from ifd_fast.sources import Metadata, open_source
from ifd_fast.streams import MARKET_SCHEMAS

if TYPE_CHECKING:
    from ifd_fast.calendar import Sessions

__all__ = ["Unit", "is_record", "plan_units"]

_BESIDE: Final = ("definition", "status")
_DAY_NS: Final = 86_400_000_000_000


@dataclass(frozen=True)
class Unit:
    """Files that are one stream, in the order of their begin; or the folder of a live record.

    `name` is that of its first file of market data: what messages call it.
    """

    name: str
    files: tuple[Path, ...]
    is_record: bool = False

    def key(self, digests: dict[Path, str], rules: Sequence[str]) -> str:
        """Return the digest of the files' content and of `rules`, 64 hex digits."""
        lines = [*rules, *(f"{path.name} {digests[path]}" for path in self.contents())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def contents(self) -> list[Path]:
        """Return every file that is read."""
        if not self.is_record:
            return list(self.files)
        found = (path for path in self.files[0].rglob("*") if path.is_file())
        return sorted(path for path in found if path.suffix in {".dbn", ".jsonl", ".json"})


class _Market(NamedTuple):
    path: Path
    start_ns: int
    end_ns: int | None


def is_record(folder: Path) -> bool:
    """Return whether a folder is the record of a live session."""
    return (folder / JOURNAL).is_file()


def plan_units(paths: Iterable[Path], sessions: Sessions) -> tuple[list[Unit], list[Path]]:
    """Return the units of DBN files and records, oldest first, and files that no unit needs.

    Raises
    ------
    UsageError
        There is no file of market data, or two cover the same time.
    DataError
        A file can't be opened.
    """
    market, beside, records = [], [], []
    for path in sorted(set(paths)):
        if path.is_dir():
            records.append(Unit(path.name, (path,), is_record=True))
            continue
        metadata = _metadata_of(path)
        if metadata.schema in MARKET_SCHEMAS:
            market.append(_Market(path, metadata.start_ns, metadata.end_ns))
        elif metadata.schema in _BESIDE:
            beside.append(_Market(path, metadata.start_ns, metadata.end_ns))
        else:
            raise SchemaError(
                f"{path}: holds schema {metadata.schema!r}; mbo, definition and status are read."
            )
    if not market and not records:
        raise UsageError("No file of market data (schema mbo) was given, and no live record.")
    chains = _chain(sorted(market, key=lambda one: (one.start_ns, one.path.name)), sessions)
    units = [_unit_of(chain, beside) for chain in chains]
    needed = {path for unit in units for path in unit.files}
    return [*units, *records], [one.path for one in beside if one.path not in needed]


def _metadata_of(path: Path) -> Metadata:
    with open_source(path) as source:
        return source.metadata


def _chain(market: list[_Market], sessions: Sessions) -> list[list[_Market]]:
    chains: list[list[_Market]] = []
    for one in market:
        before = chains[-1][-1] if chains else None
        if before is not None and before.end_ns is not None and one.start_ns < before.end_ns:
            raise UsageError(
                f"{before.path} and {one.path}: cover the same time, but are to be one stream. "
                "Fetch all symbols in one, or re-score them apart."
            )
        if before is not None and _goes_on(before, one, sessions):
            chains[-1].append(one)
        else:
            chains.append([one])
    return chains


def _goes_on(before: _Market, after: _Market, sessions: Sessions) -> bool:
    """Return whether a session that the first file holds a part of goes on in the second."""
    session = sessions.session_at(after.start_ns)
    if session is None or after.start_ns == session.open_ns:
        return False
    return before.end_ns is None or before.end_ns > session.open_ns


def _unit_of(chain: list[_Market], beside: list[_Market]) -> Unit:
    first_ns = chain[0].start_ns // _DAY_NS * _DAY_NS if len(chain) > 1 else chain[0].start_ns
    last_ns = chain[-1].end_ns
    if last_ns is None:
        last_ns = chain[-1].start_ns + _DAY_NS
    wanted = [
        one
        for one in beside
        if one.start_ns < last_ns and (one.end_ns is None or one.end_ns > first_ns)
    ]
    if not chain:
        raise DataError("A unit has no file. This is a defect.")
    files = (*(one.path for one in chain), *(one.path for one in wanted))
    return Unit(chain[0].path.name, files)
