"""Sources of market data by name: files, folders, globs, URLs, batch folders; what is in each.

Nothing is taken by its name alone: a file's kind is what its header says. What a batch folder's
manifest lists is held to its size and SHA-256. What can't be used, and what nobody knows, is named.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias, cast

from ifd_fast.batch_folders import (
    CONDITION,
    MANIFEST,
    SUPPORT,
    ListedFile,
    read_conditions,
    read_manifest,
)
from ifd_fast.errors import DataError, IfdError, UsageError
from ifd_fast.fetch_files import FETCH, LOCK, unfinished_schemas
from ifd_fast.recordings import digest_file
from ifd_fast.remote_files import RemoteFile, Store, is_url, shown_url
from ifd_fast.sources import open_source

__all__ = ["Fault", "Findings", "SourceFile", "find_sources"]

Kind: TypeAlias = Literal["mbo", "definition", "status", "statistics", "other"]

_KINDS: Final = frozenset({"mbo", "definition", "status", "statistics"})
_SUFFIXES: Final = (".dbn", ".dbn.zst")


class SourceFile(NamedTuple):
    """One DBN file.

    `name` is what it is called where it was found; `path` is where it lies on this machine.
    `kind` follows its header; a live capture, which mixes all, is `mbo`. `sha256` is what the
    manifest says and the file was found to have, None where there is no manifest.
    """

    kind: Kind
    path: Path
    name: str
    sha256: str | None


class Fault(NamedTuple):
    """A file that was to be there and can't be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What sources hold.

    Attributes
    ----------
    files
        What can be used, in the order of the sources, by name within each; each once.
    faults
        Damaged, missing, or not what the manifest says: not among the files.
    unknown
        Names of other files in folders: not looked at, not taken.
    conditions
        ISO dates that a batch folder calls other than `available`, and what it calls them.
    left
        Folders that were left alone.
    """

    files: tuple[SourceFile, ...]
    faults: tuple[Fault, ...] = ()
    unknown: tuple[str, ...] = ()
    conditions: dict[str, str] = field(default_factory=dict)
    left: tuple[Path, ...] = ()

    def require_whole(self) -> None:
        """Raise DataError if there are faults, naming each."""
        if self.faults:
            names = "\n".join(f"  {one.name}: {one.reason}" for one in self.faults)
            raise DataError(f"{len(self.faults)} sources can't be used:\n{names}")


def find_sources(
    sources: Sequence[str | os.PathLike[str]],
    *,
    cache: Path | None = None,
    digest: Callable[[Path], str] = digest_file,
    leave: Callable[[Path], bool] = lambda _: False,
) -> Findings:
    """Return the DBN files of `sources`: files, folders with all below them, globs, URLs of those.

    Parameters
    ----------
    cache
        Folder for copies of what lies elsewhere (`remote_files`): each is brought once.
    digest
        Gives a file's SHA-256, 64 hex digits; stands in where one is known already.
    leave
        Says of a local folder below a source that it is something else: not looked into.

    Raises
    ------
    DataError
        A source isn't there, a glob matches nothing, or nothing of all that is DBN or left.
    UsageError
        A URL's kind is unknown, or there is no `cache` for it.
    """
    search = _Search(digest, leave)
    for one in sources:
        source = os.fspath(one)
        if is_url(source):
            _search_remote(search, source, cache)
        else:
            _search_local(search, source.removeprefix("file://"))
    if not search.files and not search.faults and not search.left:
        names = ", ".join(_shown(one) for one in sources) or "no source at all"
        raise DataError(f"There is no DBN file in {names}: files must end in .dbn or .dbn.zst.")
    return Findings(
        tuple(search.files.values()),
        tuple(search.faults),
        tuple(search.unknown),
        dict(sorted(search.conditions.items())),
        tuple(search.left),
    )


class _Search:
    """Files by the place they lie at, faults, unknown files and conditions as they are found."""

    def __init__(self, digest: Callable[[Path], str], leave: Callable[[Path], bool]) -> None:
        self.leave = leave
        self.left: list[Path] = []
        self.files: dict[Path, SourceFile] = {}
        self.faults: list[Fault] = []
        self.unknown: list[str] = []
        self.conditions: dict[str, str] = {}
        self._digest = digest
        self._manifests: dict[Path, dict[str, ListedFile] | None] = {}
        self.lost: set[Path] = set()  # copies that couldn't be made: faults already
        self.shown: dict[Path, str] = {}  # folders, where messages call them otherwise
        self._unreadable: set[Path] = set()  # folders whose files can't be checked

    def folder(self, folder: Path, names: Iterable[str], shown: str) -> None:
        """Take the files `names` of one folder, which messages call `shown`."""
        present = set(names)
        self.shown[folder] = shown
        if FETCH in present:
            self._check_fetch(folder, shown)
            present -= {FETCH, LOCK}
        for name in sorted(present):
            self.pick(folder / name, f"{shown}/{name}")
        for name in sorted(set(self._listed(folder) or ()) - present):
            self.faults.append(Fault(f"{shown}/{name}", "is in the manifest, but isn't there."))

    def pick(self, path: Path, shown: str) -> None:
        """Take one file that nobody named, if it is data by its name and its folder's manifest."""
        if path in self.lost:
            return
        listed = self._listed(path.parent)
        if path.name in SUPPORT:
            self._check_support(path, (listed or {}).get(path.name), shown)
        elif not path.name.endswith(_SUFFIXES) or (listed is not None and path.name not in listed):
            self.unknown.append(shown)
        else:
            self.file(path, shown)

    def file(self, path: Path, shown: str) -> None:
        """Take one file, held to its folder's manifest if that lists it."""
        place, folder = path.resolve(), path.parent
        listed = (self._listed(folder) or {}).get(path.name)
        if place in self.files or folder in self._unreadable or path in self.lost:
            return
        try:
            if listed is not None:
                self._check(path, listed)
            kind = _kind_of(path)
        except IfdError as error:
            self.faults.append(Fault(shown, str(error)))
            return
        self.files[place] = SourceFile(kind, path, shown, listed.sha256 if listed else None)

    def _listed(self, folder: Path) -> dict[str, ListedFile] | None:
        """Return what a folder's manifest lists, None if there is none that can be read."""
        if folder not in self._manifests:
            self._manifests[folder] = None
            try:
                if (folder / MANIFEST).is_file():
                    files = read_manifest(folder / MANIFEST)
                    self._manifests[folder] = {one.name: one for one in files}
                if (folder / CONDITION).is_file():
                    days = read_conditions(folder / CONDITION)
                    self.conditions |= {d: one for d, one in days.items() if one != "available"}
            except DataError as error:
                self._unreadable.add(folder)
                self.faults.append(Fault(self.shown.get(folder, str(folder)), str(error)))
        return self._manifests[folder]

    def _check_fetch(self, folder: Path, shown: str) -> None:
        """Say of a fetch that it isn't finished: what isn't there yet is in no manifest."""
        try:
            missing = unfinished_schemas(folder)
        except DataError as error:
            self.faults.append(Fault(f"{shown}/{FETCH}", str(error)))
            return
        if missing:
            reason = f"{', '.join(missing)} did not come whole. Go on by `ifd fetch --resume`."
            self.faults.append(Fault(f"{shown}/{FETCH}", reason))

    def _check_support(self, path: Path, listed: ListedFile | None, shown: str) -> None:
        try:
            if listed is not None:
                self._check(path, listed)
        except DataError as error:
            self.faults.append(Fault(shown, str(error)))

    def _check(self, path: Path, listed: ListedFile) -> None:
        size = path.stat().st_size
        if size != listed.size_bytes:
            raise DataError(
                f"{path}: has {size:,} bytes, its manifest says {listed.size_bytes:,}. It is not "
                "whole, or was changed: fetch it again."
            )
        if (found := self._digest(path)) != listed.sha256:
            raise DataError(
                f"{path}: has SHA-256 {found[:12]}..., its manifest says {listed.sha256[:12]}.... "
                "It is damaged or was changed: fetch it again."
            )


def _search_local(search: _Search, source: str) -> None:
    path = Path(source)
    if path.is_dir():
        _search_folder(search, path)
        return
    if path.exists():
        search.file(path, source)
        return
    # Path.glob takes no absolute pattern
    found = glob.glob(source, recursive=True) if glob.has_magic(source) else []  # noqa: PTH207
    matches = sorted(found)
    if not matches:
        raise DataError(f"{source}: no such file or folder. Check the path.")
    for match in map(Path, matches):
        if match.is_dir():
            _search_folder(search, match)
        else:
            search.pick(match, str(match))


def _search_folder(search: _Search, folder: Path) -> None:
    for place, folders, names in os.walk(folder):
        left = {name for name in folders if search.leave(Path(place, name))}
        search.left.extend(Path(place, name) for name in sorted(left))
        linked = {name for name in folders if Path(place, name).is_symlink()} - left
        search.unknown.extend(str(Path(place, name)) for name in sorted(linked))  # may be a ring
        folders[:] = sorted(set(folders) - left - linked)
        search.folder(Path(place), names, place)


def _search_remote(search: _Search, source: str, cache: Path | None) -> None:
    """Bring what may be data, or says something of it, and look at the copies."""
    if cache is None:
        raise UsageError(f"{shown_url(source)}: needs a folder for copies, and none was named.")
    store = Store(source, cache)
    by_folder: dict[str, list[RemoteFile]] = {}
    for one in store.files():
        by_folder.setdefault(one.folder, []).append(one)
    for folder, ones in by_folder.items():
        place = store.copy_folder(folder)
        search.shown[place] = store.shown_of(ones[0]).rpartition("/")[0]
        beside = [] if store.is_folder else store.beside(folder, (MANIFEST, CONDITION))
        brought = _bring(search, store, [*ones, *beside])
        for name in {MANIFEST, CONDITION} - brought:
            (place / name).unlink(missing_ok=True)  # of a time when the store had one
        if store.is_folder:
            search.folder(place, [one.name for one in ones], search.shown[place])
        else:
            for one in ones:
                take = search.pick if "*" in source else search.file
                take(place / one.name, store.shown_of(one))
        bad = {fault.name for fault in search.faults}
        for one in ones:
            if store.shown_of(one) in bad:
                (place / one.name).unlink(missing_ok=True)  # to be brought again, once mended


def _bring(search: _Search, store: Store, files: list[RemoteFile]) -> set[str]:
    """Bring what is worth it; return the names that are here. What can't be had is a fault."""
    brought = set()
    for one in files:
        is_named = len(files) == 1 and not store.is_folder
        if not is_named and not one.name.endswith(_SUFFIXES) and one.name not in SUPPORT:
            continue
        try:
            store.bring(one)
            brought.add(one.name)
        except DataError as error:
            search.faults.append(Fault(store.shown_of(one), str(error)))
            search.lost.add(store.copy_folder(one.folder) / one.name)
    return brought


def _shown(source: str | os.PathLike[str]) -> str:
    text = os.fspath(source)
    return shown_url(text) if is_url(text) else text


def _kind_of(path: Path) -> Kind:
    with open_source(path) as source:
        schema = source.metadata.schema
    if schema is None:
        return "mbo"
    return cast("Kind", schema) if schema in _KINDS else "other"
