"""What a re-scoring is to read: sources by name to files, live records and earlier results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ifd_fast.finding import Fault, Findings, SourceFile, find_sources
from ifd_fast.rescore_files import RescoreFolder
from ifd_fast.units import is_record

__all__ = ["Chosen", "choose_sources"]

_READ: Final = frozenset({"mbo", "definition", "status"})
_NAMED: Final = 3  # of many


class Chosen(NamedTuple):
    """Files and folders to read, what was to be read and can't be, and notes on the rest."""

    paths: tuple[Path, ...]
    refused: tuple[Fault, ...]
    notes: tuple[str, ...]


def choose_sources(sources: Sequence[str], folder: RescoreFolder, cache: Path) -> Chosen:
    """Return what `sources` hold for a re-scoring into `folder`.

    A folder's live records are read as such, results of a re-scoring below it are left alone; a
    result that is itself a source is taken as it is. Files elsewhere are copied into `cache`.

    Raises
    ------
    DataError
        A source isn't there, or nothing in them can be read.
    UsageError
        A URL can't be reached.
    """
    taken = [Path(one) for one in sources if _is_whole(Path(one))]
    others = [one for one in sources if not _is_whole(Path(one))]
    if not others:
        return Chosen(tuple(taken), (), ())
    out = folder.path.resolve()
    found = find_sources(
        others,
        cache=cache,
        digest=folder.digest_of,
        leave=lambda one: _is_whole(one) or one.resolve() == out,
    )
    records = [one for one in found.left if is_record(one)]
    files = [one for one in found.files if one.kind in _READ]
    if not taken and not records and not files:
        found.require_whole()
    paths = (*taken, *records, *(one.path for one in files))
    return Chosen(paths, found.faults, tuple(_notes(found)))


def _is_whole(path: Path) -> bool:
    """Return whether a folder is one thing: a live record, or a re-scoring."""
    return path.is_dir() and (is_record(path) or (path / "rescore.json").is_file())


def _notes(found: Findings) -> list[str]:
    notes = []
    unread = [one for one in found.files if one.kind not in _READ]
    if unread:
        notes.append(f"{len(unread)} files of other schemas, unused: {_some(_names(unread))}")
    if found.unknown:
        notes.append(f"{len(found.unknown)} other files, not looked at: {_some(found.unknown)}")
    notes.extend(f"{day} is {condition}" for day, condition in found.conditions.items())
    return notes


def _names(files: Sequence[SourceFile]) -> list[str]:
    return [one.name for one in files]


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
